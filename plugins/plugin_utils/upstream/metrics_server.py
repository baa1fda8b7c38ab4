"""metrics-server says how much processor and memory nodes and pods use."""

from __future__ import annotations

from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import (
    Objects,
    Wishes,
    as_addon,
    containers,
)


def fit(objects: Objects, wishes: Wishes) -> Objects:
    """Return the objects of metrics-server for this cluster."""
    objects = as_addon("metrics-server", objects, wishes)
    for obj in objects:
        if obj["kind"] == "Deployment":
            # Certificates that kubelets serve are self-signed on clusters made by kubeadm.
            next(containers(obj))["args"].append("--kubelet-insecure-tls")
    return objects
