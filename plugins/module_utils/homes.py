"""What is done in somebody's home directory is done as that person: what they may not touch, we do not touch for them.

Runs on the hosts and on the operator's machine: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from collections.abc import Callable

SECONDS = 120.0


class HomeError(Exception):
    """What was to be done as somebody else failed; the text is what went wrong."""


def as_user(user: pwd.struct_passwd, act: Callable[[], Any]) -> Any:
    """Return what a function returns when this process is that user; it is called in a child.

    Args:
        user: Who. Where this process is that user already, or may not become another, it is called as it is.
        act: Returns what JSON can hold.

    Raises:
        HomeError: when it raises, with the text of that, or does not end within two minutes.
    """
    if os.geteuid() != 0 or user.pw_uid == 0:
        return act()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be(user, act, writing)
    os.close(writing)
    try:
        answer = _read(reading, time.monotonic() + SECONDS)
    finally:
        os.close(reading)
        if answer_is_missing := _still_runs(child):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if answer_is_missing and not answer:
        raise HomeError(f"what was to be done as {user.pw_name} did not end within {SECONDS:.0f} s")
    try:
        result = json.loads(answer)
    except ValueError:
        raise HomeError(f"what was to be done as {user.pw_name} broke off") from None
    if "error" in result:
        raise HomeError(result["error"])
    return result["value"]


def _be(user: pwd.struct_passwd, act: Callable[[], Any], writing: int) -> None:
    """Become the user, act, and end."""
    try:
        os.initgroups(user.pw_name, user.pw_gid)
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
        os.chdir("/")
        answer = {"value": act()}
    except BaseException as error:  # noqa: BLE001 - told by the parent
        answer = {"error": str(error) or type(error).__name__}
    try:
        with os.fdopen(writing, "w", encoding="utf-8") as stream:
            stream.write(json.dumps(answer))
    finally:
        os._exit(0)


def _read(handle: int, deadline: float) -> str:
    parts: list[bytes] = []
    while True:
        ready, _, _ = select.select([handle], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return ""
        part = os.read(handle, 65536)
        if not part:
            return b"".join(parts).decode()
        parts.append(part)


def _still_runs(child: int) -> bool:
    """Tell whether a child that closed its end has not gone within a second."""
    for _ in range(100):
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.01)
    return True


def owner_of(path: str) -> Optional[pwd.struct_passwd]:
    """Return whose a place is, for root who writes there: the first directory on the way that is not root's says it.

    None means root. What such a directory holds, links as well, is that person's word; so is a link in /tmp.
    """
    place = Path(path).absolute()
    for one in (*reversed(place.parents), *([place] if place.is_symlink() else ())):
        try:
            owner = one.lstat().st_uid
        except OSError:
            return None
        if owner != 0:
            try:
                return pwd.getpwuid(owner)
            except KeyError:
                raise HomeError(f"{one} belongs to user {owner}, whom this machine does not know") from None
    return None
