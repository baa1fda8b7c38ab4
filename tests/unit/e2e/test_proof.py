from pathlib import Path

import pytest

from tests.e2e.proof import BY_HAND, Cell, Measurement, Record


@pytest.fixture
def record() -> Record:
    return Record(shown="2026-11-24 `abc1234`")


def rows(page: str, word: str) -> list[str]:
    return [line for line in page.splitlines() if line.startswith("|") and word in line]


def test_clusters_that_were_made_replace_the_row_that_says_none_was(record: Record) -> None:
    for topology in ("1 control plane", "3 control planes"):
        record.cells.append(
            Cell(system="Debian 13", runtime="docker", topology=topology, kubernetes="1.36.4", seconds=47.6)
        )
    page = record.page()
    assert rows(page, "| Debian 13 | docker |") == [
        "| Debian 13 | docker | 1 control plane | 1.36.4 | 48 |  |  |",
        "| Debian 13 | docker | 3 control planes | 1.36.4 | 48 |  |  |",
    ]
    assert rows(page, "| Debian 13 | containerd |") == ["| Debian 13 | containerd | any | | not proved | | |"]


def test_a_claim_shows_what_its_test_measured(record: Record) -> None:
    record.measurements.append(
        Measurement(claim="self-healing", value="back after 2.1 s", test="test_heal.py::test_pod")
    )
    record.ended("test_heal.py::test_pod", passed=True, seconds=3.0)
    assert rows(record.page(), "self-healing") == [
        "| self-healing | back after 2.1 s | test_heal.py::test_pod | 2026-11-24 `abc1234` |"
    ]


def test_what_a_failed_test_measured_counts_for_nothing(record: Record) -> None:
    record.measurements.append(Measurement(claim="canary", value="20 %", test="test_canary.py::test_split"))
    record.ended("test_canary.py::test_split", passed=False, seconds=3.0)
    page = record.page()
    assert rows(page, "| canary") == ["| canary | **failed** | test_canary.py::test_split | 2026-11-24 `abc1234` |"]
    assert "0 tests passed, **1 failed**" in page


def test_a_claim_nobody_measured_is_not_proved(record: Record) -> None:
    assert rows(record.page(), "HPA") == ["| HPA | not proved | | |"]


def test_a_claim_that_is_not_listed_is_shown_too(record: Record) -> None:
    record.measurements.append(Measurement(claim="something else", value="a|b\nc", test="t"))
    record.ended("t", passed=True, seconds=1.0)
    assert rows(record.page(), "something else") == ["| something else | a\\|b c | t | 2026-11-24 `abc1234` |"]


def test_a_failure_outlives_the_phases_after_it(record: Record) -> None:
    record.ended("t", passed=True, seconds=0.0)
    record.ended("t", passed=False, seconds=2.0)
    record.ended("t", passed=True, seconds=0.0)
    assert (record.tests["t"].outcome, record.tests["t"].seconds) == ("failed", 2.0)


def test_what_is_written_by_hand_stays(record: Record) -> None:
    by_hand = f"{BY_HAND}\n\ntimed with a watch\n"
    assert record.page(f"# Proof\n\nold\n\n{by_hand}").endswith(f"\n\n{by_hand}")
    assert "old" not in record.page(f"# Proof\n\nold\n\n{by_hand}")


def test_a_later_run_replaces_what_it_showed_again_and_keeps_the_rest(record: Record, tmp_path: Path) -> None:
    for test in ("a", "b"):
        record.ended(test, passed=test == "a", seconds=1.0)
        record.measurements.append(Measurement(claim=f"claim {test}", value="old", test=test))
    record.save(tmp_path / "proof.json")
    later = Record(shown="2026-12-01 `def5678`")
    later.ended("b", passed=True, seconds=2.0)
    later.measurements.append(Measurement(claim="claim b", value="new", test="b"))
    page = later.over(Record.load(tmp_path / "proof.json")).page()
    assert rows(page, "claim a") == ["| claim a | old | a | 2026-11-24 `abc1234` |"]
    assert rows(page, "claim b") == ["| claim b | new | b | 2026-12-01 `def5678` |"]
    assert "2 tests passed." in page


def test_a_cluster_of_the_same_shape_is_shown_once() -> None:
    cells = [
        Cell(system="Debian 13", runtime="docker", topology="t", kubernetes="1.36.4", seconds=seconds)
        for seconds in (50.0, 40.0)
    ]
    page = Record(cells=cells[1:]).over(Record(cells=cells[:1])).page()
    assert rows(page, "| Debian 13 | docker |") == ["| Debian 13 | docker | t | 1.36.4 | 40 |  |  |"]
