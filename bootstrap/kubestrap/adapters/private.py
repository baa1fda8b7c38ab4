"""Private directories of runs: gone when the run ends, and when it was killed, swept by the next one."""

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from kubestrap.errors import UsageError

_IGNORE = ".gitignore"
_SOCKETS = "sockets"
_SOCKETS_PREFIX = "ks-"
_LONGEST_SOCKET_PARENT = 60
"""Bytes: a Unix socket's path takes 107; ssh adds the connection's name and 17 more, Python's multiprocessing 34."""


def state_directory(path: Path) -> Path:
    """Make a directory below `.kubestrap`, for its owner only, and keep the whole out of people's git.

    Raises:
        UsageError: When it cannot be written to.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        top = next((one for one in (path, *path.parents) if one.name == ".kubestrap"), path)
        ignore = top / _IGNORE
        if not ignore.exists():
            ignore.write_text("*\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be written to ({error.strerror}): kubestrap keeps the record of each run in "
            ".kubestrap in the directory it is called in; change to a directory of yours and name the inventory with -i"
        ) from error
    return path


@contextlib.contextmanager
def private_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory only its owner can enter, for as long as the block lasts; sweep those of killed runs first.

    A running owner holds a lock on its directory. The kernel gives it back however the owner ends.
    """
    new = not parent.exists()
    with _locked(state_directory(parent)):
        _sweep(parent, prefix)
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        alive = os.open(path, os.O_RDONLY)
        with contextlib.suppress(OSError):
            fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield path
    finally:
        os.close(alive)
        _remove(path)
        if new:
            _leave_as_found(parent)


def fits_sockets(directory: str) -> bool:
    """Tell whether the path of a directory is short enough for sockets below it."""
    return len(os.fsencode(directory)) <= _LONGEST_SOCKET_PARENT


def socket_directory(private: Path) -> Path:
    """Make a directory for the sockets of SSH connections, which goes with the private directory.

    Not below that one, because a socket's path may have about 100 characters.

    Raises:
        UsageError: When no directory for temporary files has a path that is short enough.
    """
    places = [tempfile.gettempdir(), os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp"]  # noqa: S108 - a private one in it
    for place in places:
        if place and fits_sockets(place) and os.access(place, os.W_OK):
            made = Path(tempfile.mkdtemp(prefix=_SOCKETS_PREFIX, dir=place))
            (private / _SOCKETS).symlink_to(made)
            return made
    raise UsageError(
        f"TMPDIR is {tempfile.gettempdir()}: its path is too long for the sockets of SSH connections, and /tmp cannot "
        "be written to; set TMPDIR to a directory with a short path"
    )


def _leave_as_found(parent: Path) -> None:
    """Remove a directory that was made for this alone, unless something is kept in it now."""
    with contextlib.suppress(OSError):
        if [path.name for path in parent.iterdir()] == [_IGNORE]:
            (parent / _IGNORE).unlink()
            parent.rmdir()


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Let one process at a time make and sweep directories here."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        # Some file systems lock no directories; there nothing is swept, because nothing tells who is alive.
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sweep(parent: Path, prefix: str) -> None:
    for path in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
            finally:
                os.close(handle)


def _remove(private: Path) -> None:
    with contextlib.suppress(OSError):
        sockets = (private / _SOCKETS).readlink()
        if sockets.name.startswith(_SOCKETS_PREFIX) and sockets.lstat().st_uid == os.geteuid():
            _close_connections(sockets)
            shutil.rmtree(sockets, ignore_errors=True)
    shutil.rmtree(private, ignore_errors=True)


def _close_connections(sockets: Path) -> None:
    """End the SSH connections that were kept open for the next task."""
    for path in sockets.iterdir():
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["ssh", "-O", "exit", "-o", f"ControlPath={path}", "kubestrap"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=5,
                check=False,
            )
