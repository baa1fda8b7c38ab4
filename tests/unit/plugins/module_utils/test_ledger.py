"""What was there before the first change is written down once, by its kind, and survives what comes later."""

import json
import stat
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import ledger
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before


class Module:
    """A module that may be in check mode, and fails by an exception."""

    def __init__(self, *, check_mode: bool = False) -> None:
        self.check_mode = check_mode

    def fail_json(self, msg: str) -> None:
        raise AssertionError(msg)


def changes(*, check_mode: bool = False) -> Changes:
    return Changes(Module(check_mode=check_mode))  # type: ignore[arg-type]


def lines() -> list[dict[str, object]]:
    return [json.loads(line) for line in Path(ledger.PATH).read_text().splitlines()]


def test_a_file_is_remembered_as_it_was_before_the_first_change(tmp_path: Path) -> None:
    theirs = tmp_path / "daemon.json"
    theirs.write_bytes(b"theirs \xff")
    theirs.chmod(0o640)
    for content in ("ours", "ours, later"):
        changes().file(str(theirs), content)
    (line,) = lines()
    assert (line["kind"], line["name"], line["level"]) == ("file", str(theirs), "exact")
    was = line["was"]
    assert isinstance(was, dict)
    assert was["content"].encode(errors="surrogateescape") == b"theirs \xff"
    assert was["mode"] == 0o640


def test_a_file_that_is_new_was_not_there(tmp_path: Path) -> None:
    changes().file(str(tmp_path / "new"), "x")
    changes().file(str(tmp_path / "merged"), "x", keep=True)
    assert [(one.kind, one.was, one.level) for one in ledger.known()] == [
        ("file", None, "exact"),
        ("merged file", None, "best effort"),
    ]


def test_a_big_file_is_kept_as_a_copy_that_only_root_reads(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_text("x" * 100_000)
    changes().absent(str(big))
    (one,) = ledger.known()
    copy = Path(one.was["copy"])
    assert copy.read_text() == "x" * 100_000
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(ledger.PATH).stat().st_mode) == 0o600
    assert stat.S_IMODE(Path(ledger.PATH).parent.stat().st_mode) == 0o700


def test_a_big_file_is_copied_once_and_not_for_a_look(tmp_path: Path) -> None:
    big = tmp_path / "big"
    big.write_text("x" * 100_000)
    ledger.of_file(str(big))
    assert not Path(ledger.PATH).parent.exists()
    for content in ("y", "z"):
        changes().file(str(big), content * 100_000)
    assert len(list((Path(ledger.PATH).parent / "before").iterdir())) == 1


def test_a_file_is_one_thing_whoever_has_a_part_in_it(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    changes().file(str(theirs), "merged", keep=True)
    changes().absent(str(theirs))
    (one,) = ledger.known()
    assert one.was["content"] == "theirs"


def test_check_mode_remembers_nothing(tmp_path: Path) -> None:
    trial = changes(check_mode=True)
    trial.file(str(tmp_path / "new"), "x")
    trial.act("sysctl a.b", print, was=[Before("sysctl", "a.b", "0")])
    assert not Path(ledger.PATH).exists()


def test_what_cannot_be_written_down_is_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "taken").write_text("no directory")
    monkeypatch.setattr(ledger, "PATH", str(tmp_path / "taken/made.jsonl"))
    done: list[str] = []
    with pytest.raises(AssertionError, match="Nothing was changed"):
        changes().act("x", lambda: done.append("x"), was=[Before("unit", "x.service", {})])
    with pytest.raises(AssertionError, match="Nothing"):
        changes().file(str(tmp_path / "new"), "x")
    assert done == []
    assert not (tmp_path / "new").exists()


def test_a_line_that_a_power_cut_left_unfinished_hides_none() -> None:
    ledger.remember(Before("unit", "a.service", {}))
    with Path(ledger.PATH).open("a") as stream:
        stream.write('{"kind": "unit", "na')
    ledger.remember(Before("unit", "b.service", {}))
    assert [one.name for one in ledger.known()] == ["a.service", "b.service"]


def test_a_kind_without_a_level_cannot_be_remembered() -> None:
    with pytest.raises(KeyError):
        ledger.remember(Before("feeling", "x", "y"))
