"""Compare the hosts of a play with each other, once for all of them.

Runs on the operator's machine: it costs no connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils import advice
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.living_inventory import compare_living, moved_addresses
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.names import shortened

Finding = dict[str, str]
Facts = dict[str, Any]


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
                findings.setdefault(host, []).append({"severity": "blocker", **finding})
    return findings


def twice(facts: dict[str, Facts]) -> Iterator[tuple[str, Finding]]:
    """Yield hosts that have the name or the machine ID of another one."""
    for key, finding, what, fix in (
        ("hostname", "host-name-twice", "are called", "Give each host a name of its own: `hostnamectl hostname NAME`."),
        (
            "machine_id",
            "machine-id-twice",
            "have the machine ID",
            "One is a clone. On it: `rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot`.",
        ),
    ):
        hosts: dict[str, list[str]] = {}
        for name, known in facts.items():
            if known.get(key):
                hosts.setdefault(known[key], []).append(name)
        for value, same in hosts.items():
            # The same words for all of them, so that a whole rack of clones is told once.
            told = {"id": finding, "evidence": f"{len(same)} hosts {what} {value}: {shortened(same)}.", "fix": fix}
            yield from ((host, told) for host in same if len(same) > 1)


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
                {
                    "id": "other-cluster",
                    "evidence": f"The host is a node of the cluster at {server}, which is on none of these "
                    "control planes.",
                    "fix": advice.leave_cluster(
                        f"If it is this cluster: set cluster_api_endpoint to {server}.", known.get("held")
                    ),
                },
            )


def even_control_planes(required_hosts: list[str]) -> Iterator[tuple[str, Finding]]:
    """Tell at the first control plane that an even number of them buys nothing."""
    count = len(required_hosts)
    if count and count % 2 == 0:
        lost = count - majority(count)
        survives = f"no more than with {count - 1}: the loss of {lost}" if lost else "the loss of none"
        yield (
            required_hosts[0],
            {
                "id": "control-planes-even",
                "severity": "warning",
                "evidence": f"There are {count} control planes. etcd works while a majority agrees, {majority(count)} "
                f"of {count}, so the cluster survives {survives}.",
                "fix": f"Use {count + 1}, or {count - 1}.",
            },
        )


def two_clusters(facts: dict[str, Facts], required_hosts: list[str]) -> Iterator[tuple[str, Finding]]:
    """Yield control planes that work, but belong to another cluster than the first one that does."""
    clusters = {name: known["cluster_ca"] for name, known in facts.items() if known.get("api_ready")}
    first = next((name for name in required_hosts if name in clusters), None)
    for host, authority in clusters.items():
        if first is not None and authority != clusters[first]:
            yield (
                host,
                {
                    "id": "other-cluster",
                    "evidence": f"The host is a control plane of another cluster than {first}: each has a CA of its "
                    "own.",
                    "fix": "Both stay as they are: put the hosts of each into an inventory of its own.",
                },
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
                {
                    "id": "virtual-address-taken",
                    "evidence": f"Some other machine has the address {taken} already.",
                    "fix": "Set cluster_api_virtual_address to an address that nobody has.",
                },
            )


class ActionModule(ActionBase):
    """The comparison of all hosts."""

    # What one host learns, all know: each would look at every other one.
    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _VALID_ARGS = frozenset({"api_endpoint", "required_hosts", "inventory"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the findings by host."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, asked = self.validate_argument_spec(
            argument_spec={
                "api_endpoint": {"type": "str", "default": ""},
                "required_hosts": {"type": "list", "elements": "str", "default": []},
                "inventory": {"type": "dict", "default": {}},
            }
        )
        play, planes = play_hosts(task_vars), asked["required_hosts"]
        hosts = task_vars["hostvars"]
        looked_at = {name: hosts[name].get("ansible_facts", {}) for name in dict.fromkeys([*play, *planes])}
        known = {name: facts["kubestrap"] for name, facts in looked_at.items() if "kubestrap" in facts}
        facts = {name: known[name] for name in play if name in known}
        by_host = compare(facts, planes, asked["api_endpoint"])
        if asked["inventory"]:
            groups = task_vars.get("groups", {})
            named = {name: called(name, hosts[name]) for name in {*play, *planes, *groups.get("workers", [])}}
            # A host that is only asked was not told which of its addresses counts.
            said = {name: hosts[name].get("cluster_node_address", "") for name in known}
            known = {name: {**one, "node_address": said[name] or one["node_address"]} for name, one in known.items()}
            wishes = {**asked["inventory"], "api_endpoint": asked["api_endpoint"]}
            for host, finding in compare_living(known, named, planes, wishes, list(facts)):
                by_host.setdefault(host, []).append(finding)
        return {"changed": False, "by_host": by_host}


def called(name: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names and addresses by which a host of the inventory may be in a cluster."""
    said = (name, variables.get("ansible_host", ""), variables.get("cluster_node_address", ""))
    return [str(one) for one in said if one]


def play_hosts(task_vars: dict[str, Any]) -> list[str]:
    """Return all hosts of the play, those that are set aside too."""
    return list(task_vars["ansible_play_hosts_all"])
