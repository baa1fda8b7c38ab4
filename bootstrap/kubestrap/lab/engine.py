"""The container engine of this machine, reached through the `docker` command."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kubestrap.errors import StepFailedError, UsageError

START_SECONDS = 60
# An image may have to be loaded, packages to be fetched.
LONGEST_SECONDS = 1800


def docker(*arguments: str, stdin: bytes | None = None) -> str:
    """Run `docker` and return what it prints.

    Raises:
        StepFailedError: it ended with an error; the message holds the engine's own words.
    """
    result = subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, check=False, timeout=LONGEST_SECONDS
    )
    if result.returncode:
        words = result.stderr.decode(errors="replace").strip() or f"exit code {result.returncode}"
        raise StepFailedError(f"docker {arguments[0]} failed on this machine: {words}")
    return result.stdout.decode(errors="replace").strip()


def succeeds(*arguments: str) -> bool:
    """Whether that `docker` command ends without an error."""
    return (
        subprocess.run(["docker", *arguments], capture_output=True, check=False, timeout=START_SECONDS).returncode == 0
    )


def inspect(kind: str, filters: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Everything the engine knows about its containers, networks or volumes, in the order of creation.

    Args:
        kind: `container`, `network` or `volume`.
        filters: What `docker KIND ls --filter` takes.
    """
    everything = ("--all",) if kind == "container" else ()
    template = "{{.Name}}" if kind == "volume" else "{{.ID}}"
    options = [word for value in filters for word in ("--filter", value)]
    names = docker(kind, "ls", *everything, "--format", template, *options).split()
    if not names:
        return []
    # What another lab removed since the listing is left out of the answer, with an error for each.
    answer = subprocess.run(
        ["docker", kind, "inspect", *names], capture_output=True, check=False, timeout=START_SECONDS
    )
    found: list[dict[str, Any]] = json.loads(answer.stdout)
    return found


def is_running() -> bool:
    """Whether an engine answers. A `docker` command may well be there without one."""
    return shutil.which("docker") is not None and succeeds("version", "--format", "{{.Server.Version}}")


def ensure_running(report: Callable[[str], None]) -> None:
    """Use the engine that answers, else start (and on Debian and Ubuntu install) one as root.

    Raises:
        UsageError: there is no engine, and no way to start one from here.
    """
    if is_running():
        return
    if os.geteuid() != 0:
        raise UsageError(
            "A lab needs Docker: no container engine answers, and you are not root, so none can be started. "
            "Start Docker (and be a member of the group docker), or run this command as root."
        )
    started = time.monotonic()
    installed = shutil.which("dockerd") is None
    if installed:
        _install(report)
    how = _start()
    while not is_running():
        if time.monotonic() - started > START_SECONDS + (600 if installed else 0):
            raise UsageError(f"A lab needs Docker: it was started ({how}) and does not answer.")
        time.sleep(0.2)
    report(f"Started Docker Engine in {time.monotonic() - started:.0f} s ({how})")


def _install(report: Callable[[str], None]) -> None:
    if shutil.which("apt-get") is None:
        raise UsageError("A lab needs Docker: install Docker Engine for this distribution, then run this again.")
    report("Installing Docker Engine (apt-get install docker.io)")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "docker.io"]):
        result = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, timeout=LONGEST_SECONDS
        )
    if result.returncode:
        raise UsageError(
            "A lab needs Docker, and apt-get install docker.io failed. Install Docker Engine, then run this again.",
            details=result.stderr.strip().splitlines()[-3:],
        )


def _start() -> str:
    """Start the engine; return where to look when it does not come up."""
    if Path("/run/systemd/system").is_dir():
        subprocess.run(
            ["systemctl", "start", "docker.service"], capture_output=True, check=False, timeout=START_SECONDS * 2
        )
        return "journalctl -u docker"
    forget_ended_engines(Path("/var/run"))
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kubestrap"
    state.mkdir(parents=True, exist_ok=True)
    path = state / "dockerd.log"
    with path.open("ab") as log:
        # In a session of its own and no child of this command, it stays when this one ends.
        subprocess.run(
            ["setsid", "--fork", "dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
            timeout=START_SECONDS,
        )
    return f"log: {path}"


def forget_ended_engines(run: Path) -> None:
    """Remove pid files of engines that did not end well: their numbers may be other programs' by now.

    Args:
        run: The directory of pid files, /var/run.
    """
    for name, program in (("docker.pid", "dockerd"), ("docker/containerd/containerd.pid", "containerd")):
        path = run / name
        with contextlib.suppress(OSError):
            running = Path(f"/proc/{path.read_text().strip()}/comm")
            if not running.exists() or running.read_text().strip() != program:
                path.unlink()
