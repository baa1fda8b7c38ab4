"""One cluster of two hosts for the tests of all verbs, and the record of what was proved."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tests.e2e.proof import Cell, Measurement, Record, now

HERE = Path(__file__).parent
APP = ROOT / "examples/springboot-kotlin-app"
IMAGE = "springboot-kotlin-app:latest"
RECORD = Record(shown=now(ROOT))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests on hosts: labs of their own, then the shared hosts as they come, then the cluster on them.

    Where tests run side by side, the shared hosts come first: theirs is the longest row.
    """
    side_by_side = hasattr(config, "workerinput")

    def turn(item: pytest.Item) -> tuple[int, str]:
        fixtures = getattr(item, "fixturenames", ())
        if HERE not in item.path.parents:
            return 0, ""
        # By name, whatever the folder: what changes the shared cluster for good comes late in the alphabet.
        if "cluster" in fixtures or "bare" in fixtures:
            return 2 if "cluster" in fixtures else 1, item.path.name
        return 3 if side_by_side else 0, ""

    items.sort(key=turn)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember how each test ended; a fixture that fails fails its test."""
    if report.failed or (report.passed and report.when == "call"):
        seconds = report.duration if report.when == "call" else 0
        RECORD.ended(_name(report.nodeid), passed=report.passed, seconds=seconds)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write down what was proved, and what failed: one failure does not take away hours of other proofs."""
    path = session.config.getoption("--proof")
    if path and RECORD.tests:
        data = path.with_suffix(".json")
        record = RECORD.over(Record.load(data))
        record.save(data)
        path.write_text(record.page(path.read_text() if path.exists() else ""))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what was measured."""
    if RECORD.measurements:
        terminalreporter.section("measured")
        for one in RECORD.measurements:
            terminalreporter.line(f"{one.claim}: {one.value}")


def _name(nodeid: str) -> str:
    return nodeid.removeprefix("tests/e2e/")


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Note what the test saw of a promise (proof.CLAIMS lists them): `measured("self-healing", "back after 2.1 s")`."""

    def note(claim: str, value: str) -> None:
        RECORD.measurements.append(Measurement(claim=claim, value=value, test=_name(request.node.nodeid)))

    return note


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Variables file that adds the example app; its image is in the Docker of this machine."""
    subprocess.run([sys.executable, "-m", "tools.demo", "image"], cwd=ROOT, check=True, stdout=sys.__stderr__)
    path = tmp_path_factory.mktemp("app") / "app.yml"
    path.write_text(yaml.safe_dump({"cluster_app_manifests": [str(APP / "k8s")]}))
    return path


@pytest.fixture(scope="session")
def bare(make_shared_lab: Callable[..., Hosts], app: Path) -> Hosts:
    """One control plane and one worker as they come: nothing installed."""
    return make_shared_lab("e2e", "--control-planes", "1", "--workers", "1", variables=[app])


@pytest.fixture(scope="session")
def prove(program: Program) -> Callable[..., dict[str, Any]]:
    """Make a cluster of bare hosts, run `up` once more, and write both down as a row of the page.

    The result is the summary of the first run. `options` say which inventories and `operator` who runs it, when it is
    not the lab's own and the tests' usual person.
    """

    def make(
        hosts: Hosts,
        *,
        topology: str,
        runtime: str = "docker",
        options: Sequence[str | Path] = (),
        operator: Program = program,
    ) -> dict[str, Any]:
        options = options or ("-i", hosts.inventory)
        first = operator.run("up", *options, "--output", "json")
        again = operator.run("up", *options, "--output", "json")
        assert again.summary["changed"] == 0, f"a second up changed something: {again.changes}, {again.summary}"
        system, version = hosts.sh("cp1", '. /etc/os-release; echo "$NAME $VERSION_ID"').rsplit(maxsplit=1)
        RECORD.cells.append(
            Cell(
                system=f"{system.split()[0]} {version}",
                runtime=runtime,
                topology=topology,
                kubernetes=hosts.sh("cp1", "kubeadm version -o short").strip().removeprefix("v"),
                seconds=first.seconds,
                second_run_seconds=again.seconds,
                shown=RECORD.shown,
            )
        )
        return first.summary

    return make


@pytest.fixture(scope="session")
def cluster(bare: Hosts, prove: Callable[..., dict[str, Any]]) -> Hosts:
    """The same hosts after `kubestrap up`, and after a second one."""
    prove(bare, topology="1 control plane + 1 worker")
    return bare
