"""A living cluster and its inventory: what the cluster says against what the inventory says, one finding each.

Rules only, from what preflight found out on the hosts: nothing is asked here, and what was not seen is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, blocker, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.rules_cluster import Facts, moved_addresses
from ansible_collections.kubestrap.cluster.plugins.module_utils.living_cluster import OUR_NETWORK, not_in_inventory
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import in_steps, is_version


def compare_living(
    facts: Mapping[str, Facts],
    hosts: Mapping[str, Sequence[str]],
    control_planes: Sequence[str],
    asked: Mapping[str, str],
    play: Sequence[str],
) -> Iterator[tuple[str, Finding]]:
    """Yield what is wrong between the living cluster and the inventory, each with the host it is told at.

    Args:
        facts: What preflight found out, by host; hosts that were only consulted too.
        hosts: All hosts of the inventory, each with the names and addresses it may have.
        control_planes: Those of them that are to be control planes.
        asked: What the inventory says: pod_cidr, service_cidr, dns_domain, cluster_name, kubernetes_version,
            pod_network, api_endpoint.
        play: The hosts at which something can be told.
    """
    for host in play:
        known = facts.get(host)
        if known:
            for rule in (moved, advertised, renamed, taken_over):
                yield from ((host, finding) for finding in rule(known))
    entry = entry_of(facts, control_planes)
    if entry is not None:
        cluster = facts[entry]["cluster"]
        place = entry if entry in play else play[0]
        if not moved_addresses(facts[entry]):
            yield from ((place, finding) for finding in differs(cluster, asked))
            yield from ((place, finding) for finding in endpoint_differs(facts, entry, control_planes, asked))
        yield from ((place, finding) for finding in left_out(cluster, facts, hosts))
        yield from returned(cluster, facts, play)
        yield from followers(facts, control_planes, play)
    yield from versions(facts, entry, asked.get("kubernetes_version", ""), play)


def entry_of(facts: Mapping[str, Facts], control_planes: Sequence[str]) -> str | None:
    """Return the control plane that speaks for the cluster: the first whose API answered, else the first there is."""
    there = [name for name in control_planes if "advertised" in (facts.get(name, {}).get("cluster") or {})]
    answered = [name for name in there if facts[name]["cluster"].get("answered")]
    return next(iter([*answered, *there]), None)


def differs(cluster: Mapping[str, Any], asked: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what the cluster has fixed for good and the inventory says otherwise."""
    if not cluster.get("answered"):
        yield warning(
            "cluster-not-asked",
            f"There is a cluster here, and its API could not be asked: {cluster.get('unanswered', 'no answer')}. Only "
            "this host's own files were compared with the inventory.",
            "Nothing to do for that: `up` waits for the API, and says why when it does not come.",
        )
    pods = cluster.get("flannel_cidr") or cluster.get("pod_cidr", "")
    if pods and not same_networks(pods, asked["pod_cidr"]):
        yield blocker(
            "pod-cidr-differs",
            f"The cluster's pods are in {pods}, and the inventory says {asked['pod_cidr']}.",
            f"That cannot be changed in a cluster that lives: set cluster_pod_cidr to {first_network(pods)}.",
        )
    services = cluster.get("service_cidr", "")
    if services and not same_networks(services, asked["service_cidr"]):
        yield blocker(
            "service-cidr-differs",
            f"The cluster's Services are in {services}, and the inventory says {asked['service_cidr']}.",
            f"That cannot be changed in a cluster that lives: set cluster_service_cidr to {first_network(services)}.",
        )
    domain = cluster.get("dns_domain", "")
    if domain and domain != asked["dns_domain"].rstrip("."):
        yield blocker(
            "dns-domain-differs",
            f"The cluster's DNS domain is {domain}, and the inventory says {asked['dns_domain']}.",
            f"It is in the settings of every node and pod: set cluster_dns_domain to {domain}.",
        )
    name = cluster.get("cluster_name", "")
    if name and name != asked["cluster_name"]:
        yield blocker(
            "cluster-name-differs",
            f"The cluster is called {name}, and the inventory says {asked['cluster_name']}: a second entry for the "
            "same cluster would appear in your kubeconfig.",
            f"Set cluster_name to {name}. If you want the other name in your kubeconfig only, accept that with "
            "cluster_accepted_findings: [cluster-name-differs].",
        )
    yield from network_differs(cluster, asked)


def network_differs(cluster: Mapping[str, Any], asked: Mapping[str, str]) -> Iterator[Finding]:
    """Yield that something else connects the pods than what would be put there."""
    there = cluster.get("networks") or []
    if asked.get("pod_network") != "flannel" or not there:
        return
    if OUR_NETWORK not in there:
        yield blocker(
            "pod-network-differs",
            f"The pods are connected by {', '.join(there)}, and the inventory says flannel; two beside each other "
            "break both.",
            "Set cluster_pod_network to none: it stays as it is. It cannot be exchanged under running pods.",
        )
    elif cluster.get("flannel_backend", "vxlan") != "vxlan":
        yield blocker(
            "pod-network-differs",
            f"flannel connects the pods with the backend {cluster['flannel_backend']}, and here it would get vxlan.",
            "Set cluster_pod_network to none: flannel stays as it is.",
        )


def endpoint_differs(
    facts: Mapping[str, Facts], entry: str, control_planes: Sequence[str], asked: Mapping[str, str]
) -> Iterator[Finding]:
    """Yield that every kubeconfig of the cluster names another address of the API than the inventory does."""
    cluster = facts[entry]["cluster"]
    there = cluster.get("endpoint") or f"{in_url(cluster['advertised'])}:{cluster['port']}"
    if ":" not in there.rpartition("]")[2]:
        there = f"{there}:{cluster['port']}"
    first = facts.get(control_planes[0], {}).get("node_address", "")
    wanted = asked.get("api_endpoint") or (f"{in_url(first)}:6443" if first else "")
    if not wanted or there == wanted:
        return
    host = there.rpartition(":")[0].strip("[]")
    both = host == cluster["advertised"] and host in facts[entry].get("addresses", [])
    if both and entry == control_planes[0] and not asked.get("api_endpoint"):
        # Told as the host's address, which the endpoint follows.
        return
    fix = f"It is in every kubeconfig and certificate, so it stays: set cluster_api_endpoint to {there}"
    fix += " and leave cluster_api_virtual_address empty." if asked.get("api_endpoint") else "."
    yield blocker(
        "api-endpoint-differs", f"The cluster's API is at {there}, and by the inventory it would be at {wanted}.", fix
    )


def moved(known: Facts) -> Iterator[Finding]:
    """Yield that a host got another address than the one its cluster knows it by."""
    gone = moved_addresses(known)
    if not gone:
        return
    control_plane = "advertised" in known["cluster"]
    now = known.get("default_address") or ", ".join(known["addresses"])
    what = "control plane" if control_plane else "worker"
    fix = (
        f"Give the host its old address again: a fixed lease in the DHCP server, or {gone[0]} as a second address of "
        f"the interface, and cluster_node_address: {gone[0]} for it. Then everything goes on as it was."
    )
    if control_plane:
        fix += " A control plane cannot move: the address is in its certificates, in etcd and on every node."
    yield blocker(
        "address-changed",
        f"This {what} was {' and '.join(gone)} in its cluster, and the host is now {now}. Nothing of it is lost.",
        fix,
    )


def advertised(known: Facts) -> Iterator[Finding]:
    """Yield that a control plane is known by another of its host's addresses than the inventory would use."""
    there, wanted = (known.get("cluster") or {}).get("advertised", ""), known.get("node_address", "")
    if there and wanted and there != wanted and there in known.get("addresses", []):
        yield blocker(
            "node-address-differs",
            f"This control plane is {there} in its cluster, and by the inventory it would be {wanted}. The host has "
            "both addresses.",
            f"Set cluster_node_address of this host to {there}: the address is in certificates and in etcd.",
        )


def renamed(known: Facts) -> Iterator[Finding]:
    """Yield that a host is called otherwise than its node."""
    node, name = (known.get("cluster") or {}).get("node_name", ""), known.get("hostname", "").lower()
    if node and name and node != name:
        yield blocker(
            "node-name-differs",
            f"The host is the node {node} of its cluster, and its hostname is {name} now.",
            f"A node keeps its name: `hostnamectl hostname {node}` on it.",
        )


def taken_over(known: Facts) -> Iterator[Finding]:
    """Yield what a run does to a node that was made without us; nothing once it is done."""
    cluster = known.get("cluster") or {}
    differs = []
    if cluster.get("own_cri_dockerd"):
        differs.append("cri-dockerd is started anew, from a unit and a version of kubestrap's (containers go on)")
    if known.get("kubernetes_held") is False:
        differs.append("the packages of Kubernetes are held at their version")
    if OUR_NETWORK in (cluster.get("networks") or []) and not cluster.get("flannel_is_ours"):
        differs.append(
            "flannel's pods start anew with kubestrap's settings, one node after the other (other pods go on; "
            "cluster_pod_network: none leaves it as it is)"
        )
    if cluster.get("made_by_hand") and not known.get("kubelet_version", "unknown"):
        yield blocker(
            "kubelet-not-packaged",
            "The kubelet of this node did not come as a package, so this node cannot be taken over: a second kubelet "
            "would be installed beside it.",
            "Leave it out of the inventory, and give the cluster another host instead.",
        )
    if cluster.get("made_by_hand") and differs:
        yield warning(
            "taken-over",
            f"This node was made without kubestrap. `up` takes it over, and changes this: {'; '.join(differs)}.",
            "Nothing to do: objects, certificates and settings of the cluster stay (docs/take-over.md).",
        )


def followers(
    facts: Mapping[str, Facts], control_planes: Sequence[str], play: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that know their API at an address that its control plane has lost."""
    former = {address: name for name in control_planes for address in moved_addresses(facts.get(name, {}))}
    for host in play:
        server = facts.get(host, {}).get("api_server", "").rsplit(":", 1)[0].strip("[]")
        if host not in control_planes and server in former:
            yield (
                host,
                warning(
                    "control-plane-moved",
                    f"This node knows the API at {server}, the former address of {former[server]}.",
                    f"Nothing to do here: see {former[server]}.",
                ),
            )


def left_out(
    cluster: Mapping[str, Any], facts: Mapping[str, Facts], hosts: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Yield nodes of the cluster that are no host of the inventory; none while that is in doubt."""
    known = set()
    for host in hosts.keys() & facts.keys():
        seen = facts[host]
        known |= {seen.get("hostname", "").lower(), (seen.get("cluster") or {}).get("node_name", "")}
    maybe = [called for host, called in hosts.items() if host not in facts]
    yield from not_in_inventory(cluster.get("nodes") or [], known, maybe)


def returned(
    cluster: Mapping[str, Any], facts: Mapping[str, Facts], play: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that are in no cluster, while the cluster has a node of their name."""
    nodes = {node["name"]: node for node in cluster.get("nodes") or []}
    for host in play:
        known = facts.get(host) or {}
        node = nodes.get(known.get("hostname", "").lower())
        if node is not None and not known.get("cluster"):
            finding = again(node, known)
            # A control plane has a member of etcd too; what becomes of that is judged where it joins.
            yield host, finding.accepted([finding.id] if known.get("control_plane") else [])


def again(node: Mapping[str, Any], known: Facts) -> Finding:
    """Return what a bare host is whose name a node of the cluster has: that node made anew, or somebody else."""
    same = node["address"] in known.get("addresses", [])
    name = node["name"]
    if not same:
        return blocker(
            "host-name-taken",
            f"The cluster has a node {name} with the address {node['address']}, and this host, which is called so too, "
            "has another one.",
            f"If it is another machine: `hostnamectl hostname NAME` with a name of its own. If it is {name}, made "
            f"anew: give it the address {node['address']} again.",
        )
    if node["ready"]:
        return blocker(
            "host-reinstalled",
            f"The cluster still takes this host for its node {name}, which reported less than a minute ago; the host "
            "holds nothing of it: it was reinstalled.",
            "Run again in a minute: when the cluster has seen that the node is gone, the host joins under its name.",
        )
    return warning(
        "host-reinstalled",
        f"This host was the node {name} of the cluster, and holds nothing of it any more: it was reinstalled.",
        "Nothing to do: it joins under its name.",
    )


def versions(
    facts: Mapping[str, Facts], entry: str | None, wanted: str, play: Sequence[str]
) -> Iterator[tuple[str, Finding]]:
    """Yield nodes whose Kubernetes would have to change; those that say the same as the first control plane do not."""
    if not wanted:
        return
    first = str(facts[entry].get("kubelet_version", "")) if entry else ""
    for host in sorted(play, key=lambda name: name != entry):
        present = str(facts.get(host, {}).get("kubelet_version", ""))
        if not facts.get(host, {}).get("cluster") or not present or is_version(present, wanted):
            continue
        if host != entry and entry in play and present == first:
            continue
        yield (
            host,
            blocker(
                "version-differs",
                f"This node runs Kubernetes {present}, and the inventory says {wanted}{in_steps(present, wanted)}.",
                f"A living cluster is not upgraded in passing: set cluster_kubernetes_version to {present}.",
            ),
        )


def same_networks(there: str, wanted: str) -> bool:
    """Tell whether the wanted network is the cluster's, or one of its two. What is no network differs."""
    try:
        return ip_network(wanted) in {ip_network(part.strip()) for part in there.split(",")}
    except ValueError:
        return False


def first_network(there: str) -> str:
    """Return what to write into the inventory for the cluster's network or pair of networks."""
    return there.split(",", maxsplit=1)[0].strip()


def in_url(address: str) -> str:
    """Return an address as it stands before a port."""
    return f"[{address}]" if ":" in address else address
