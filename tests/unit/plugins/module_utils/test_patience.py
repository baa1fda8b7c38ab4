"""A wait goes by progress and still ends."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import patience
from ansible_collections.kubestrap.cluster.plugins.module_utils.patience import Patience


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(patience.time, "monotonic", lambda: now[0])
    return now


def test_nothing_moves(clock: list[float]) -> None:
    wait = Patience(10)
    wait.see(["pod a: Pending"])
    clock[0] = 10
    wait.see(["pod a: Pending"])
    assert not wait.over()
    clock[0] = 10.1
    assert wait.over()


def test_what_moves_is_given_more_time(clock: list[float]) -> None:
    wait = Patience(10)
    for step, state in enumerate(["Pending", "ContainerCreating", "Running"]):
        clock[0] = 9.0 * step
        wait.see([state])
        assert not wait.over()
    clock[0] = 29
    assert wait.over()


def test_restarts_and_back_off_are_no_progress(clock: list[float]) -> None:
    wait = Patience(10)
    for second in range(12):
        clock[0] = second
        wait.see([f"CrashLoopBackOff back-off {second * 10}s restarting"])
    assert wait.over()


def test_it_ends_however_much_moves(clock: list[float]) -> None:
    wait = Patience(10)
    for second in range(41):
        clock[0] = second
        wait.see(["x" * second])
    assert not wait.over()
    clock[0] = 40.1
    wait.see(["another"])
    assert wait.over()
