"""MetalLB gives Services of type LoadBalancer an address."""

from __future__ import annotations

from typing import Any

from ansible_collections.kubestrap.cluster.plugins.module_utils.addons import LABEL, POOL_NAMESPACE
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import (
    Objects,
    Wishes,
    as_addon,
    containers,
)

POOL = "kubestrap"


def fit(objects: Objects, wishes: Wishes) -> Objects:
    """Return the objects of MetalLB for this cluster."""
    objects = as_addon("metallb", objects, wishes)
    for obj in objects:
        if obj["kind"] == "DaemonSet":
            # kubeadm takes control planes out of load balancing; a cluster without workers would answer on no address.
            next(containers(obj))["args"].append("--ignore-exclude-lb")
    return objects


def pool(addresses: list[str]) -> Objects:
    """Return what tells MetalLB to hand out these addresses, and to answer ARP for them."""

    def obj(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
        metadata = {"name": POOL, "namespace": POOL_NAMESPACE, "labels": {LABEL: "metallb"}}
        return {"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec}

    return [obj("IPAddressPool", {"addresses": addresses}), obj("L2Advertisement", {"ipAddressPools": [POOL]})]
