"""How add-ons are told from everything else in a cluster.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import Any

# On every object of an add-on; its value is the add-on's name.
LABEL = "kubestrap/addon"
POOL_NAMESPACE = "metallb-system"


def addon_of(obj: dict[str, Any]) -> str:
    """Return the add-on an object belongs to, empty when it is of none."""
    return str((obj["metadata"].get("labels") or {}).get(LABEL, ""))
