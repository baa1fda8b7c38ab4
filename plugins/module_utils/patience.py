"""How long something is waited for: as long as it moves, and what to set when that was too short.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST = 4
"""However much moves, a wait ends after so many times its length."""

HINT = "If this machine is slow: `cluster_patience: 2` doubles every time limit."


class Patience:
    """A time limit that starts anew whenever something is seen that was not seen before."""

    def __init__(self, seconds: float) -> None:
        """Begin to wait.

        Args:
            seconds: How long nothing may move.
        """
        self.seconds = seconds
        self._began = time.monotonic()
        self._moved = self._began
        self._seen: set[str] = set()

    def see(self, states: Iterable[str]) -> None:
        """Look at what is waited for, a text each. Numbers do not count: a restart more is no progress."""
        new = {re.sub(r"\d+", "", state) for state in states} - self._seen
        if new:
            self._seen |= new
            self._moved = time.monotonic()

    def over(self) -> bool:
        """Tell whether it was long enough."""
        now = time.monotonic()
        return now - self._moved > self.seconds or now - self._began > self.seconds * MOST

    def elapsed(self) -> int:
        """Return the seconds since the wait began."""
        return round(time.monotonic() - self._began)
