"""Compare the hosts of a play with each other, and stop those that cannot become nodes.

Runs on the operator's machine: it costs no connection.
"""

from __future__ import annotations

from collections import defaultdict
from ipaddress import ip_address, ip_network
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

Finding = dict[str, str]
Facts = dict[str, Any]


def majority(members: int) -> int:
    """Return how many members of etcd must agree."""
    return members // 2 + 1


def compare_control_planes(host: str, facts: dict[str, Facts], required_hosts: list[str]) -> list[Finding]:
    """Return what is wrong with the control planes taken together, told at one of them.

    Args:
        host: Name of the host in the inventory.
        facts: What preflight found out, by host.
        required_hosts: All control planes of the inventory, looked at or not.
    """
    findings = []
    count = len(required_hosts)
    if count and count % 2 == 0 and host == required_hosts[0]:
        lost = count - majority(count)
        survives = f"no more than with {count - 1}: the loss of {lost}" if lost else "the loss of none"
        findings.append(
            {
                "id": "control-planes-even",
                "severity": "warning",
                "evidence": f"There are {count} control planes. etcd works while a majority agrees, {majority(count)} "
                f"of {count}, so the cluster survives {survives}.",
                "fix": f"Use {count + 1}, or {count - 1}.",
            }
        )
    clusters = {name: known["cluster_ca"] for name, known in facts.items() if known.get("api_ready")}
    first = next((name for name in required_hosts if name in clusters), host)
    if host in clusters and clusters[host] != clusters[first]:
        findings.append(
            {
                "id": "other-cluster",
                "severity": "blocker",
                "evidence": f"The host is a control plane of another cluster than {first}: each has a CA of its own.",
                "fix": "Keep one. On the hosts of the other: `kubeadm reset`, when nobody needs it.",
            }
        )
    taken = facts[host].get("virtual_address_taken")
    # A control plane of an earlier run has it rightly.
    ours = any(known.get("is_control_plane") or taken in known.get("addresses", []) for known in facts.values())
    if taken and not ours:
        findings.append(
            {
                "id": "virtual-address-taken",
                "severity": "blocker",
                "evidence": f"Some other machine has the address {taken} already.",
                "fix": "Set cluster_api_virtual_address to an address that nobody has.",
            }
        )
    return findings


def compare_hosts(host: str, facts: dict[str, Facts], api_endpoint: str) -> list[Finding]:
    """Return what is wrong with a host in comparison with the others.

    Args:
        host: Name of the host in the inventory.
        facts: What preflight found out, by host.
        api_endpoint: Address of the API as the user gives it; empty means the first control plane.
    """
    findings = []
    for key, finding, what, fix in (
        ("hostname", "host-name-twice", "is called", "Give each host a name of its own: `hostnamectl hostname NAME`."),
        (
            "machine_id",
            "machine-id-twice",
            "has the machine ID",
            "One is a clone. On it: `rm /etc/machine-id /var/lib/dbus/machine-id; systemd-machine-id-setup; reboot`.",
        ),
    ):
        hosts = defaultdict(list)
        for name, known in facts.items():
            hosts[known.get(key)].append(name)
        value = facts[host].get(key)
        others = [name for name in hosts[value] if name != host]
        if value and others:
            evidence = f"The host {what} {value}, and so does {', '.join(others)}."
            findings.append({"id": finding, "severity": "blocker", "evidence": evidence, "fix": fix})
    server = facts[host].get("api_server", "")
    control_planes = [known for known in facts.values() if known.get("control_plane")]
    if server and not api_endpoint and control_planes:
        address = server.rsplit(":", 1)[0].strip("[]")
        if not any(address in {*known.get("addresses", []), known.get("hostname")} for known in control_planes):
            findings.append(
                {
                    "id": "other-cluster",
                    "severity": "blocker",
                    "evidence": f"The host is a node of the cluster at {server}, which is on none of these "
                    "control planes.",
                    "fix": "Take it out of that cluster first: `kubeadm reset`. Or set cluster_api_endpoint to "
                    "that address.",
                }
            )
    return findings


def in_pool(pool: list[str], addresses: list[str]) -> list[str]:
    """Return those of a host's addresses that lie in one of the ranges (FIRST-LAST) and networks of a pool."""
    found = []
    for part in pool:
        first, _, last = part.partition("-")
        if last:
            low, high = ip_address(first.strip()), ip_address(last.strip())
        else:
            network = ip_network(part)
            low, high = network[0], network[-1]
        found += [one for one in addresses if ip_address(one).version == low.version and low <= ip_address(one) <= high]
    return found


class ActionModule(ActionBase):
    """The verdict for one host."""

    _requires_connection = False
    _VALID_ARGS = frozenset(
        {"findings", "api_endpoint", "required_hosts", "load_balancer_addresses", "accepted_findings", "stop"}
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the findings of the comparison; fail when anything blocks and `stop` is true."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, asked = self.validate_argument_spec(
            argument_spec={
                "findings": {"type": "list", "elements": "dict", "required": True},
                "api_endpoint": {"type": "str", "default": ""},
                "required_hosts": {"type": "list", "elements": "str", "default": []},
                "load_balancer_addresses": {"type": "list", "elements": "str", "default": []},
                "accepted_findings": {"type": "list", "elements": "str", "default": []},
                "stop": {"type": "bool", "default": True},
            }
        )
        host = task_vars["inventory_hostname"]
        facts = {
            name: task_vars["hostvars"][name]["ansible_facts"]["kubestrap"]
            for name in task_vars["ansible_play_hosts_all"]
            if "kubestrap" in task_vars["hostvars"][name].get("ansible_facts", {})
        }
        if host not in facts:
            raise AnsibleActionFail("kubestrap.cluster.preflight has not looked at this host.")
        compared = [
            *compare_hosts(host, facts, asked["api_endpoint"]),
            *compare_control_planes(host, facts, asked["required_hosts"]),
        ]
        taken = in_pool(asked["load_balancer_addresses"], facts[host].get("addresses", []))
        if taken:
            compared.append(
                {
                    "id": "load-balancer-address-taken",
                    "severity": "blocker",
                    "evidence": f"The host has {', '.join(taken)}, which is among the addresses that are to be handed "
                    f"out: {', '.join(asked['load_balancer_addresses'])}.",
                    "fix": "Choose addresses that nobody has (cluster_metallb_addresses).",
                }
            )
        for finding in compared:
            if finding["id"] in asked["accepted_findings"]:
                finding["severity"] = "warning"
        blockers = [finding for finding in [*asked["findings"], *compared] if finding["severity"] == "blocker"]
        result: dict[str, Any] = {"changed": False, "findings": compared}
        if blockers and asked["stop"]:
            lines = [f"{finding['id']}: {finding['evidence']} {finding['fix']}" for finding in blockers]
            result["failed"] = True
            result["msg"] = "Nothing was changed on this host, because of:\n" + "\n".join(lines)
        return result
