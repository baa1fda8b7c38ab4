"""That hosts belong to another cluster, or do not go together.

Each rule is a function of what was seen, so that it can be tried without a host. Runs on the hosts, and where all hosts
are compared: standard library only, Python 3.9.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, blocker, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.names import shortened

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View

Facts = dict[str, Any]


def judge(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield that this host is in a cluster where it should not be.

    Args:
        view: The host.
        params: The parameters of the module preflight.
    """
    for path, name in view.distributions.items():
        yield blocker("other-cluster", f"The host has {name} ({path}).", advice.other_distribution(name))
    if view.control_plane and not params["control_plane"]:
        yield blocker(
            "other-role",
            "The host is a control plane of a cluster, and the inventory says worker.",
            advice.leave_cluster("Put it into the group control_plane.", view.held),
        )
    server, wanted = view.api_server, params["api_endpoint"]
    own = server.rsplit(":", 1)[0].strip("[]") in {*view.addresses, view.hostname, "localhost"}
    if server and wanted and server != wanted and not (view.control_plane and own):
        yield blocker(
            "other-cluster",
            f"The host is a node of the cluster at {server}, and this one is at {wanted}.",
            advice.leave_cluster(f"If it is this cluster: set cluster_api_endpoint to {server}.", view.held),
        )


def majority(members: int) -> int:
    """Return how many members of etcd must agree."""
    return members // 2 + 1


def compare(facts: dict[str, Facts], required_hosts: list[str], api_endpoint: str) -> dict[str, list[Finding]]:
    """Return what is wrong with hosts in comparison with each other, by host; those without a finding are left out.

    Every rule looks at every host once: two hundred of them take no longer than they must.

    Args:
        facts: What preflight found out, by host.
        required_hosts: All control planes of the inventory, looked at or not.
        api_endpoint: Address of the API as the user gives it; empty means the first control plane.
    """
    findings: dict[str, list[Finding]] = {}
    for rule in (
        twice(facts),
        other_clusters(facts, api_endpoint),
        even_control_planes(required_hosts),
        two_clusters(facts, required_hosts),
        taken_virtual_address(facts),
    ):
        for host, finding in rule:
            if host in facts:
                findings.setdefault(host, []).append(finding)
    return findings


def twice(facts: dict[str, Facts]) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that have the name or the machine ID of another one."""
    for key, told in (("hostname", _same_name), ("machine_id", _same_machine)):
        hosts: dict[str, list[str]] = {}
        for name, known in facts.items():
            if known.get(key):
                hosts.setdefault(known[key], []).append(name)
        for value, same in hosts.items():
            # The same words for all of them, so that a whole rack of clones is told once.
            if len(same) > 1:
                finding = told(f"{len(same)} hosts", f"{value}: {shortened(same)}.")
                yield from ((host, finding) for host in same)


def _same_name(hosts: str, which: str) -> Finding:
    return blocker(
        "host-name-twice",
        f"{hosts} are called {which}",
        "Give each host a name of its own: `hostnamectl hostname NAME`.",
    )


def _same_machine(hosts: str, which: str) -> Finding:
    return blocker(
        "machine-id-twice",
        f"{hosts} have the machine ID {which}",
        "One is a clone. On it: `rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot`.",
    )


def other_clusters(facts: dict[str, Facts], api_endpoint: str) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that are nodes of a cluster which is on none of the control planes."""
    control_planes = [known for known in facts.values() if known.get("control_plane")]
    if api_endpoint or not control_planes:
        return
    ours = {
        name
        for known in control_planes
        for name in (*known.get("addresses", []), *moved_addresses(known), known.get("hostname"))
    }
    for host, known in facts.items():
        server = known.get("api_server", "")
        if server and server.rsplit(":", 1)[0].strip("[]") not in ours:
            yield (
                host,
                blocker(
                    "other-cluster",
                    f"The host is a node of the cluster at {server}, which is on none of these control planes.",
                    advice.leave_cluster(
                        f"If it is this cluster: set cluster_api_endpoint to {server}.", known.get("held")
                    ),
                ),
            )


def even_control_planes(required_hosts: list[str]) -> Iterator[tuple[str, Finding]]:
    """Tell at the first control plane that an even number of them buys nothing."""
    count = len(required_hosts)
    if count and count % 2 == 0:
        lost = count - majority(count)
        survives = f"no more than with {count - 1}: the loss of {lost}" if lost else "the loss of none"
        yield (
            required_hosts[0],
            warning(
                "control-planes-even",
                f"There are {count} control planes. etcd works while a majority agrees, {majority(count)} "
                f"of {count}, so the cluster survives {survives}.",
                f"Use {count + 1}, or {count - 1}.",
            ),
        )


def two_clusters(facts: dict[str, Facts], required_hosts: list[str]) -> Iterator[tuple[str, Finding]]:
    """Yield control planes that work, but belong to another cluster than the first one that does."""
    clusters = {name: known["cluster_ca"] for name, known in facts.items() if known.get("api_ready")}
    first = next((name for name in required_hosts if name in clusters), None)
    for host, authority in clusters.items():
        if first is not None and authority != clusters[first]:
            yield (
                host,
                blocker(
                    "other-cluster",
                    f"The host is a control plane of another cluster than {first}: each has a CA of its own.",
                    "Both stay as they are: put the hosts of each into an inventory of its own.",
                ),
            )


def taken_virtual_address(facts: dict[str, Facts]) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that see the virtual address of the API at some other machine."""
    # A control plane of an earlier run has it rightly.
    if any(known.get("is_control_plane") for known in facts.values()):
        return
    ours = {address for known in facts.values() for address in known.get("addresses", [])}
    for host, known in facts.items():
        taken = known.get("virtual_address_taken")
        if taken and taken not in ours:
            yield (
                host,
                blocker(
                    "virtual-address-taken",
                    f"Some other machine has the address {taken} already.",
                    "Set cluster_api_virtual_address to an address that nobody has.",
                ),
            )


def moved_addresses(known: Facts) -> list[str]:
    """Return the addresses a host has in its cluster and not any more in reality."""
    cluster = known.get("cluster") or {}
    there = dict.fromkeys([cluster.get("advertised", ""), *cluster.get("node_addresses", [])])
    have = known.get("addresses") or []
    # A host none of whose addresses could be read has not moved.
    return [one for one in there if is_lasting(one) and str(ip_address(one)) not in have] if have else []


def is_lasting(address: str) -> bool:
    """Tell whether this is an address that is looked for on interfaces: not of the host itself or of one link."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return not (parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified)
