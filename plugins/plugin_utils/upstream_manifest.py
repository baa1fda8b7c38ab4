"""Manifests that others publish: downloaded on the operator's machine, checked against their pin, changed as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.kubestrap.cluster.plugins.module_utils import download, images, kubernetes_yaml

# Bytes; the largest of them has some 100,000.
MOST = 16 * 1024 * 1024
DEADLINE_SECONDS = 120


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
        content = download.fetch(url, sha256=sha256, most=MOST, seconds=DEADLINE_SECONDS)
    except download.DownloadError as error:
        raise AnsibleActionFail(
            f"{what}'s manifest cannot be had: {error} Nothing was applied. The operator's machine downloads it; "
            f"{variable} says where from and what its digest is."
        ) from error
    return [document.value for document in kubernetes_yaml.load_all(kubernetes_yaml.decode(content))]


def containers(obj: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the containers of a pod, or of what makes pods."""
    spec = obj.get("spec") or {}
    pod = (spec.get("template") or {}).get("spec") or spec
    if obj["kind"] in ("Pod", "Deployment", "DaemonSet", "StatefulSet"):
        yield from [*(pod.get("initContainers") or []), *pod["containers"]]


def not_pinned(objects: list[dict[str, Any]], digests: dict[str, str]) -> dict[str, list[Any]]:
    """Return what a task's result says about images that the digests are not for, although they name another tag."""
    used = [container["image"] for obj in objects for container in containers(obj)]
    findings = images.passed_over(used, digests)
    warnings = [f"{one['evidence']} {one['fix']}" for one in findings]
    return {"findings": findings, "warnings": warnings} if findings else {}
