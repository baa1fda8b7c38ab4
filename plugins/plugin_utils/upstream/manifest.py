"""Manifests that others publish: downloaded on the operator's machine, checked against their pin, changed as data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from ansible.errors import AnsibleActionFail
from ansible_collections.kubestrap.cluster.plugins.module_utils import download, images, kubernetes_yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.addons import LABEL
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import as_json

# Bytes; the largest of them has some 100,000.
MOST = 16 * 1024 * 1024
DEADLINE_SECONDS = 120
KUSTOMIZE = ("Kustomization", "Component")
Objects = list[dict[str, Any]]


class Wishes(NamedTuple):
    """What a cluster wants of other people's objects.

    Attributes:
        image_registry: Where the project's images come from.
        image_digests: Digests that images must have, by the name under which they are pulled.
        pod_cidr: Addresses of the pods.
        api_endpoint: `host:port` of the API; empty leaves pods with the Service `kubernetes`.
    """

    image_registry: str
    image_digests: dict[str, str]
    pod_cidr: str = ""
    api_endpoint: str = ""


def fetch(url: str, sha256: str, *, what: str, variable: str) -> Objects:
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


def not_pinned(objects: Objects, digests: dict[str, str]) -> dict[str, list[Any]]:
    """Return what a task's result says about images that the digests are not for, although they name another tag."""
    used = [container["image"] for obj in objects for container in containers(obj)]
    findings = images.passed_over(used, digests)
    warnings = [f"{one.evidence} {one.fix}" for one in findings]
    return {"findings": as_json(findings), "warnings": warnings} if findings else {}


def kustomize(objects: Objects) -> Objects:
    """Return the objects with what kustomizations among them say: common labels, and other names of images.

    metrics-server keeps its manifest in this form, and publishes no other one in its repository.
    """
    said = [obj for obj in objects if obj["kind"] in KUSTOMIZE]
    objects = [obj for obj in objects if obj["kind"] not in KUSTOMIZE]
    labels = {name: value for one in said for name, value in (one.get("commonLabels") or {}).items()}
    others = {image["name"]: image for one in said for image in one.get("images") or []}
    for obj in objects:
        if labels:
            _label(obj, labels)
        for container in containers(obj):
            asked = images.reference(container["image"])
            name = container["image"].removesuffix(images.suffix(asked))
            if new := others.get(name):
                # A new tag is another image than the digest of the old one.
                digest = new.get("digest", "" if "newTag" in new else asked.digest)
                changed = asked._replace(tag=new.get("newTag", asked.tag), digest=digest)
                container["image"] = f"{new.get('newName', name)}{images.suffix(changed)}"
    return objects


def _label(obj: dict[str, Any], labels: dict[str, str]) -> None:
    obj["metadata"].setdefault("labels", {}).update(labels)
    if obj["kind"] == "Service":
        obj["spec"].setdefault("selector", {}).update(labels)
    if obj["kind"] in ("Deployment", "DaemonSet"):
        selector = obj["spec"].setdefault("selector", {}).setdefault("matchLabels", {})
        template = obj["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {})
        selector.update(labels)
        template.update(labels)


def relocated(image: str, registry: str) -> str:
    """Return an image's name with another registry in place of its own."""
    asked = images.reference(image)
    return f"{registry.rstrip('/')}/{asked.repository}{images.suffix(asked)}"


def wished_image(image: str, wishes: Wishes) -> str:
    """Return an image's name as this cluster pulls it: registry and digest."""
    return images.pinned(relocated(image, wishes.image_registry), wishes.image_digests)


def as_addon(addon: str, objects: Objects, wishes: Wishes) -> Objects:
    """Return the objects with their images where this cluster has them, each saying which add-on it belongs to."""
    objects = kustomize(objects)
    for obj in objects:
        # So that it can go with its add-on.
        obj["metadata"].setdefault("labels", {})[LABEL] = addon
        for container in containers(obj):
            container["image"] = wished_image(container["image"], wishes)
    return objects
