"""Action plugin addon_manifests: what upstream publishes for add-ons, checked, and fitted to the cluster as data."""

from __future__ import annotations

import concurrent.futures
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils import images, kubernetes_yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.addons import LABEL, POOL_NAMESPACE
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream_manifest import containers, fetch, not_pinned

Objects = list[dict[str, Any]]

KUSTOMIZE = ("Kustomization", "Component")
# Upstream names no version of the image that makes and removes directories; it needs a shell, mkdir and rm.
HELPER_IMAGE = "docker.io/library/busybox:1.37.0"
POOL = "kubestrap"


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


def fit(addon: str, objects: Objects, image_registry: str, digests: dict[str, str]) -> Objects:
    """Return the objects of an add-on for this cluster.

    Args:
        addon: Name of the add-on.
        objects: Upstream's.
        image_registry: Where its images come from.
        digests: Digests that images must have, by the name under which they are pulled.
    """
    objects = kustomize(objects)
    for obj in objects:
        FITTERS[addon](obj)
        # Says which add-on it belongs to, so that it can go with it.
        obj["metadata"].setdefault("labels", {})[LABEL] = addon
        for container in containers(obj):
            container["image"] = images.pinned(relocated(container["image"], image_registry), digests)
        if obj["kind"] == "ConfigMap" and "helperPod.yaml" in obj.get("data", {}):
            helper = kubernetes_yaml.load(obj["data"]["helperPod.yaml"])
            for container in containers(helper):
                container["image"] = images.pinned(relocated(HELPER_IMAGE, image_registry), digests)
            obj["data"]["helperPod.yaml"] = kubernetes_yaml.dump(helper)
    return objects


def _fit_metrics_server(obj: dict[str, Any]) -> None:
    if obj["kind"] == "Deployment":
        # Certificates that kubelets serve are self-signed on clusters made by kubeadm.
        next(containers(obj))["args"].append("--kubelet-insecure-tls")


def _fit_local_path(obj: dict[str, Any]) -> None:
    if obj["kind"] == "StorageClass":
        annotations = obj["metadata"].setdefault("annotations", {})
        annotations["storageclass.kubernetes.io/is-default-class"] = "true"


def _fit_metallb(obj: dict[str, Any]) -> None:
    if obj["kind"] == "DaemonSet":
        # kubeadm takes control planes out of load balancing; a cluster without workers would answer on no address.
        next(containers(obj))["args"].append("--ignore-exclude-lb")


FITTERS = {"metrics-server": _fit_metrics_server, "local-path": _fit_local_path, "metallb": _fit_metallb}


def pool(addresses: list[str]) -> Objects:
    """Return what tells MetalLB to hand out these addresses, and to answer ARP for them."""

    def obj(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": POOL, "namespace": POOL_NAMESPACE, "labels": {LABEL: "metallb"}}
        return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}

    return [obj("IPAddressPool", {"addresses": addresses}), obj("L2Advertisement", {"ipAddressPools": [POOL]})]


class ActionModule(ActionBase):
    """Download on the operator's machine; nothing runs on the host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "addons": {"type": "list", "elements": "str", "choices": sorted(FITTERS), "required": True},
                "sources": {"type": "dict", "required": True},
                "image_digests": {"type": "dict", "default": {}},
                "metallb_addresses": {"type": "list", "elements": "str", "default": []},
            }
        )
        sources = {addon: arguments["sources"][addon] for addon in dict.fromkeys(arguments["addons"])}
        wanted = [
            (addon, source["manifest_url"].replace("{file}", file), sha256)
            for addon, source in sources.items()
            for file, sha256 in source["manifest_sha256"].items()
        ]
        with concurrent.futures.ThreadPoolExecutor(8) as pool_of_threads:
            fetched = list(pool_of_threads.map(lambda one: _fetch(*one), wanted))
        objects = []
        for addon, source in sources.items():
            own = [obj for (name, _, _), found in zip(wanted, fetched, strict=True) if name == addon for obj in found]
            objects += fit(addon, own, source["image_registry"], arguments["image_digests"])
        addresses = arguments["metallb_addresses"] if "metallb" in sources else []
        if "metallb" in sources and not addresses:
            raise AnsibleActionFail("metallb needs addresses to hand out: set cluster_metallb_addresses.")
        result = {"changed": False, "objects": objects, "pool": pool(addresses) if addresses else []}
        return {**result, **not_pinned(objects, arguments["image_digests"])}


def _fetch(addon: str, url: str, sha256: str) -> Objects:
    return fetch(url, sha256, what=addon, variable=f"cluster_{addon.replace('-', '_')}_manifest_url")
