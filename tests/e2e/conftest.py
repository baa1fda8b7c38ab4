"""One cluster of two hosts for the tests of all verbs, and the record of what was proved."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tests.e2e.proof import Cell, render

APP = ROOT / "examples/springboot-kotlin-app"
IMAGE = "springboot-kotlin-app:latest"


PASSED: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remember what passed."""
    if report.when == "call" and report.passed:
        PASSED[report.nodeid.removeprefix("tests/e2e/")] = report.duration


@pytest.fixture(scope="session")
def proved(request: pytest.FixtureRequest) -> Iterator[list[Cell]]:
    """Clusters made in this run; written down when the run ends without a failure."""
    cells: list[Cell] = []
    yield cells
    path = request.config.getoption("--proof")
    if path and not request.session.testsfailed:
        before = path.read_text() if path.exists() else ""
        path.write_text(render(cells, PASSED, root=ROOT, before=before))


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Variables file that adds the example app; its image is in the Docker of this machine."""
    subprocess.run([sys.executable, "-m", "tests.demo", "image"], cwd=ROOT, check=True, stdout=sys.__stderr__)
    path = tmp_path_factory.mktemp("app") / "app.yml"
    variables = {
        "cluster_app_manifests": [str(APP / "k8s")],
        "cluster_app_images": [IMAGE],
    }
    path.write_text(yaml.safe_dump(variables))
    return path


@pytest.fixture(scope="session")
def bare(make_lab: Callable[..., Hosts], app: Path) -> Hosts:
    """One control plane and one worker as they come: nothing installed."""
    return make_lab("e2e", "--control-planes", "1", "--workers", "1", variables=[app])


@pytest.fixture(scope="session")
def prove(program: Program, proved: list[Cell]) -> Callable[..., None]:
    """Make a cluster of bare hosts, run `up` once more, and write both down as a row of the page."""

    def make(hosts: Hosts, *, topology: str, runtime: str = "docker") -> None:
        started = time.monotonic()
        program.run("up", "-i", hosts.inventory)
        seconds = time.monotonic() - started
        again = program.run("up", "-i", hosts.inventory, "--output", "json")
        assert again.summary["changed"] == 0, f"a second up changed something: {again.summary}"
        system, version = hosts.sh("cp1", '. /etc/os-release; echo "$NAME $VERSION_ID"').rsplit(maxsplit=1)
        proved.append(
            Cell(
                system=f"{system.split()[0]} {version}",
                runtime=runtime,
                topology=topology,
                kubernetes=hosts.sh("cp1", "kubeadm version -o short").strip().removeprefix("v"),
                seconds=seconds,
                second_run_seconds=again.seconds,
            )
        )

    return make


@pytest.fixture(scope="session")
def cluster(bare: Hosts, prove: Callable[..., None]) -> Hosts:
    """The same hosts after `kubestrap up`, and after a second one."""
    prove(bare, topology="1 control plane + 1 worker")
    return bare
