"""The control plane on this host, first or further one: what there is of it, its API server, its node.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

MANIFESTS = f"{kubeadm.KUBERNETES}/manifests"
# kubeadm and the kubelet point kubelet.conf at the rotating certificate only after an API server has answered.
ROTATED = "kubelet-client-current.pem"
ROLE = kubeadm.CONTROL_PLANE_ROLE


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Return host and port of an API endpoint.

    Raises:
        KubeadmError: when it is none.
    """
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit():
        raise KubeadmError(f"The API endpoint {endpoint!r} is not of the form name:port (cluster_api_endpoint).")
    return host.strip("[]"), int(port)


def manifests() -> list[str]:
    """Return the parts of a control plane whose manifests are on this host."""
    return [name for name in kubeadm.CONTROL_PLANE_PARTS if Path(MANIFESTS, f"{name}.yaml").exists()]


def has_all_manifests() -> bool:
    """Tell whether this host is told to run every part of a control plane."""
    return len(manifests()) == len(kubeadm.CONTROL_PLANE_PARTS)


def was_completed() -> bool:
    """Tell whether this host was once a node of a cluster: its kubelet has a certificate of its own."""
    return ROTATED in (read_text(kubeadm.KUBELET_CONF) or "")


def local_api(params: dict[str, Any]) -> Kubectl:
    """Return kubectl for the API server of this very host: the endpoint may lead to another control plane."""
    _, port = split_endpoint(params["api_endpoint"])
    return Kubectl(server=f"https://{params['node_address']}:{port}")


class LocalControlPlane:
    """The control plane on this host."""

    def __init__(self, params: dict[str, Any], changes: Changes, kubectl: Kubectl) -> None:
        """Remember the parameters of the module, and how this host's API server is reached."""
        self.params = params
        self.changes = changes
        self.kubectl = kubectl

    def node(self) -> Optional[dict[str, Any]]:
        """Return the Node object of this host, None when there is none."""
        try:
            found = self.kubectl.items("get", "node", self.params["node_name"], "--ignore-not-found")
        except KubectlError:
            return None
        return found[0] if found else None

    def wait(self, seconds: int) -> bool:
        """Wait until the API is ready and knows this node; tell whether it does."""
        deadline = time.monotonic() + seconds
        while not (self.kubectl.ready() and self.node()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def restart_kubelet(self) -> None:
        """Start the kubelet anew and wait for the API; a finished control plane is never reset.

        Raises:
            KubeadmError: when the API does not come back.
        """
        kubeadm.run("systemctl", "restart", "kubelet")
        if self.wait(self.params["timeout"]):
            return
        kubelet = kubeadm.kubelet_error()
        crashed = kubeadm.crashed(self.params["cri_socket"])
        cause = kubeadm.explain("\n".join(crashed), kubelet)
        evidence = [*crashed, *([f"kubelet: {kubelet}"] if kubelet else [])]
        summary = (
            f"This host has a control plane, but its API did not answer within {self.params['timeout']} s after the "
            f"kubelet was restarted. {cause} Nothing was removed."
        )
        raise KubeadmError("\n  ".join([summary, *evidence]))

    def converge_marks(self) -> None:
        """Mark the node as a control plane, and let apps run here or keep them away, as asked."""
        node = self.node()
        name = self.params["node_name"]
        if node is None:
            raise KubeadmError(f"The API has no node {name!r}, the name of this host: was its hostname changed?")
        if ROLE not in (node["metadata"].get("labels") or {}):
            # The last thing kubeadm does, so what a cut left out.
            self.changes.act(f"label {ROLE}", lambda: self.kubectl.run("label", "node", name, f"{ROLE}="))
        tainted = any(taint["key"] == ROLE for taint in node["spec"].get("taints") or [])
        if tainted == self.params["schedulable"]:
            taint = f"{ROLE}:NoSchedule"
            self.changes.act(
                f"taint {ROLE}",
                lambda: self.kubectl.run("taint", "node", name, taint + ("-" if tainted else ""), "--overwrite"),
                before="NoSchedule\n" if tainted else "",
                after="" if tainted else "NoSchedule\n",
            )
