"""What was on this host before we changed it: one line for each thing, written before the first change of it.

Only what takes changes back reads it: a run never decides by what it remembers, but by looking. Runs on the hosts:
standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/var/lib/kubestrap/made.jsonl"
# Bytes of a file's old content that are kept here; more is kept as a copy beside.
_SMALL = 64 * 1024

LEVELS = {
    "file": "exact",
    "merged file": "best effort",
    "packages": "reversible",
    "hold": "exact",
    "unit": "reversible",
    "sysctl": "exact",
    "kernel module": "reversible",
    "swap": "best effort",
    "program": "exact",
    "link": "exact",
    "group member": "exact",
}
"""How well each kind of thing can be taken back. What has no kind here has no way back that we promise.

exact: as it was. reversible: by the opposite step, with what it brings along (a package's own files, a unit's start).
best effort: what was there is known, but others may have changed it since.
"""


class Before(NamedTuple):
    """What a thing was before the first change of it: without it there is nothing that could be taken back."""

    kind: str
    """One of LEVELS."""
    name: str
    was: Any
    """None when it was not there."""

    @property
    def level(self) -> str:
        """How well it can be taken back."""
        return LEVELS[self.kind]


def remember(before: Before) -> None:
    """Write down what was there; does nothing when this very thing has been changed by us before.

    Raises:
        OSError: when it cannot be written: then nothing is to be changed either.
    """
    if any((one.kind, one.name) == (before.kind, before.name) for one in known()):
        return
    path = Path(PATH)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    entry = {"time": int(time.time()), "level": before.level, **before._asdict()}
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(json.dumps(entry) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def known() -> Iterator[Before]:
    """Return what was written down, in that order."""
    try:
        lines = Path(PATH).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        # The last one may have been cut by a power failure.
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            yield Before(entry["kind"], entry["name"], entry["was"])


def of_file(path: str, *, merged: bool = False) -> Before:
    """Return what a file is before it is written: its content, mode, user and group.

    Args:
        path: The file.
        merged: Whether a part of it stays other people's.
    """
    kind = "merged file" if merged else "file"
    target = Path(path)
    try:
        status, content = target.stat(), target.read_bytes()
    except FileNotFoundError:
        return Before(kind, path, None)
    was: dict[str, Any] = {"mode": status.st_mode & 0o7777, "user": status.st_uid, "group": status.st_gid}
    if len(content) <= _SMALL:
        was["content"] = content.decode("utf-8", errors="surrogateescape")
    else:
        was["copy"] = _copy(content, status.st_mode & 0o7777)
    return Before(kind, path, was)


def _copy(content: bytes, mode: int) -> str:
    directory = Path(PATH).parent / "before"
    for one in (directory.parent, directory):
        one.mkdir(mode=0o700, exist_ok=True)
    handle, number = -1, 0
    while handle < 0:
        number += 1
        name = directory / f"{number}"
        try:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode & 0o600)
        except FileExistsError:
            continue
    with os.fdopen(handle, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    return str(name)
