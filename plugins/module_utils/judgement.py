"""What a look at a host or a cluster found out: four answers, of which two lead to action.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HOLDS = "holds"
DOES_NOT = "does not"
NOT_YET = "not yet"
COULD_NOT_LOOK = "could not look"


class UndecidedError(Exception):
    """A question has no answer to act on. The text says why."""


@dataclass(frozen=True)
class Judgement:
    """An answer, and what was seen. Somebody who cannot ask, or asks too early, has not been told no.

    Attributes:
        answer: HOLDS, DOES_NOT, NOT_YET (it is on its way) or COULD_NOT_LOOK.
        why: What was seen, in words.
    """

    answer: str
    why: str = ""

    def __bool__(self) -> bool:
        """Refuse: as a boolean, two of the four answers would be taken for a third.

        Raises:
            TypeError: always.
        """
        raise TypeError("a judgement is no boolean: ask decided()")

    def decided(self) -> bool:
        """Tell whether it holds.

        Raises:
            UndecidedError: when nobody knows (yet).
        """
        if self.answer not in (HOLDS, DOES_NOT):
            raise UndecidedError(self.why)
        return self.answer == HOLDS


def watch(
    look: Callable[[], Judgement],
    seconds: float,
    *,
    pause: float = 1.0,
    hopeless: Callable[[], bool] = lambda: False,
) -> Judgement:
    """Look again and again until something holds, and return the last judgement.

    Args:
        look: Asks the question.
        seconds: When to stop. One who could not look will not be able to by waiting, so that ends it too.
        pause: Seconds between two looks.
        hopeless: Tells, while it does not hold, that it is not on its way.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found.answer in (HOLDS, COULD_NOT_LOOK) or time.monotonic() >= deadline:
            return found
        if found.answer == DOES_NOT and hopeless():
            return found
        time.sleep(pause)
