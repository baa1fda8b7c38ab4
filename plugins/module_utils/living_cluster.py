"""What a host says of the cluster it is in: its own files, and on a control plane the API. Nothing is changed.

An API that does not answer is "could not look", never "there is none".

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import concurrent.futures
import json
import re
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice, unfinished
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    Kubectl,
    KubectlError,
    address_of,
    describe_node,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
KUBELET_SETTINGS = "/var/lib/kubelet/config.yaml"
KUBELET_INSTANCE = "/var/lib/kubelet/instance-config.yaml"
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
MANIFESTS = "/etc/kubernetes/manifests"
# Written before kubeadm does anything on a host of ours.
OURS = "/etc/kubernetes/kubestrap"
SECONDS = 10
# Lists, because an object that is not there is no error then; as paths, because kubectl asks nothing else before.
QUESTIONS = (
    "/api/v1/nodes",
    "/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.name%3Dkubeadm-config",
    "/api/v1/namespaces/kube-flannel/configmaps?fieldSelector=metadata.name%3Dkube-flannel-cfg",
    "/apis/apps/v1/daemonsets",
)
# Who puts these directories of a host into a pod connects pods.
NETWORK_DIRECTORIES = ("/etc/cni", "/opt/cni")
OUR_NETWORK = "kube-flannel/kube-flannel-ds"
OUR_ARGUMENT = "--iface=$(NODE_ADDRESS)"


def flag(text: str, name: str) -> str:
    """Return the value of a flag in a manifest or a file of flags; empty when it is not there."""
    found = re.search(rf"--{re.escape(name)}=([^\s\"']+)", text)
    return found[1] if found else ""


def setting(text: str, name: str) -> str:
    """Return the value of a key in a document that kubeadm wrote: one key a line, as Kubernetes writes YAML."""
    found = re.search(rf"^\s*{re.escape(name)}:[ \t]*[\"']?([^\s\"'#]+)", text, re.MULTILINE)
    return found[1] if found else ""


def node_name() -> str:
    """Return the name under which this host is in its cluster, by its certificate; empty when that cannot be read."""
    kubelet = read_text(KUBELET_CONF) or ""
    path = setting(kubelet, "client-certificate")
    embedded = setting(kubelet, "client-certificate-data")
    try:
        if path:
            return _name_in(path)
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(embedded))
            file.flush()
            return _name_in(file.name) if embedded else ""
    except (OSError, ValueError):
        return ""


def _name_in(path: str) -> str:
    # The only reader of certificates in the standard library; it takes the first certificate of a file.
    decoded = ssl._ssl._test_decode_cert(path)  # type: ignore[attr-defined]  # noqa: SLF001
    subject = {key: value for part in decoded.get("subject", ()) for key, value in part}
    name: str = subject.get("commonName", "")
    return name[len("system:node:") :] if name.startswith("system:node:") else ""


def by_files() -> dict[str, Any]:
    """Return what this host's own files say of its cluster; keys that they do not say are left out."""
    server = read_text(f"{MANIFESTS}/kube-apiserver.yaml") or ""
    controller = read_text(f"{MANIFESTS}/kube-controller-manager.yaml") or ""
    flags = read_text(KUBELET_FLAGS) or ""
    said = {
        "node_name": node_name(),
        "advertised": flag(server, "advertise-address"),
        # All zeros only say which kind of address kubelet is to choose.
        "node_addresses": [one for one in flag(flags, "node-ip").split(",") if one.strip("0.:")],
        "name_flag": flag(flags, "hostname-override"),
        "pod_cidr": flag(controller, "cluster-cidr"),
        "service_cidr": flag(server, "service-cluster-ip-range"),
        "cluster_name": flag(controller, "cluster-name"),
        "dns_domain": setting(read_text(KUBELET_SETTINGS) or "", "clusterDomain").rstrip("."),
    }
    return {key: value for key, value in said.items() if value}


def by_api(server: str) -> dict[str, Any]:
    """Return what the API of this control plane says of its cluster, or why it could not be asked (`unanswered`).

    Args:
        server: Address of the API server of this very host.
    """
    kubectl = Kubectl(server=server)
    if not kubectl.usable():
        return {"unanswered": f"there is no {ADMIN_KUBECONFIG} to ask with"}
    try:
        with concurrent.futures.ThreadPoolExecutor(len(QUESTIONS)) as pool:
            nodes, kubeadm, flannel, daemons = pool.map(lambda path: _items(kubectl, path), QUESTIONS)
    except (KubectlError, ValueError) as error:
        return {"unanswered": str(error)}
    return {**fixed(kubeadm), **networks(flannel, daemons), "nodes": [described(node) for node in nodes]}


def _items(kubectl: Kubectl, path: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = json.loads(kubectl.run("get", "--raw", path, timeout=SECONDS)).get("items") or []
    return items


def fixed(configmaps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what `kubeadm init` has fixed, from its ConfigMap; keys that it does not say are left out."""
    text = "\n".join(one.get("data", {}).get("ClusterConfiguration", "") for one in configmaps)
    said = {
        "pod_cidr": setting(text, "podSubnet"),
        "service_cidr": setting(text, "serviceSubnet"),
        "dns_domain": setting(text, "dnsDomain"),
        "cluster_name": setting(text, "clusterName"),
        "endpoint": setting(text, "controlPlaneEndpoint"),
        "version": setting(text, "kubernetesVersion").lstrip("v"),
    }
    return {key: value for key, value in said.items() if value}


def networks(configmaps: list[dict[str, Any]], daemonsets: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what connects the pods.

    Returns:
        `networks`: the DaemonSets that do, as namespace/name; `flannel_cidr`, `flannel_backend` and `flannel_is_ours`,
        where flannel is where ours would be.
    """
    found: list[str] = []
    said: dict[str, Any] = {}
    for daemon in daemonsets:
        volumes = daemon["spec"]["template"]["spec"].get("volumes") or []
        paths = [(volume.get("hostPath") or {}).get("path", "") for volume in volumes]
        if any(path.startswith(NETWORK_DIRECTORIES) for path in paths):
            found.append(f"{daemon['metadata']['namespace']}/{daemon['metadata']['name']}")
        if found[-1:] == [OUR_NETWORK] and OUR_ARGUMENT in json.dumps(daemon["spec"]["template"]["spec"]):
            said["flannel_is_ours"] = True
    said["networks"] = sorted(found)
    texts = [one.get("data", {}).get("net-conf.json", "") for one in configmaps if OUR_NETWORK in found]
    try:
        for network in map(json.loads, texts):
            said.update(flannel_cidr=network["Network"], flannel_backend=network["Backend"]["Type"])
    except (ValueError, KeyError, TypeError):
        # What flannel itself cannot read says nothing.
        return said
    return said


def described(node: dict[str, Any]) -> dict[str, Any]:
    """Return what tells a Node from another one, and whether it works."""
    about = describe_node(node)
    info = node.get("status", {}).get("nodeInfo") or {}
    return {
        "name": about["name"],
        "ready": about["ready"],
        "control_plane": "control-plane" in about["roles"],
        "address": address_of(node),
        "machine_id": info.get("machineID", ""),
        "version": about["version"],
    }


def made_by_hand() -> bool:
    """Tell whether this host is a node that was made without us."""
    return Path(KUBELET_CONF).exists() and not Path(OURS).exists()


def look(*, is_control_plane: bool, api_ready: bool, default_port: int = 6443) -> Optional[dict[str, Any]]:
    """Return what this host says of its cluster; None when it is in none, or did not get to its end.

    What the API says counts more than what files say. `answered` says whether it was asked.
    """
    # What was begun and not finished is made again by what the inventory says then.
    if unfinished.read() is not None or (not Path(KUBELET_CONF).exists() and not is_control_plane):
        return None
    said = by_files()
    said["made_by_hand"] = not Path(OURS).exists()
    kubelet = (read_text(path) or "" for path in (KUBELET_INSTANCE, KUBELET_SETTINGS, KUBELET_FLAGS))
    said["own_cri_dockerd"] = docker.own_cri_dockerd("".join(kubelet))
    if not is_control_plane:
        return said
    manifest = read_text(f"{MANIFESTS}/kube-apiserver.yaml") or ""
    said["port"] = int(flag(manifest, "secure-port") or default_port)
    api: dict[str, Any] = {"unanswered": "it does not say that it is ready"}
    if api_ready and said.get("advertised"):
        address = said["advertised"]
        api = by_api(f"https://{f'[{address}]' if ':' in address else address}:{said['port']}")
    said["answered"] = "unanswered" not in api
    return {**said, **api}


def not_in_inventory(
    nodes: list[dict[str, Any]], names: Collection[str], maybe: Sequence[Sequence[str]] = ()
) -> Iterator[Finding]:
    """Yield a finding for each node of the cluster that is no host of the inventory; none while that is in doubt.

    Args:
        nodes: What tells each node: name, address, ready, control_plane.
        names: Names of nodes that are hosts of the inventory.
        maybe: For each host that was not looked at, the names and addresses it may have in the cluster.
    """
    there = {one for node in nodes for one in (node["name"], node["address"]) if one}
    if any(there.isdisjoint(called) for called in maybe):
        # That host may be any of them.
        return
    known = {*names, *(one for called in maybe for one in called)}
    for node in nodes:
        if node["name"] not in known and node["address"] not in known:
            state = "Ready" if node["ready"] else "not Ready"
            yield warning(
                "node-not-in-inventory",
                f"The node {node['name']} ({node['address']}, {state}) is in the cluster and in no group "
                "of the inventory.",
                advice.take_out_node(node["name"], control_plane=node["control_plane"], ready=node["ready"]),
            )
