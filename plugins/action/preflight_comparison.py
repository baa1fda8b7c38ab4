"""Compare the hosts of a play with each other, once for all of them.

Runs on the operator's machine: it costs no connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import as_json
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.rules_cluster import compare
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.living_inventory import compare_living


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
        return {"changed": False, "by_host": {host: as_json(found) for host, found in by_host.items()}}


def called(name: str, variables: Mapping[str, Any]) -> list[str]:
    """Return the names and addresses by which a host of the inventory may be in a cluster."""
    said = (name, variables.get("ansible_host", ""), variables.get("cluster_node_address", ""))
    return [str(one) for one in said if one]


def play_hosts(task_vars: dict[str, Any]) -> list[str]:
    """Return all hosts of the play, those that are set aside too."""
    return list(task_vars["ansible_play_hosts_all"])
