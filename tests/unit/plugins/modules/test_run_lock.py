"""One run at a time: the lock lasts as long as the process it is taken for."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.modules import run_lock

UP = {"verb": "up", "who": "alice@laptop"}
DEPLOY = {"verb": "deploy", "who": "bob@desk"}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Two processes that stand for connections."""
    monkeypatch.setattr(run_lock, "LOCK", str(tmp_path / "kubestrap/run.lock"))
    monkeypatch.setattr(run_lock, "WAIT_SECONDS", 0.1)
    monkeypatch.setattr(run_lock, "LOOK_EVERY", 0.05)
    found = [subprocess.Popen(["sleep", "60"]) for _ in range(2)]
    yield found
    for one in found:
        one.kill()
        one.wait()
    time.sleep(0.2)


def identity(process: "subprocess.Popen[bytes]") -> tuple[int, str]:
    return process.pid, run_lock.process(process.pid)[2]


def test_second_run_is_told_who_has_it(runs: list["subprocess.Popen[bytes]"]) -> None:
    first, second = map(identity, runs)
    assert run_lock.take(UP, first) is None
    other = run_lock.take(DEPLOY, second)
    assert other is not None
    assert (other["verb"], other["who"]) == ("up", "alice@laptop")
    assert other["since"].endswith("UTC")


def test_same_connection_goes_on(runs: list["subprocess.Popen[bytes]"]) -> None:
    first = identity(runs[0])
    assert run_lock.take(UP, first) is None
    assert run_lock.take(DEPLOY, first) is None


def test_lock_of_a_run_that_was_killed_is_free(
    runs: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = map(identity, runs)
    assert run_lock.take(UP, first) is None
    runs[0].kill()
    runs[0].wait()
    monkeypatch.setattr(run_lock, "WAIT_SECONDS", 5)
    assert run_lock.take(DEPLOY, second) is None


def test_lock_is_given_back_by_its_own_run_only(
    runs: list["subprocess.Popen[bytes]"], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = map(identity, runs)
    assert run_lock.take(UP, first) is None
    run_lock.give_back(second)
    assert run_lock.take(DEPLOY, second) is not None
    run_lock.give_back(first)
    monkeypatch.setattr(run_lock, "WAIT_SECONDS", 5)
    assert run_lock.take(DEPLOY, second) is None


def test_connection_is_found_among_the_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    table = {50: ("python3", 40, "9"), 40: ("sh", 30, "8"), 30: ("sshd-session", 20, "7"), 20: ("sshd", 1, "6")}
    monkeypatch.setattr(run_lock, "process", table.__getitem__)
    assert run_lock.owner(50) == (30, "7")
    table.update({30: ("ansible-playboo", 20, "7"), 20: ("ansible-playboo", 10, "6"), 10: ("bash", 1, "5")})
    assert run_lock.owner(50) == (20, "6")
    table.update({30: ("bash", 20, "7"), 20: ("login", 1, "6")})
    assert run_lock.owner(50) is None


def test_name_of_a_process_may_hold_anything() -> None:
    program = subprocess.Popen(["bash", "-c", "exec -a 'x) 1 (y' sleep 5"])
    try:
        assert run_lock.process(program.pid)[1] == os.getpid()
    finally:
        program.kill()
        program.wait()


def test_a_run_on_its_own_machine_does_not_last_as_long_as_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two runs of one login are two runs, and the lock of one that failed is free before its person logs out.
    tree = {
        50: ("python3", 40, "e"),
        40: ("ansible-playboo", 30, "d"),
        30: ("ansible-playboo", 20, "c"),
        20: ("bash", 10, "b"),
        10: ("sshd", 1, "a"),
    }
    monkeypatch.setattr(run_lock, "process", tree.__getitem__)
    assert run_lock.owner(50) == (30, "c")
    tree[40] = tree[30] = ("sh", 20, "x")
    assert run_lock.owner(50) == (10, "a")
