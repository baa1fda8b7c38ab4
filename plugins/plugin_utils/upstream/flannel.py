"""flannel connects the pods."""

from __future__ import annotations

import json

from ansible_collections.kubestrap.cluster.plugins.module_utils.images import pinned
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import Objects, Wishes, containers

UPSTREAM_REGISTRY = "ghcr.io/flannel-io/"


def fit(objects: Objects, wishes: Wishes) -> Objects:
    """Return flannel's objects for this cluster; images of others in its manifest stay where they come from."""
    for obj in objects:
        if obj["kind"] == "ConfigMap" and "net-conf.json" in obj.get("data", {}):
            network = {**json.loads(obj["data"]["net-conf.json"]), "Network": wishes.pod_cidr}
            obj["data"]["net-conf.json"] = json.dumps(network, indent=2) + "\n"
        if obj["kind"] == "DaemonSet":
            for container in containers(obj):
                if container["image"].startswith(UPSTREAM_REGISTRY):
                    name = container["image"].removeprefix(UPSTREAM_REGISTRY)
                    container["image"] = f"{wishes.image_registry.rstrip('/')}/{name}"
                container["image"] = pinned(container["image"], wishes.image_digests)
            flanneld = next(one for one in containers(obj) if one["name"] == "kube-flannel")
            # Without it flannel takes the interface of the default route, which may not be the one the nodes share.
            flanneld["env"].append({"name": "NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}})
            flanneld["args"].append("--iface=$(NODE_ADDRESS)")
            if wishes.api_endpoint:
                # On a new node flannel may ask before kube-proxy leads the Service anywhere, and then waits for 30 s.
                host, _, port = wishes.api_endpoint.rpartition(":")
                flanneld["env"] += [
                    {"name": "KUBERNETES_SERVICE_HOST", "value": host.strip("[]")},
                    {"name": "KUBERNETES_SERVICE_PORT", "value": port},
                ]
    return objects
