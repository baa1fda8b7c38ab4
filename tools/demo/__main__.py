"""The command: `python -m tools.demo up`."""

import argparse
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

from kubestrap.errors import KubestrapError
from kubestrap.lab import engine, hosts, image, machine

from tools.demo import app_image, kubeconfig
from tools.upstream.cache import Cache
from tools.upstream.tools import UpstreamError, run, say, timing

ROOT = pathlib.Path(__file__).parents[2]
NAME = "demo"
INVENTORY = pathlib.Path(".kubestrap/labs") / NAME / "inventory.yml"
_SYSTEM = "debian-13"
_KUBESTRAP = [sys.executable, "-m", "kubestrap"]
_UPSTREAM = [sys.executable, "-m", "tools.upstream"]

# Program to Debian package.
_NEEDED = {
    "debootstrap": "debootstrap",
    "docker": "docker.io",
    "gcc": "gcc libc6-dev",
    "gpg": "gnupg",
    "iptables": "iptables",
    "javac": "default-jdk-headless",
    "mvn": "maven",
    "openssl": "openssl",
    "ssh": "openssh-client",
}


class DemoError(Exception):
    """Why the demo is not up, in one sentence, and the exit code that says so."""

    def __init__(self, message: str, code: int = 5) -> None:
        """Take both."""
        super().__init__(message)
        self.code = code


class Steps:
    """The steps of the demo and their seconds."""

    def __init__(self) -> None:
        """Begin with none."""
        self._started = time.monotonic()
        self._seconds: list[tuple[str, float]] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Do one step."""
        say(f"== {name}")
        started = time.monotonic()
        yield
        self._seconds.append((name, time.monotonic() - started))

    def table(self) -> str:
        """Return a line for each step, and the total."""
        rows = [*self._seconds, ("together", time.monotonic() - self._started)]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"  {name:<{width}}  {timing(seconds):>8}" for name, seconds in rows)


def up(base_image: str | None) -> None:
    """Bring the demo up, or find that it is."""
    steps = Steps()
    with steps.step("programs this needs"):
        _install_programs()
        engine.ensure_running(say)
    with steps.step("packages and images of Kubernetes, host image, app image"):
        variables = _prepare(base_image)
    with steps.step("two hosts"), tempfile.TemporaryDirectory() as directory:
        app = pathlib.Path(directory) / "app.yml"
        # JSON is YAML.
        app.write_text(json.dumps(app_variables(), indent=2) + "\n")
        files = [word for path in (variables, app) for word in ("--vars", str(path))]
        size = ["--control-planes", "1", "--workers", "1", "--os", _SYSTEM]
        _call([*_KUBESTRAP, "lab", "up", "--name", NAME, *size, *files], "The hosts did not come up")
    with steps.step("kubestrap up"):
        _call([*_KUBESTRAP, "up", "-i", str(INVENTORY)], "kubestrap up did not succeed")
    summary = _last_summary()
    with steps.step("the app, asked from this machine"):
        url, status = _ask(summary["app_urls"])
    kubectl = subprocess.run([*_UPSTREAM, "kubectl"], cwd=ROOT, check=True, capture_output=True, text=True)
    _print_verdict(url, status, kubectl.stdout.strip(), summary, steps)


def app_variables() -> dict[str, list[str]]:
    """What an inventory says to run the example app."""
    return {"cluster_app_manifests": [str(app_image.APP / "k8s")]}


def down() -> None:
    """Remove hosts, volumes, network, kubeconfig context; stop the servers when no lab is left that uses them."""
    if shutil.which("docker") is not None and engine.is_running():
        if NAME in hosts.existing():
            _call([*_KUBESTRAP, "lab", "down", "--name", NAME], "The hosts are not all gone")
        else:
            say("there is no lab of that name")
        others = sorted(hosts.existing())
    else:
        others = []
    _remove_context()
    _remove_records()
    if others:
        say(f"the servers of packages and images go on: lab {', '.join(others)} may use them")
    else:
        _call([*_UPSTREAM, "down"], "The servers did not stop")
    say(f"what was built stays in {Cache.of_user().root} and in Docker's images; the next demo starts with it")


def _remove_context() -> None:
    kubectl = subprocess.run([*_UPSTREAM, "kubectl"], cwd=ROOT, check=False, capture_output=True, text=True)
    runs = [json.loads(path.read_text()) for path in sorted((ROOT / ".kubestrap").glob("runs/*/summary.json"))]
    commands = [run["kubectl"] for run in runs if run["cluster"] == NAME and run.get("kubectl")]
    if commands and kubectl.returncode == 0 and (context := kubeconfig.remove(commands[-1], kubectl.stdout.strip())):
        say(f"removed the context {context} from your kubeconfig")


def _remove_records() -> None:
    """Remove the records of the demo's runs; those of other clusters stay."""
    state = ROOT / ".kubestrap"
    for path in state.glob("runs/*/summary.json"):
        if json.loads(path.read_text())["cluster"] == NAME:
            shutil.rmtree(path.parent)
    (state / f"locks/{NAME}.lock").unlink(missing_ok=True)
    for directory in (state / "runs", state / "locks", state):
        with contextlib.suppress(OSError):
            directory.rmdir()


def _install_programs() -> None:
    missing = [name for name in _NEEDED if shutil.which(name) is None]
    if not missing:
        return
    packages = [package for name in missing for package in _NEEDED[name].split()]
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DemoError(f"The demo needs {', '.join(missing)}. Install with: sudo {' '.join(command)}", 2)
    say(f"installing {' '.join(packages)}")
    run("apt-get", "update", "-qq")
    run(*command, "-qq", env={"DEBIAN_FRONTEND": "noninteractive"})


def _prepare(base_image: str | None) -> pathlib.Path:
    """Make all that can be made side by side; the path of the mirror's variables file."""
    own = [sys.executable, "-m", "tools.demo", "image", *(["--base-image", base_image] if base_image else [])]
    with contextlib.ExitStack() as stack:
        mirror = stack.enter_context(_running([*_UPSTREAM, "up"]))
        app = stack.enter_context(_running(own))
        image.ensure(_SYSTEM, machine.look(), say)
        for process, what in ((app, "The app image was not built"), (mirror, "Packages and images are not there")):
            if process.wait():
                raise DemoError(f"{what}: the lines above say why.")
    found = subprocess.run([*_UPSTREAM, "variables"], cwd=ROOT, check=True, capture_output=True, text=True)
    return pathlib.Path(found.stdout.strip())


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command beside us; neither it nor what it started outlives us."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)


def _call(command: list[str], what: str) -> None:
    # A terminal's Ctrl-C reaches the command as well; it then cleans up, and says so itself.
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.wait()
            raise
    if code:
        raise DemoError(f"{what}: the lines above say why.", code)


def _last_summary() -> dict[str, object]:
    newest = max((ROOT / ".kubestrap/runs").glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
    summary: dict[str, object] = json.loads(newest.read_text())
    return summary


def _ask(urls: object) -> tuple[str, int]:
    """Return the app's address and the HTTP status it answers with."""
    if not isinstance(urls, list) or not urls:
        raise DemoError("The cluster is up, but kubestrap named no address of the app.", 7)
    url = str(urls[0])
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the address kubestrap printed
            print(answer.read().decode(errors="replace"))
            return url, answer.status
    except (urllib.error.URLError, OSError) as error:
        raise DemoError(f"The app does not answer at {url}: {error}", 7) from None


def _print_verdict(url: str, status: int, kubectl: str, summary: dict[str, object], steps: Steps) -> None:
    changed = summary["changed"]
    kubectl = shlex.join([kubectl, *kubeconfig.options(str(summary["kubectl"]))])
    print(f"""
{steps.table()}

The app answers: {url}  HTTP {status}
{"The demo was up already, and nothing had to be changed." if changed == 0 else f"{changed} changes were made."}

Look around:
  curl {url}
  {kubectl} get nodes,pods,services -A -o wide
  {kubectl} logs deployment/springboot-kotlin-app
  {sys.executable} -m kubestrap lab ssh cp1 --name {NAME}
  {sys.executable} -m kubestrap up -i {INVENTORY}    again: changes nothing

Remove it all: make demo-down""")


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in {
        "up": "bring the demo up and print the app's address",
        "image": "only build the example app's image",
        "down": "remove the demo",
    }.items():
        command = commands.add_parser(name, help=help_text, description=help_text)
        if name != "down":
            command.add_argument(
                "--base-image",
                metavar="IMAGE",
                help="image with Java to build the app's image on (default: one made here of Debian's packages)",
            )
    flags = parser.parse_args()
    try:
        if flags.command == "up":
            up(flags.base_image)
        elif flags.command == "image":
            _install_programs()
            engine.ensure_running(say)
            app_image.ensure(Cache.of_user(), flags.base_image)
        else:
            down()
    except DemoError as error:
        print(f"demo: {error}", file=sys.stderr)
        return error.code
    except UpstreamError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 5
    except KubestrapError as error:
        print("\n".join((f"demo: {error.message}", *error.details)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        if flags.command != "image":
            print("demo: interrupted. make demo goes on, make demo-down removes what is there.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
