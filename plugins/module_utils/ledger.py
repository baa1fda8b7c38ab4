"""What was on this host before we changed it: one line for each thing, written before the first change of it.

Only what takes changes back reads it: a run never decides by what it remembers, but by looking. Runs on the hosts:
standard library only, Python 3.9.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.disk import sync_directory

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
    def thing(self) -> tuple[str, str]:
        """What it is, however well it can be taken back: a file is one thing, whoever has a part in it."""
        return self.kind.rpartition(" ")[2], self.name

    @property
    def level(self) -> str:
        """How well it can be taken back."""
        return LEVELS[self.kind]


def remember(before: Before) -> None:
    """Write down what was there; does nothing when this very thing has been changed by us before.

    Raises:
        OSError: when it cannot be written: then nothing is to be changed either.
    """
    if any(one.thing == before.thing for one in known()):
        return
    path = Path(PATH)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    entry = {"time": int(time.time()), "level": before.level, **before._asdict(), "was": _kept(before.was)}
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "r+b", buffering=0) as stream:
        size = os.fstat(stream.fileno()).st_size
        # A power cut may have left a line without its end, which would swallow this one.
        cut = size and os.pread(stream.fileno(), 1, size - 1) != b"\n"
        stream.write((b"\n" if cut else b"") + json.dumps(entry).encode("ascii") + b"\n")
        os.fsync(stream.fileno())
    sync_directory(path.parent)


def known() -> Iterator[Before]:
    """Return what was written down, in that order."""
    try:
        lines = Path(PATH).read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        # One may have been cut by a power failure.
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
    was = {"mode": status.st_mode & 0o7777, "user": status.st_uid, "group": status.st_gid}
    return Before(kind, path, {**was, "content": content.decode("utf-8", errors="surrogateescape")})


def _kept(was: Any) -> Any:
    """Return what goes into the line: of much content, where its copy lies."""
    content = was.get("content", "") if isinstance(was, dict) else ""
    if len(content) <= _SMALL:
        return was
    directory = Path(PATH).parent / "before"
    directory.mkdir(mode=0o700, exist_ok=True)
    # Readable by its owner alone, and never the name of another copy.
    handle, name = tempfile.mkstemp(dir=directory, prefix="")
    with os.fdopen(handle, "wb") as stream:
        stream.write(content.encode("utf-8", errors="surrogateescape"))
        stream.flush()
        os.fsync(stream.fileno())
    sync_directory(directory)
    return {**{key: value for key, value in was.items() if key != "content"}, "copy": name}
