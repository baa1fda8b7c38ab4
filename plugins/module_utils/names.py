"""Names of hosts in sentences."""

from __future__ import annotations

from collections.abc import Sequence

NAMED = 5
"""So many of many names are shown."""


def shortened(names: Sequence[str], count: int = 0) -> str:
    """Return names for a sentence; of many, the first few and how many more there are.

    Args:
        names: The names, or the first of them.
        count: How many there are, when not all are given.
    """
    count = max(count, len(names))
    if count <= NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:NAMED])} and {count - NAMED} more"
