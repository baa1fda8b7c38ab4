"""What tests that need real hosts share: the stand-in for the internet, the program as people install it, labs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

ROOT = Path(__file__).parent.parent
# A file with a test on the hosts that all share.
SHARED = re.compile(r'\b(bare|cluster): Hosts\b|usefixtures\("(bare|cluster)"')


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make e2e` say where the record of what was proved goes."""
    parser.addoption("--proof", type=Path, help="write the page of what was proved to this file")


class Rows(LoadScopeScheduling):  # type: ignore[misc] - has no types
    """Where tests run side by side, those of a file stay in one row, and so do all that share hosts."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        return "shared hosts" if SHARED.search((ROOT / path).read_text()) else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Rows:
    """Tell pytest-xdist which tests stay together. Its own groups need the names of tests as pytest 9.1 had them."""
    return Rows(config, log)


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def events(self) -> list[dict[str, Any]]:
        """The JSON lines of `--output json`."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        """The last of them."""
        return self.events[-1]

    @property
    def changes(self) -> list[str]:
        """What changed something, as `host: task`."""
        return [f"{one['host']}: {one['task']}" for one in self.events if one.get("outcome") == "changed"]


@dataclass(frozen=True, kw_only=True)
class Program:
    """The installed `kubestrap`, started in a directory of its own."""

    executable: Path
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start it in a process group of its own, as a shell does."""
        return subprocess.Popen(
            [self.executable, *map(str, arguments)],
            cwd=self.directory,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str | Path, expect: int | None = 0) -> Result:
        """Run it to its end; fail the test when it ends with another exit code than expected."""
        started = time.monotonic()
        with self.start(*arguments) as process:
            stdout, stderr = process.communicate()
        result = Result(code=process.returncode, stdout=stdout, stderr=stderr, seconds=time.monotonic() - started)
        if expect is not None and result.code != expect:
            command = " ".join(map(str, arguments))
            pytest.fail(f"kubestrap {command}: exit {result.code}, not {expect}\n{stdout}\n{stderr}", pytrace=False)
        return result


@pytest.fixture(scope="session")
def upstream() -> Path:
    """Variables file of the running stand-in for the internet."""
    subprocess.run([sys.executable, "-m", "tools.upstream", "up"], cwd=ROOT, check=True, stdout=sys.__stderr__)
    path = subprocess.run(
        [sys.executable, "-m", "tools.upstream", "variables"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return Path(path.stdout.strip())


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`kubestrap` from the built wheel in an environment of its own, as `pip install` gives it to people."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", directory, ROOT],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    environment = directory / "environment"
    venv.create(environment, with_pip=True)
    versions = directory / "versions.txt"
    versions.write_text("\n".join(re.findall(r"^\S+==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)))
    wheel = next(directory.glob("*.whl"))
    pip = [environment / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--constraint", versions, wheel], check=True)
    return environment / "bin/kubestrap"


@pytest.fixture(scope="session")
def program(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program in an empty directory, with a home directory that is not the tester's."""
    directory = tmp_path_factory.mktemp("operator")
    home = directory / "home"
    home.mkdir()
    # Labs and clusters leave their marks here, and nowhere else.
    cache = os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    yield Program(executable=installed, directory=directory, environment={"HOME": str(home), "XDG_CACHE_HOME": cache})
    shutil.rmtree(directory, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """A lab's hosts and how to look at them without the program."""

    name: str
    directory: Path

    @property
    def inventory(self) -> Path:
        """The inventory the lab wrote."""
        return self.directory / ".kubestrap/labs" / self.name / "inventory.yml"

    def host(self, suffix: str) -> str:
        """Name of a host, such as `cp1` or `worker1`."""
        return f"{self.name}-{suffix}"

    def sh(self, suffix: str, script: str) -> str:
        """What a shell script prints on a host."""
        return subprocess.run(
            ["docker", "exec", "-i", self.host(suffix), "sh", "-e"],
            input=script,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints on the control plane."""
        command = ["docker", "exec", "-i", self.host("cp1"), "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
        return subprocess.run([*command, *arguments], input=stdin, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def make_shared_lab(program: Program, upstream: Path) -> Iterator[Any]:
    """Make labs that stay to the end of all tests."""
    yield from _lab_maker(program, upstream)


@pytest.fixture(scope="module")
def make_lab(program: Program, upstream: Path) -> Iterator[Any]:
    """Make labs that are gone when the tests of the file are: idle clusters cost the others time."""
    yield from _lab_maker(program, upstream)


def _lab_maker(program: Program, upstream: Path) -> Iterator[Any]:
    names: set[str] = set()

    def make(name: str, *options: str, variables: Sequence[Path] = ()) -> Hosts:
        name = f"{name}-{os.getpid()}"
        names.add(name)
        files = [word for path in (upstream, *variables) for word in ("--vars", str(path))]
        program.run("lab", "up", "--name", name, *options, *files)
        return Hosts(name=name, directory=program.directory)

    yield make
    for name in names:
        program.run("lab", "down", "--name", name, expect=None)
