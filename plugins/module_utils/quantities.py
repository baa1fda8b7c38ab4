"""Amounts of cpu, memory and other resources, as Kubernetes writes them.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
from typing import Any

SUFFIXES = {
    "": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][-+]?[0-9]+)?)([numkKMGTPE]i?|)")


def quantity(text: Any) -> float:
    """Return the number a quantity such as 500m or 1.5Gi stands for, 0 for what is none."""
    matched = QUANTITY.fullmatch(str(text))
    return float(matched[1]) * SUFFIXES.get(matched[2], 0) if matched else 0.0


def as_text(what: str, amount: float) -> str:
    """Return an amount of a resource as people write it."""
    if what in ("memory", "ephemeral-storage"):
        unit = next((unit for unit in ("Gi", "Mi", "Ki") if amount >= SUFFIXES[unit]), "")
        return f"{amount / SUFFIXES[unit]:.1f}".removesuffix(".0") + unit
    return f"{amount:.2f}".rstrip("0").rstrip(".")


def requests(pod: dict[str, Any]) -> dict[str, float]:
    """Return what a pod asks of a node: its containers together, or its greediest init container."""
    asked: dict[str, float] = {}
    for container in pod["spec"]["containers"]:
        for what, amount in (container.get("resources", {}).get("requests") or {}).items():
            asked[what] = asked.get(what, 0) + quantity(amount)
    for container in pod["spec"].get("initContainers") or []:
        for what, amount in (container.get("resources", {}).get("requests") or {}).items():
            asked[what] = max(asked.get(what, 0), quantity(amount))
    return asked
