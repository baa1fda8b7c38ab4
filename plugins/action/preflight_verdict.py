"""Stop a host that cannot become a node.

Runs on the operator's machine: it costs no connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import (
    Finding,
    as_json,
    blocker,
    from_json,
)


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
        found += [
            one
            for one in addresses
            if ip_address(one).version == low.version and int(low) <= int(ip_address(one)) <= int(high)
        ]
    return found


def handed_out(pool: list[str], addresses: list[str]) -> Iterator[Finding]:
    """Yield that a host has an address that is to be handed out."""
    taken = in_pool(pool, addresses)
    if taken:
        yield blocker(
            "load-balancer-address-taken",
            f"The host has {', '.join(taken)}, which is among the addresses that are to be handed out: "
            f"{', '.join(pool)}.",
            "Choose addresses that nobody has (cluster_metallb_addresses).",
        )


class ActionModule(ActionBase):
    """The verdict for one host."""

    _requires_connection = False
    _VALID_ARGS = frozenset({"findings", "compared", "load_balancer_addresses", "accepted_findings", "stop"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return what adds to the findings of the host; fail when anything blocks and `stop` is true."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _, asked = self.validate_argument_spec(
            argument_spec={
                "findings": {"type": "list", "elements": "dict", "required": True},
                "compared": {"type": "list", "elements": "dict", "default": []},
                "load_balancer_addresses": {"type": "list", "elements": "str", "default": []},
                "accepted_findings": {"type": "list", "elements": "str", "default": []},
                "stop": {"type": "bool", "default": True},
            }
        )
        compared = from_json(asked["compared"])
        addresses = task_vars.get("ansible_facts", {}).get("kubestrap", {}).get("addresses", [])
        compared += handed_out(asked["load_balancer_addresses"], addresses)
        compared = [finding.accepted(asked["accepted_findings"]) for finding in compared]
        blockers = [finding for finding in [*from_json(asked["findings"]), *compared] if finding.blocker]
        result: dict[str, Any] = {"changed": False, "findings": as_json(compared)}
        if blockers and asked["stop"]:
            lines = [f"{finding.id}: {finding.evidence} {finding.fix}" for finding in blockers]
            result["failed"] = True
            result["msg"] = "Nothing was changed on this host, because of:\n" + "\n".join(lines)
        return result
