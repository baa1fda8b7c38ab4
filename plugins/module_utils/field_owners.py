"""Who set which field of an object: what is another's stays theirs.

The API notes with every field who set it (managedFields). An autoscaler that set `spec.replicas` means it; a person who
typed `kubectl scale` or `kubectl edit` is the one who writes the manifests, too.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

# kubectl-edit, kubectl-client-side-apply, kubectl itself; and what the API calls fields from before it noted any.
BY_HAND = ("kubectl", "before-first-apply")


class Conflict(NamedTuple):
    """A field that another manager has set, and that an object would set otherwise."""

    steps: tuple[Any, ...]
    """Keys and numbers that lead to it in the object."""
    manager: str
    value: Any
    """What it is in the cluster."""

    @property
    def path(self) -> str:
        """The path as people write it, such as `spec.ports[0].port`."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.steps)
        return text.removeprefix(".")


def conflicts(was: dict[str, Any], will: dict[str, Any], obj: dict[str, Any], *, own: str) -> list[Conflict]:
    """Return the fields of an object that are to be left to others.

    Args:
        was: The object in the cluster, with its managed fields.
        will: What the API would make of it if all fields were taken over.
        obj: The object as it is applied.
        own: The field manager whose fields are not another's.
    """
    found: dict[tuple[Any, ...], Conflict] = {}
    for entry in was["metadata"].get("managedFields") or []:
        manager = entry.get("manager", "")
        if manager == own or manager.startswith(BY_HAND) or entry.get("subresource") == "status":
            continue
        for steps, value in _differing(entry.get("fieldsV1") or {}, was, will, obj, ()):
            found.setdefault(steps, Conflict(steps, manager, value))
    return list(found.values())


def without(obj: dict[str, Any], left: list[Conflict]) -> dict[str, Any]:
    """Return an object without the fields that are left to others."""
    bare = copy.deepcopy(obj)
    for conflict in left:
        place: Any = bare
        for step in conflict.steps[:-1]:
            place = place[step]
        place.pop(conflict.steps[-1], None)
    return bare


def _differing(
    fields: dict[str, Any], was: Any, will: Any, obj: Any, steps: tuple[Any, ...]
) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for name, inside in fields.items():
        kind, _, rest = name.partition(":")
        if kind == "f" and isinstance(obj, dict) and rest in obj and isinstance(was, dict) and isinstance(will, dict):
            here = (*steps, rest)
            if inside:
                yield from _differing(inside, was.get(rest), will.get(rest), obj[rest], here)
            elif was.get(rest) != will.get(rest):
                yield here, was.get(rest)
        elif kind == "k":
            keys = json.loads(rest)
            number = _position(obj, keys, exact=False)
            there, then = _position(was, keys), _position(will, keys)
            if number is not None and there is not None and then is not None:
                yield from _differing(inside, was[there], will[then], obj[number], (*steps, number))


def _position(items: Any, keys: dict[str, Any], *, exact: bool = True) -> int | None:
    """Return which item of a list has these keys; in an object as written, those with a default may be missing."""
    for number, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, dict) and all(item.get(k, None if exact else v) == v for k, v in keys.items()):
            return number
    return None
