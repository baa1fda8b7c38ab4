"""Two people, two directories, one cluster: one works, the other is told who does."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import Hosts, Program

LOCK = "cat /run/kubestrap/run.lock 2>/dev/null || true"


def test_second_operator_is_told_who_works_since_when(
    cluster: Hosts, program: Program, tmp_path: Path, measured: Callable[[str, str], None]
) -> None:
    alice = dataclasses.replace(program, directory=tmp_path, environment={**program.environment, "USER": "alice"})
    with alice.start("up", "-i", cluster.inventory) as first:
        deadline = time.monotonic() + 60
        while "alice@" not in cluster.sh("cp1", LOCK) and time.monotonic() < deadline:
            time.sleep(0.2)
        second = program.run("up", "-i", cluster.inventory, expect=5)
        first.communicate()
    assert first.returncode == 0
    assert "Another run works on this cluster: alice@" in second.stdout
    assert "runs `up` since 20" in second.stdout
    measured("two operators", "the second is told who works, what and since when")
    # The lock went with its run.
    program.run("up", "-i", cluster.inventory)


def test_lock_of_a_killed_run_goes_with_it(cluster: Hosts, program: Program, tmp_path: Path) -> None:
    alice = dataclasses.replace(program, directory=tmp_path, environment={**program.environment, "USER": "alice"})
    with alice.start("up", "-i", cluster.inventory) as first:
        while "alice@" not in cluster.sh("cp1", LOCK) and first.poll() is None:
            time.sleep(0.2)
        first.terminate()
        first.communicate()
    assert first.returncode == 130
    summary = program.run("up", "-i", cluster.inventory, "--output", "json").summary
    assert summary["failed"] == 0
