"""Fresh hosts of one lab, and `kubestrap` run on them as a person runs it."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kubestrap.lab import labs

ROOT = pathlib.Path(__file__).parents[2]
_LAB = "bench"


class BenchmarkError(Exception):
    """Why nothing was measured, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One command that was measured.

    Attributes:
        seconds: Wall time of the whole command, seen from this machine.
        busy: Share of this machine's processors that was in use just before.
        summary: What the command says in the end; empty for other programs than kubestrap.
        tasks: Outcome of every task it evaluated, on all hosts.
    """

    seconds: float
    busy: float
    summary: dict[str, Any]
    tasks: list[str]

    def __str__(self) -> str:
        return f"{self.seconds:.1f} ({self.busy:.0%})"


def busy() -> float:
    """Share of this machine's processors in use in the next five seconds, from 0 to 1."""
    before = _processor_time()
    time.sleep(5)
    spent, idle = (after - was for after, was in zip(_processor_time(), before, strict=True))
    return 1 - idle / spent


def _processor_time() -> tuple[int, int]:
    """All time and idle time of all processors since the start, in ticks."""
    with pathlib.Path("/proc/stat").open() as stream:
        ticks = [int(word) for word in stream.readline().split()[1:]]
    return sum(ticks[:8]), ticks[3] + ticks[4]


def times(runs: Sequence[Run], others: Sequence[Run], what: str) -> str:
    """Say how many times as long the runs took as others did."""
    own, other = (statistics.median(run.seconds for run in some) for some in (runs, others))
    return f"**{own / other:.2f} times {what}** (medians {own:.1f} s, {other:.1f} s)."


class Bench:
    """A lab that is made anew for every measurement."""

    def __init__(self, directory: pathlib.Path, variables: pathlib.Path) -> None:
        """Take an empty directory for the lab's files, and the variables of the stand-in for the internet."""
        self.directory = directory
        self.variables = variables
        # Clusters leave their context there, and nowhere else.
        home = directory / "home"
        home.mkdir()
        cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
        self._environment = {
            **os.environ,
            "HOME": str(home),
            "XDG_CACHE_HOME": cache,
            "PYTHONPATH": str(ROOT / "bootstrap"),
        }

    def fresh(self, *, workers: int) -> labs.Lab:
        """Make bare hosts: one control plane and so many workers."""
        self.remove()
        return self.grow(workers=workers)

    def grow(self, *, workers: int) -> labs.Lab:
        """Add bare hosts until there are so many workers."""
        return labs.up(
            name=_LAB,
            shape=labs.Shape(control_planes=1, workers=workers),
            system="debian-13",
            variables=[self.variables],
            directory=self.directory,
            report=lambda _: None,
        )

    def kubestrap(self, *words: str) -> Run:
        """Run a command on the lab."""
        inventory = f".kubestrap/labs/{_LAB}/inventory.yml"
        used, started = busy(), time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "kubestrap", *words, "-i", inventory, "--output", "json"],
            cwd=self.directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
            raise BenchmarkError(f"kubestrap {' '.join(words)} ended with exit code {done.returncode}:\n{last}")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        tasks = [event["outcome"] for event in events if event["event"] == "task_finished"]
        return Run(seconds=seconds, busy=used, summary=events[-1], tasks=tasks)

    def remove(self) -> None:
        """Remove the hosts, if there are any."""
        if (self.directory / ".kubestrap/labs" / _LAB).exists():
            labs.down(name=_LAB, directory=self.directory, report=lambda _: None)
