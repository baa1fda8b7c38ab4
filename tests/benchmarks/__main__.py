"""The command: `python -m tests.benchmarks`."""

import argparse
import json
import os
import pathlib
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from bootstrap.errors import KubestrapError
from bootstrap.lab import labs
from tests.upstream.tools import say

ROOT = pathlib.Path(__file__).parents[2]
_LAB = "bench"
_UPSTREAM = [sys.executable, "-m", "tests.upstream"]
_BY_HAND = pathlib.Path(__file__).with_name("by_hand.sh")


class BenchmarkError(Exception):
    """Why nothing was measured, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One way from a bare host to DNS Ready.

    Attributes:
        seconds: Wall time of the whole command, seen from this machine.
        stages: Name and seconds of each part.
        load: Load average of this machine just before.
    """

    seconds: float
    stages: dict[str, float]
    load: float


@dataclass(frozen=True, kw_only=True)
class Again:
    """A second `kubestrap up` on the same host.

    Attributes:
        seconds: Wall time.
        changed: Changes it made.
        evaluated: Tasks evaluated on the control plane in the first run.
        skipped: How many of those were skipped.
    """

    seconds: float
    changed: int
    evaluated: int
    skipped: int


class Bench:
    """Fresh hosts of one lab, one after the other, and what is measured on them."""

    def __init__(self, directory: pathlib.Path, variables: pathlib.Path) -> None:
        """Take an empty directory for the lab's files, and the variables of the stand-in for the internet."""
        self._directory = directory
        self._variables = variables
        # Clusters leave their context there, and nowhere else.
        home = directory / "home"
        home.mkdir()
        cache = os.environ.get("XDG_CACHE_HOME") or str(pathlib.Path.home() / ".cache")
        self._environment = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}

    def by_hand(self) -> Measured:
        """Run the script on a fresh host."""
        lab = self._fresh_host()
        files = lab.inventory.parent
        options = ["-i", str(files / "key"), *shlex.split(labs.ssh_arguments(files))]
        script = _exports(self._variables) + _BY_HAND.read_text()
        load, started = os.getloadavg()[0], time.monotonic()
        done = subprocess.run(
            ["ssh", *options, f"root@{lab.hosts[0].address}", "bash", "-s"],
            input=script,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - started
        if done.returncode:
            last = "\n".join(done.stderr.splitlines()[-5:])
            raise BenchmarkError(f"The by-hand script ended with exit code {done.returncode}:\n{last}")
        ends = {
            words[1].replace("_", " "): float(words[2])
            for words in map(str.split, done.stdout.splitlines())
            if words[:1] == ["stage"]
        }
        return Measured(seconds=seconds, stages=_differences(ends), load=load)

    def kubestrap(self) -> Measured:
        """Run `kubestrap up` on a fresh host; it is left for `again`."""
        self._fresh_host()
        load, started = os.getloadavg()[0], time.monotonic()
        self._up()
        seconds = time.monotonic() - started
        stages = {stage["name"]: stage["seconds"] for stage in self._summary()["stages"]}
        return Measured(seconds=seconds, stages=stages, load=load)

    def again(self) -> Again:
        """Run `kubestrap up` a second time on the host it just made."""
        run = self._newest_run()
        events = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        tasks = [event["outcome"] for event in events if event["event"] == "task_finished"]
        started = time.monotonic()
        self._up()
        seconds = time.monotonic() - started
        changed = int(self._summary()["changed"])
        return Again(seconds=seconds, changed=changed, evaluated=len(tasks), skipped=tasks.count("skipped"))

    def remove(self) -> None:
        """Remove the host, if there is one."""
        if (self._directory / ".kubestrap/labs" / _LAB).exists():
            labs.down(name=_LAB, directory=self._directory, report=lambda _: None)

    def _fresh_host(self) -> labs.Lab:
        shape = labs.Shape(control_planes=1, workers=0)
        self.remove()
        return labs.up(
            name=_LAB,
            shape=shape,
            system="debian-13",
            variables=[self._variables],
            directory=self._directory,
            report=lambda _: None,
        )

    def _up(self) -> None:
        inventory = f".kubestrap/labs/{_LAB}/inventory.yml"
        done = subprocess.run(
            [sys.executable, "-m", "bootstrap", "up", "-i", inventory],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
            raise BenchmarkError(f"kubestrap up ended with exit code {done.returncode}:\n{last}")

    def _newest_run(self) -> pathlib.Path:
        runs = self._directory / ".kubestrap/runs"
        return max(runs.glob("*/summary.json"), key=lambda path: path.stat().st_mtime).parent

    def _summary(self) -> Any:
        return json.loads((self._newest_run() / "summary.json").read_text())


def _exports(path: pathlib.Path) -> str:
    """Where things come from, in the words of the by-hand script: exactly what `kubestrap up` is told."""
    declared = yaml.safe_load((ROOT / "roles/cluster/defaults/main.yml").read_text())
    said = {**declared, **yaml.safe_load(path.read_text())}
    version = said["cluster_kubernetes_version"]
    minor = "v" + ".".join(version.split(".")[:2])
    registry = said["cluster_image_registry"]
    values = {
        "KUBERNETES_VERSION": version,
        "REPOSITORY": said["cluster_kubernetes_repository"].replace("{minor}", minor),
        "FINGERPRINT": said["cluster_kubernetes_repository_key_fingerprint"],
        "IMAGE_REGISTRY": registry,
        "REGISTRY_CA": said["cluster_registry_ca_certificates"][registry.partition("/")[0]],
        "CRI_DOCKERD_URL": said["cluster_cri_dockerd_url"].replace("{arch}", "amd64"),
        "CRI_DOCKERD_SHA256": said["cluster_cri_dockerd_sha256"]["amd64"],
        "FLANNEL_REGISTRY": said["cluster_flannel_image_registry"],
        "FLANNEL_URL": said["cluster_flannel_manifest_url"],
        "FLANNEL_SHA256": said["cluster_flannel_manifest_sha256"],
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _differences(ends: dict[str, float]) -> dict[str, float]:
    """Seconds of each stage from the seconds at which each ended."""
    starts = [0.0, *ends.values()]
    return {name: end - start for (name, end), start in zip(ends.items(), starts, strict=False)}


def report(by_hand: list[Measured], kubestrap: list[Measured], again: list[Again]) -> str:
    """What was measured, as Markdown."""
    date = f"{datetime.now(UTC):%Y-%m-%d}"
    rows = [
        f"| {number} | {hand.seconds:.1f} ({hand.load:.1f}) | {own.seconds:.1f} ({own.load:.1f}) "
        f"| {own.seconds / hand.seconds:.2f} | {second.seconds:.1f} | {second.changed} |"
        for number, (hand, own, second) in enumerate(zip(by_hand, kubestrap, again, strict=True), start=1)
    ]
    ratio = _median(kubestrap) / _median(by_hand)
    tasks = again[-1]
    return "\n".join(
        [
            f"Measured {date} on {os.cpu_count()} processors: one bare Debian 13 host to DNS Ready, Docker, in turn.",
            "",
            f"**{ratio:.2f} times the by-hand script** (medians {_median(kubestrap):.1f} s, {_median(by_hand):.1f} s).",
            "",
            "| run | by hand, s (load before) | `kubestrap up`, s (load before) | ratio | second `up`, s | changed |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Tasks on the control plane: {tasks.evaluated}; skipped: {tasks.skipped / tasks.evaluated:.0%}.",
            "",
            _stages("by hand", by_hand),
            "",
            _stages("`kubestrap up`", kubestrap),
            "",
        ]
    )


def _median(runs: list[Measured]) -> float:
    return statistics.median(run.seconds for run in runs)


def _stages(title: str, runs: list[Measured]) -> str:
    names = list(dict.fromkeys(name for run in runs for name in run.stages))
    cells = {name: [f"{run.stages[name]:.1f}" if name in run.stages else "" for run in runs] for name in names}
    return "\n".join(
        [
            "| " + " | ".join([f"stages of {title}, s", *(f"run {n}" for n in range(1, len(runs) + 1))]) + " |",
            "|" + "---|" * (len(runs) + 1),
            *("| " + " | ".join([name, *cells[name]]) + " |" for name in names),
        ]
    )


def run(rounds: int) -> str:
    """Measure; the report."""
    subprocess.run([*_UPSTREAM, "up"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = subprocess.run([*_UPSTREAM, "variables"], cwd=ROOT, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(pathlib.Path(directory), pathlib.Path(found.stdout.strip()))
        by_hand, kubestrap, again = [], [], []
        try:
            for number in range(1, rounds + 1):
                # Whoever comes second finds the servers' files in memory, so they take turns at that, too.
                for way in ("by hand", "kubestrap") if number % 2 else ("kubestrap", "by hand"):
                    if way == "by hand":
                        by_hand.append(bench.by_hand())
                        say(f"run {number} of {rounds}: by hand {by_hand[-1].seconds:.1f} s")
                        continue
                    kubestrap.append(bench.kubestrap())
                    say(f"run {number} of {rounds}: kubestrap up {kubestrap[-1].seconds:.1f} s")
                    again.append(bench.again())
                    say(f"run {number} of {rounds}: kubestrap up again {again[-1].seconds:.1f} s")
        finally:
            bench.remove()
    return report(by_hand, kubestrap, again)


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("-n", "--rounds", type=int, default=2, help="how often each is run (default: %(default)s)")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the result into this page as well")
    flags = parser.parse_args()
    if flags.rounds < 1:
        parser.error("--rounds: at least 1")
    try:
        text = run(flags.rounds)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 5
    except subprocess.CalledProcessError:
        print("bench: the stand-in for the internet is not up: the lines above say why.", file=sys.stderr)
        return 5
    except KubestrapError as error:
        print("\n".join((f"bench: {error.message}", *error.details)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; its host is removed.", file=sys.stderr)
        return 130
    print(text)
    if flags.write:
        _write(flags.write, text)
    return 0


def _write(path: pathlib.Path, text: str) -> None:
    """Replace what the page says after its introduction."""
    mark = "<!-- written by `make bench` from here on -->\n"
    introduction = path.read_text().partition(mark)[0]
    path.write_text(f"{introduction}{mark}\n{text}")


if __name__ == "__main__":
    sys.exit(main())
