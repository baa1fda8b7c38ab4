"""Manifests that others publish: downloaded on the operator's machine, checked against their pin, changed as data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.urls import open_url

# The one written in C is ten times as fast, and not everywhere.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def fetch(url: str, sha256: str, *, what: str, variable: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest.

    Args:
        url: Where it is.
        sha256: Its pin.
        what: What it is the manifest of, for messages.
        variable: What a person would correct.

    Raises:
        AnsibleActionFail: when it cannot be had, or is not the pinned one.
    """
    try:
        content = open_url(url, timeout=30).read()
    except OSError as error:
        raise AnsibleActionFail(
            f"{what}'s manifest cannot be downloaded from {url}: {error}. This happens on the operator's machine; "
            f"{variable} says where from."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise AnsibleActionFail(
            f"What {url} serves is not the expected manifest of {what}: its sha256 is {found}, not {sha256.lower()}. "
            f"Nothing was applied. If this is another version on purpose, set the digest too ({variable})."
        )
    return [document for document in yaml.load_all(content, LOADER) if document]


def containers(obj: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the containers of a pod, or of what makes pods."""
    spec = obj.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or spec
    if obj["kind"] in ("Pod", "Deployment", "DaemonSet", "StatefulSet"):
        yield from [*(pod.get("initContainers") or []), *pod["containers"]]
