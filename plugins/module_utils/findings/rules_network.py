"""What is wrong with a host's name, addresses and networks.

Each rule is a function of what was seen, so that it can be tried without a host. Runs on the hosts: standard library
only, Python 3.9.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, blocker, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import (
    CNI_DIRECTORY,
    CONTROL_PLANE_PORTS,
    MOST_NAMESERVERS,
    NODE_PORTS,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View

FLANNEL_CONFIGURATION = "10-flannel.conflist"
# Networks that a cluster makes on its hosts.
CLUSTER_INTERFACES = ("cni", "flannel", "cali", "cilium", "lxc", "veth", "kube-", "tunl", "vxlan.calico")
OUR_INTERFACES = ("cni", "flannel")
# Names as the kernel shows them: cut after 15 characters.
OUR_PROGRAMS = {"kubelet", "kube-apiserver", "kube-controller", "kube-scheduler", "etcd"}
NODE_NAME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"


def judge(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with this host's networks.

    Args:
        view: The host.
        params: The parameters of the module preflight; its networks are some.
    """
    yield from name(view)
    yield from addresses(view, params["node_address"])
    yield from control_plane(view, params["control_plane_address"])
    yield from networks(view, params)
    yield from old_network(view, params["pod_cidr"])
    yield from name_servers(view)
    if params["pod_network"] == "flannel":
        yield from foreign_cni(view.cni_files, in_cluster=view.cluster is not None)
    yield from ports(view)
    yield from virtual_address(view, params)
    yield from firewall(view, params)


def name(view: View) -> Iterator[Finding]:
    """Yield that no node can be called like this host."""
    if not re.fullmatch(NODE_NAME, view.hostname):
        yield blocker(
            "host-name-invalid",
            f"The host is called {view.hostname!r}.",
            "Node names are lower-case letters, digits, '-' and '.': `hostnamectl hostname NAME`.",
        )


def addresses(view: View, wanted: str) -> Iterator[Finding]:
    """Yield that the host has not the address it should have, or joined with another one.

    Args:
        view: The host.
        wanted: What the inventory says; empty when it says nothing.
    """
    have, cluster = ", ".join(sorted(view.addresses)), view.cluster or {}
    # What a node had and lost is told in comparison with its cluster.
    known = {*view.addresses, *cluster.get("node_addresses", []), cluster.get("advertised", "")}
    if wanted and wanted not in known:
        yield blocker(
            "node-address-missing",
            f"The node address {wanted} is on no interface of the host ({have}).",
            "Correct cluster_node_address of this host.",
        )
    if not wanted and not view.default_address:
        yield blocker(
            "node-address-unknown",
            "The host has no default route, so it is not clear which of its addresses the cluster is to use.",
            f"Set cluster_node_address of this host to one of: {have}.",
        )
    if wanted and view.node_ip != wanted and view.node_ip in view.addresses:
        yield blocker(
            "node-address-differs",
            f"The host joined the cluster with the address {view.node_ip}, and the inventory says {wanted}.",
            advice.another_host(f"A node keeps its address: set cluster_node_address to {view.node_ip}."),
        )


def control_plane(view: View, address: str) -> Iterator[Finding]:
    """Yield that this host does not reach the first control plane."""
    if view.control_plane_problem:
        yield blocker(
            "control-plane-unreachable",
            f"This host does not reach TCP port 6443 of the control plane at {address} ({view.control_plane_problem}).",
            "Let it through in the firewalls between them, or correct cluster_node_address of the control plane: "
            "the hosts of a cluster need one network that all of them reach.",
        )


def networks(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield networks of the cluster that the host has already, for something else."""
    # On a node they may be the way to the pods of other nodes, and the network cannot be another one any more.
    for key, what in (("pod_cidr", "pods"), ("service_cidr", "Services")) if view.cluster is None else ():
        network = ipaddress.ip_network(params[key])
        taken = [
            f"{there} on {interface}"
            for there, interface in view.routes
            if isinstance(network, ipaddress.IPv4Network)
            and network.overlaps(ipaddress.IPv4Network(there))
            and not interface.startswith(CLUSTER_INTERFACES)
        ]
        if taken:
            yield blocker(
                "pod-cidr-taken" if key == "pod_cidr" else "service-cidr-taken",
                f"The addresses for {what}, {network}, overlap with networks of this host: {', '.join(taken)}.",
                f"Choose another cluster_{key}.",
            )


def old_network(view: View, pod_cidr: str) -> Iterator[Finding]:
    """Yield that a former cluster left its pod network on a host that is no node."""
    pods = ipaddress.ip_network(pod_cidr)
    ours = [route for route in view.routes if route[1].startswith(OUR_INTERFACES)]
    old = [f"{there} on {interface}" for there, interface in ours if not pods.overlaps(ipaddress.ip_network(there))]
    # On a node it is the network of its cluster, with which the inventory is compared.
    if old and not view.joined and not view.control_plane:
        yield blocker(
            "pod-network-left",
            f"A pod network of an earlier cluster is left: {', '.join(old)}; the pods are to use {pods}.",
            advice.old_pod_network(sorted({interface for _, interface in ours}), used=view.bridge_used),
        )


def name_servers(view: View) -> Iterator[Finding]:
    """Yield what is wrong with the name servers that pods get."""
    loops = [server for server in view.nameservers if is_loopback(server)]
    if loops:
        yield blocker(
            "resolver-loop",
            f"{view.resolver} names {', '.join(loops)}, the host itself: in a pod that is the pod, and the cluster's "
            "DNS would ask itself and stop.",
            "Put the address of a real name server into /etc/resolv.conf, or use systemd-resolved.",
        )
    elif not view.nameservers:
        yield warning(
            "resolver-missing",
            f"{view.resolver} names no name server.",
            "Put the address of one into it, or pods will not find names outside the cluster.",
        )
    yield from nameservers(view.resolver, view.nameservers, view.silent)


def ports(view: View) -> Iterator[Finding]:
    """Yield ports that Kubernetes needs and another program has.

    A part of a node's own that restarts just now has no name, and who cannot be named is not accused.
    """
    is_node = view.joined or view.static_pods
    taken = [
        f"port {port} ({({**NODE_PORTS, **CONTROL_PLANE_PORTS})[port]}) by {program or 'an unknown program'}"
        for port, program in view.ports
        if not (is_node and program in {*OUR_PROGRAMS, ""})
    ]
    if taken:
        yield blocker(
            "port-taken",
            f"Taken already: {', '.join(taken)}.",
            "Stop that program, or move it to another port: Kubernetes cannot use other ones.",
        )


def virtual_address(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield that other machines would not look for the virtual address in this host's network."""
    node = params["node_address"] or view.default_address
    around = [network for network, _ in view.routes if node and _is_in(node, network)]
    address = params["virtual_address"] if params["control_plane"] else ""
    if address and around and not any(_is_in(address, network) for network in around):
        yield blocker(
            "virtual-address-elsewhere",
            f"The address {address} is not in the network of this host's address {node} "
            f"({', '.join(around)}), so other machines would not look for it here.",
            "Set cluster_api_virtual_address to a free address of that network. With control planes in several "
            "networks, put a load balancer before them and set cluster_api_endpoint.",
        )


def _is_in(address: str, network: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(network)


def firewall(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what must get through a firewall."""
    vrrp = " IP protocol 112 (VRRP) between control planes," if params["virtual_address"] else ""
    if view.firewalls:
        yield warning(
            "firewall-active",
            f"A firewall is active: {', '.join(view.firewalls)}.",
            "Open TCP 6443, 2379-2380, 10250, 10257, 10259 on control planes, TCP 10250 and 30000-32767 on "
            f"workers, UDP 8472 between all,{vrrp} and let {params['pod_cidr']} and {params['service_cidr']} through.",
        )


def foreign_cni(names: Iterable[str], *, in_cluster: bool) -> list[Finding]:
    """Name configurations of other pod networks: a container runtime takes the first by name, whoever wrote it.

    Args:
        names: Files of the directory of configurations.
        in_cluster: The host is a node already: without flannel's own, one of them is what its pods run in.
    """
    known = sorted(name for name in names if name.endswith((".conf", ".conflist", ".json")))
    foreign = [name for name in known if name != FLANNEL_CONFIGURATION]
    # A later one is used as well, until flannel has written its own: by the pods that start first, such as DNS.
    if FLANNEL_CONFIGURATION in known:
        foreign = [name for name in foreign if name < FLANNEL_CONFIGURATION]
    if not foreign:
        return []
    if in_cluster and FLANNEL_CONFIGURATION not in known:
        return [
            blocker(
                "cni-foreign",
                f"This node's pods are connected by {CNI_DIRECTORY}/{foreign[0]}, which is not flannel's, and the "
                "inventory says flannel; two beside each other break both.",
                "Set cluster_pod_network to none: it stays as it is. It cannot be exchanged under running pods.",
            )
        ]
    moved = f"{CNI_DIRECTORY.rpartition('/')[0]}/net.d.before-kubernetes"
    files = " ".join(f"{CNI_DIRECTORY}/{name}" for name in foreign)
    return [
        blocker(
            "cni-foreign",
            f"{CNI_DIRECTORY} has {', '.join(foreign)}: pods would be put into that network, not into flannel's.",
            f"If nothing on this host needs it (podman may): `mkdir -p {moved}; mv {files} {moved}/`. Or set "
            "cluster_pod_network: none to keep it as the network of the cluster.",
        )
    ]


def nameservers(path: str, servers: list[str], silent: Iterable[str]) -> list[Finding]:
    """Judge the name servers of a resolv.conf.

    Args:
        path: The file.
        servers: Those it names, in its order.
        silent: Those of the ones in use that do not answer.
    """
    found = []
    if len(servers) > MOST_NAMESERVERS:
        found.append(
            warning(
                "resolver-too-many",
                f"{path} names {len(servers)} name servers; programs ask the first {MOST_NAMESERVERS} only "
                f"({', '.join(servers[:MOST_NAMESERVERS])}).",
                f"Leave {MOST_NAMESERVERS} of them that answer.",
            )
        )
    used = servers[:MOST_NAMESERVERS]
    dumb = [server for server in used if server in set(silent)]
    if dumb:
        all_of_them = len(dumb) == len(used)
        found.append(
            warning(
                "resolver-silent",
                f"{', '.join(dumb)} in {path} {'does' if len(dumb) == 1 else 'do'} not answer"
                + (": no name can be looked up here or in pods." if all_of_them else ": each look-up waits for it."),
                "Take it out, or let this host reach it (UDP and TCP port 53).",
            )
        )
    return found
