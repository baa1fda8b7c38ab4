"""docs/proof.md: what ran where, when, and how long it took. Written by the e2e tests, never by hand."""

import itertools
import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

# From this heading on the page is written by hand: what `time` said of commands that take whole machines.
BY_HAND = "## Whole runs"
# Hosts somebody may ask about. Those without a cluster say so.
SYSTEMS = ("Debian 13", "Debian 12", "Ubuntu 24.04", "Ubuntu 22.04")
RUNTIMES = ("docker", "containerd")
# What somebody may ask for, by table. A claim that no test measured says so; one that is not listed comes last.
CLAIMS = {
    "Shapes of a cluster": (
        "three control planes survive one",
        "more nodes later",
        "runtimes differ per host",
        "several addresses per host",
        "bastion, sudo with a password, other SSH port",
        "a login that takes long",
        "an SSH password and no key",
        "proxy and mirrors",
        "minikube",
        "two operators",
    ),
    "What is never taken away": (
        "a control plane with a silent API",
        "a member of etcd that may live",
        "tokens of an interrupted run",
    ),
    "What is found before it breaks": ("found before it breaks", "a reboot of all hosts"),
    "What the app gets": (
        "rolling update without downtime",
        "canary",
        "self-healing",
        "HPA",
        "StatefulSet + PersistentVolume",
        "namespaces",
        "LoadBalancer",
        "multi-cloud / hybrid",
        "local image, `imagePullPolicy: Never`",
        "a node that was broken into",
        "custom kinds with their definitions",
        "an autoscaler's replicas",
        "a Secret of the app's manifests",
        "logins, tokens, passwords",
    ),
    "What is yours stays": (
        "kubeconfig: another cluster's entries",
        "a container of the owner's on a Docker that is restarted",
        "files from the future",
        "trust taken back",
        "containerd with a runtime for GPUs",
    ),
    "Where things come from": (
        "a second key in a repository's key file",
        "images by digest",
        "a tag that moved",
        "a package of yours that excludes Docker",
        "apt's lists are being refreshed",
        "package repository away",
        "cri-dockerd damaged",
    ),
    "Whether an app runs": ("verdicts that are true",),
    "A living cluster and its inventory": (
        "what a living cluster has fixed",
        "a node that left the inventory",
        "a worker with another address",
        "the only control plane with another address",
        "a worker reinstalled under the same name",
        "a cluster made by hand",
    ),
    "Why an app does not answer": (
        "wrong image name",
        "image missing on one node",
        "crash loop",
        "failing readiness probe",
        "no endpoints",
        "port without a listener",
        "unschedulable",
        "pending volume",
        "bad manifest",
        "namespace quota",
    ),
}

Outcome = Literal["passed", "failed"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cluster that was made."""

    system: str
    runtime: str
    topology: str
    kubernetes: str
    seconds: float
    second_run_seconds: float | None = None
    shown: str = ""
    """Day and commit."""

    @property
    def shape(self) -> tuple[str, str, str]:
        """What a newer one replaces an older one by."""
        return self.system, self.runtime, self.topology


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a test saw of something people are promised, such as "0 of 812 requests failed"."""

    claim: str
    value: str
    test: str


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a test ended, and after how long."""

    outcome: Outcome
    seconds: float
    shown: str = ""
    """Day and commit."""


@dataclass(kw_only=True)
class Record:
    """What the tests showed: in one run, or in several of which the later ones count.

    Attributes:
        shown: Day and commit of this run.
    """

    shown: str = ""
    cells: list[Cell] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    tests: dict[str, Ended] = field(default_factory=dict)

    def ended(self, test: str, *, passed: bool, seconds: float) -> None:
        """Remember a phase of a test; one that failed is not forgotten for a later one that passed."""
        before = self.tests.get(test)
        failed = not passed or (before is not None and before.outcome == "failed")
        seconds += before.seconds if before else 0
        self.tests[test] = Ended(outcome="failed" if failed else "passed", seconds=seconds, shown=self.shown)

    def over(self, older: "Record") -> "Record":
        """Return this record with all that an older one has besides: hours of proof need not be one run."""
        made = {cell.shape for cell in self.cells}
        return Record(
            cells=[*(cell for cell in older.cells if cell.shape not in made), *self.cells],
            measurements=[*(one for one in older.measurements if one.test not in self.tests), *self.measurements],
            tests=older.tests | self.tests,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what was saved; nothing when there is no such file."""
        data = json.loads(path.read_text()) if path.exists() else {}
        return cls(
            cells=[Cell(**cell) for cell in data.get("cells", ())],
            measurements=[Measurement(**one) for one in data.get("measurements", ())],
            tests={name: Ended(**ended) for name, ended in data.get("tests", {}).items()},
        )

    def save(self, path: Path) -> None:
        """Write all of it."""
        path.write_text(json.dumps(asdict(self), indent=1, sort_keys=True) + "\n")

    def page(self, before: str = "") -> str:
        """Return the page; `before` is the old one, of which the part that is written by hand stays."""
        count = [ended.outcome for ended in self.tests.values()]
        failed = f", **{count.count('failed')} failed**" if "failed" in count else ""
        lines = [
            "# Proof",
            "",
            "Written by `make proof`, and by any run of the e2e tests with `--proof`: each row says on which day and",
            "at which commit it was last shown. Every cluster was made on hosts that were bare before, on one machine",
            f"that also builds and serves everything they download. {count.count('passed')} tests passed{failed}.",
            "",
            "| hosts | runtime | topology | Kubernetes | `up`, s | second `up`, s | shown |",
            "|---|---|---|---|---|---|---|",
            *self._clusters(),
        ]
        for title, claims in self._tables():
            lines += ["", f"## {title}", "", "| what | measured | test | shown |", "|---|---|---|---|"]
            lines += [row for claim in claims for row in self._rows(claim)]
        lines += ["", "## Tests", "", "| test | s | | shown |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {ended.seconds:.0f} | {'' if ended.outcome == 'passed' else '**failed**'} | {ended.shown} |"
            for name, ended in sorted(self.tests.items())
        ]
        _, heading, by_hand = before.partition(BY_HAND)
        return "\n".join(lines) + "\n" + (f"\n{heading}{by_hand}" if heading else "")

    def _clusters(self) -> Iterator[str]:
        asked = list(itertools.product(SYSTEMS, RUNTIMES))
        made = [(cell.system, cell.runtime) for cell in self.cells]
        for system, runtime in dict.fromkeys([*asked, *made]):
            cells = [cell for cell in self.cells if (cell.system, cell.runtime) == (system, runtime)]
            if not cells:
                yield f"| {system} | {runtime} | any | | not proved | | |"
            for cell in cells:
                again = "" if cell.second_run_seconds is None else f"{cell.second_run_seconds:.0f}"
                made_in = f"{cell.kubernetes} | {cell.seconds:.0f} | {again}"
                yield f"| {system} | {runtime} | {cell.topology} | {made_in} | {cell.shown} |"

    def _tables(self) -> Iterator[tuple[str, Sequence[str]]]:
        yield from CLAIMS.items()
        listed = set(itertools.chain.from_iterable(CLAIMS.values()))
        if others := [claim for claim in dict.fromkeys(one.claim for one in self.measurements) if claim not in listed]:
            yield "Measured besides", others

    def _rows(self, claim: str) -> Iterator[str]:
        found = [one for one in self.measurements if one.claim == claim]
        if not found:
            yield f"| {claim} | not proved | | |"
        for one in found:
            ended = self.tests.get(one.test)
            value = one.value.replace("|", "\\|").replace("\n", " ")
            if ended is None or ended.outcome == "failed":
                value = "**failed**"
            yield f"| {claim} | {value} | {one.test} | {ended.shown if ended else ''} |"


def now(root: Path) -> str:
    """Return the day and the commit of a checkout."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{datetime.now(UTC):%Y-%m-%d} `{described or 'unknown'}`"
