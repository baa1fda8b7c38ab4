"""The signals that ask the program to stop, which are one thing whoever sends them: Ctrl-C, kill, a lost terminal."""

import os
import signal
import stat
from collections.abc import Callable
from types import FrameType
from typing import Any

_STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_stop(handle: Callable[[], None]) -> dict[int, Any]:
    """Call a function at each of them; return what was there before, for `restore`.

    What is ignored stays ignored: `nohup` means it.
    """

    def handler(number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            _leave_terminal()
        handle()

    return {
        number: signal.signal(number, handler) for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN
    }


def restore(before: dict[int, Any]) -> None:
    """Put the handlers back."""
    for number, handler in before.items():
        signal.signal(number, handler)


def _leave_terminal() -> None:
    """Write into nothing from now on: writing to a terminal that is gone would end the clean end."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        if stat.S_ISCHR(os.fstat(stream).st_mode):
            os.dup2(nothing, stream)
    os.close(nothing)
