"""What a unit was started with: told by digests, so that no clock matters."""

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import systemd


class Host:
    """A host with one unit and one file that it is started with."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.file = directory / "daemon.json"
        self.file.write_text("1")
        self.unit = {"ActiveState": "active", "InvocationID": "", "StateChangeTimestampMonotonic": ""}
        self.module: Any = SimpleNamespace(check_mode=False)
        monkeypatch.setattr(systemd, "NOTES", directory / "notes")
        monkeypatch.setattr(systemd, "show", lambda *_: {"docker.service": self.unit})
        self.started()

    def started(self, invocation: str = "a", seconds_ago: float = 0) -> None:
        """Somebody started the unit."""
        at = time.clock_gettime(time.CLOCK_MONOTONIC) - seconds_ago
        self.unit |= {"InvocationID": invocation, "StateChangeTimestampMonotonic": str(int(at * 1e6))}

    def aged(self, seconds: float) -> None:
        """The file was written so long ago; in the future when negative."""
        at = time.time() - seconds
        os.utime(self.file, (at, at))

    def run(self, *, change: str = "", cut: bool = False, check: bool = False) -> bool:
        """A run of a module: whether it restarts the unit."""
        self.module.check_mode = check
        started = systemd.StartedWith(self.module, "docker.service", self.unit, [str(self.file)])
        if change:
            self.file.write_text(change)
        differs = started.differs(str(self.file))
        if cut or check:
            return differs
        if differs:
            self.started(self.unit["InvocationID"] + "+")
        started.note()
        return differs


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path, monkeypatch)
    host.aged(60)
    return host


def test_a_file_from_the_future(host: Host) -> None:
    assert host.run() is False
    host.aged(-86400)
    assert [host.run(), host.run()] == [False, False]
    assert [host.run(change="2"), host.run(), host.run()] == [True, False, False]


def test_a_file_from_the_future_that_was_there_before_the_first_run(host: Host) -> None:
    # The time that anybody can set is not believed; the kernel's own says that it was touched while the unit ran.
    host.aged(-86400)
    host.started(seconds_ago=3600)
    assert [host.run(), host.run()] == [True, False]


def test_a_clock_that_was_set_back_after_everything_was_started(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr(systemd.time, "time", lambda: now - 7200)
    assert [host.run(), host.run()] == [False, False]
    assert [host.run(change="2"), host.run()] == [True, False]


def test_a_clock_that_was_set_forward_hides_no_change(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    host.run()
    now = time.time()
    monkeypatch.setattr(systemd.time, "time", lambda: now + 7200)
    assert [host.run(change="2"), host.run()] == [True, False]


def test_a_run_that_was_cut_before_the_restart_is_made_good_by_the_next(host: Host) -> None:
    assert host.run(change="2", cut=True)
    host.aged(86400)
    assert [host.run(), host.run()] == [True, False]


def test_a_file_that_was_written_after_the_start_and_before_the_first_run_counts(host: Host) -> None:
    host.started(seconds_ago=3600)
    assert [host.run(), host.run()] == [True, False]


def test_who_restarts_it_by_hand_has_the_file_of_then(host: Host) -> None:
    host.run()
    host.file.write_text("2")
    host.aged(60)
    host.started("by hand")
    assert host.run() is False


def test_a_restart_by_hand_of_a_unit_whose_file_is_from_the_future(host: Host) -> None:
    host.run()
    host.aged(-86400)
    host.started("by hand", seconds_ago=1)
    assert host.run() is False


def test_content_that_is_back_to_what_it_was_is_no_change(host: Host) -> None:
    host.run()
    host.file.write_text("2")
    host.file.write_text("1")
    assert host.run() is False


def test_a_file_that_came_or_went_counts(host: Host) -> None:
    host.run()
    host.file.unlink()
    assert [host.run(), host.run()] == [True, False]
    assert [host.run(change="1"), host.run()] == [True, False]


def test_a_unit_that_does_not_run_has_nothing_to_be_restarted_for(host: Host) -> None:
    host.unit["ActiveState"] = "inactive"
    assert host.run(change="2") is False


def test_to_look_leaves_no_note(host: Host) -> None:
    assert host.run(check=True) is False
    assert not systemd.NOTES.exists()


def test_a_note_that_nobody_understands_is_none(host: Host) -> None:
    host.run()
    (systemd.NOTES / "docker.service").write_text("[")
    assert host.run() is False
