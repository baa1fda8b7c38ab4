"""Calling other programs, and talking to the person who waits."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import threading
import time

_started = time.monotonic()
_printing = threading.Lock()
_running: set[subprocess.Popen[str]] = set()
_ending = threading.Event()


class UpstreamError(Exception):
    """Something a person has to put right. The message says what and how."""


def say(text: str) -> None:
    """Print a line of progress to stderr, with the time since the start."""
    with _printing:
        print(f"[{timing(time.monotonic() - _started):>6}] {text}", file=sys.stderr, flush=True)


def timing(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"


def run(
    *command: str | pathlib.Path,
    cwd: pathlib.Path | None = None,
    env: dict[str, str] | None = None,
    stdin: str | None = None,
) -> str:
    """Run a program to its end and return what it printed on stdout.

    Args:
        command: Program and arguments.
        cwd: Where to run it.
        env: Variables to add to the environment.
        stdin: Text for its standard input.

    Raises:
        UpstreamError: It ended with another exit code than 0.
    """
    if _ending.is_set():
        raise UpstreamError("Something else failed.")
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    _running.add(process)
    try:
        stdout, stderr = process.communicate(stdin)
    finally:
        _running.discard(process)
    if process.returncode:
        words = " ".join(map(str, command))
        words = words if len(words) < 200 else words[:200] + " ..."
        last = "\n".join(f"  {line}" for line in (stdout + stderr).splitlines()[-25:])
        raise UpstreamError(_without_hosts(f"{words}\nended with exit code {process.returncode}:\n{last}"))
    return stdout


def end_running() -> None:
    """End the programs that `run` waits for and start no more, because nobody needs their results."""
    _ending.set()
    for process in tuple(_running):
        process.terminate()


def _without_hosts(text: str) -> str:
    """The text without the hosts of addresses: where this machine gets its packages from is nobody's business."""
    return re.sub(r"(https?://)[^/\s\"']+", r"\1...", text)


_PACKAGE_OF = {
    "dpkg-deb": "dpkg",
    "gcc": "gcc libc6-dev",
    "gpg": "gnupg",
    "openssl": "openssl",
}


def need(*programs: str) -> None:
    """Install the Debian packages of programs that are missing, or say which.

    Raises:
        UpstreamError: Something is missing and cannot be installed from here.
    """
    missing = [program for program in programs if not shutil.which(program)]
    packages = [package for program in missing for package in _PACKAGE_OF[program].split()]
    if not missing:
        return
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise UpstreamError(f"{', '.join(missing)} not found. Install with: sudo {' '.join(command)}")
    say(f"installing {' '.join(packages)}")
    run("apt-get", "update", "-qq")
    run(*command, "-qq", env={"DEBIAN_FRONTEND": "noninteractive"})
