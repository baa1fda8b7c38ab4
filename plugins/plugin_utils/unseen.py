"""What a module returns, kept out of the log that a connection writes at high verbosity."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def unseen(action: Any) -> Iterator[None]:
    """Let the connection of an action plugin print nothing of what comes over it: at -vvv it would print all.

    Ansible tells a task's `no_log` to a copy of the play's settings that the connection alone has.
    """
    settings = action._connection._play_context  # noqa: SLF001
    before, settings.no_log = settings.no_log, True
    try:
        yield
    finally:
        settings.no_log = before
