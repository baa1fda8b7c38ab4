"""Action plugin flannel_manifest: flannel's own manifest, checked, and fitted to the cluster as data."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import pinned
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream_manifest import containers, fetch, not_pinned

UPSTREAM_REGISTRY = "ghcr.io/flannel-io/"


def fit(
    objects: list[dict[str, Any]],
    *,
    pod_cidr: str,
    image_registry: str,
    api_endpoint: str = "",
    image_digests: dict[str, str],
) -> list[dict[str, Any]]:
    """Return flannel's objects for this cluster.

    Args:
        objects: The manifest's objects.
        pod_cidr: Addresses of the pods.
        image_registry: Where flannel's images come from.
        api_endpoint: `host:port` of the API; empty leaves flannel with the Service `kubernetes`.
        image_digests: Digests that images must have, by the name under which they are pulled.
    """
    for obj in objects:
        if obj["kind"] == "ConfigMap" and "net-conf.json" in obj.get("data", {}):
            network = {**json.loads(obj["data"]["net-conf.json"]), "Network": pod_cidr}
            obj["data"]["net-conf.json"] = json.dumps(network, indent=2) + "\n"
        if obj["kind"] == "DaemonSet":
            for container in containers(obj):
                if container["image"].startswith(UPSTREAM_REGISTRY):
                    name = container["image"].removeprefix(UPSTREAM_REGISTRY)
                    container["image"] = f"{image_registry.rstrip('/')}/{name}"
                container["image"] = pinned(container["image"], image_digests)
            flanneld = next(one for one in containers(obj) if one["name"] == "kube-flannel")
            # Without it flannel takes the interface of the default route, which may not be the one the nodes share.
            flanneld["env"].append({"name": "NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}})
            flanneld["args"].append("--iface=$(NODE_ADDRESS)")
            if api_endpoint:
                # On a new node flannel may ask before kube-proxy leads the Service anywhere, and then waits for 30 s.
                host, _, port = api_endpoint.rpartition(":")
                flanneld["env"] += [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": host.strip("[]")},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": port},
                ]
    return objects


class ActionModule(ActionBase):
    """Download flannel's manifest on the operator's machine; nothing runs on the host."""

    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "url": {"type": "str", "required": True},
                "sha256": {"type": "str", "required": True},
                "pod_cidr": {"type": "str", "required": True},
                "image_registry": {"type": "str", "required": True},
                "api_endpoint": {"type": "str", "default": ""},
                "image_digests": {"type": "dict", "default": {}},
            }
        )
        objects = fetch(arguments["url"], arguments["sha256"], what="flannel", variable="cluster_flannel_manifest_url")
        wishes = {name: arguments[name] for name in ("pod_cidr", "image_registry", "api_endpoint", "image_digests")}
        fitted = fit(objects, **wishes)
        return {"changed": False, "objects": fitted, **not_pinned(fitted, arguments["image_digests"])}
