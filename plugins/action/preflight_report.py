"""Say, once for all hosts of a play, what was found on them, and fail when anything of it blocks.

Runs on the operator's machine: it costs no connection.
"""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import BLOCKER, Finding, from_json
from ansible_collections.kubestrap.cluster.plugins.module_utils.names import shortened

_REGISTERED = ("__preflight_look", "__preflight_verdict")


def verdict(findings: dict[str, list[Finding]]) -> tuple[bool, str]:
    """Return whether nothing blocks, and the text for a person: what several hosts have is said once.

    Args:
        findings: What was found, by host.
    """
    hosts: dict[tuple[str, str, str, str], list[str]] = {}
    for host, found in findings.items():
        for one in found:
            same = hosts.setdefault((one.severity, one.id, one.evidence, one.fix), [])
            if host not in same[-1:]:
                same.append(host)
    blockers = [names for (severity, *_), names in hosts.items() if severity == BLOCKER]
    blocked = {name for names in blockers for name in names}
    warnings = sum(len(names) for names in hosts.values()) - sum(map(len, blockers))
    lines = []
    for (severity, identifier, evidence, fix), names in sorted(hosts.items(), key=lambda item: item[0][:2]):
        where = names[0] if len(names) == 1 else f"{len(names)} hosts ({shortened(names)})"
        lines += [f"{severity} {identifier} on {where}: {evidence}", f"  fix: {fix}"]
    if blockers:
        lines.append(f"{sum(map(len, blockers))} blocker(s) on {len(blocked)} of {len(findings)} host(s).")
    else:
        lines.append(f"No blocker on {len(findings)} host(s), {warnings} warning(s).")
    return not blockers, "\n".join(lines)


class ActionModule(ActionBase):
    """The report on all hosts."""

    BYPASS_HOST_LOOP = True
    _requires_connection = False
    _VALID_ARGS: frozenset[str] = frozenset()

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the text; fail when anything blocks."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        findings = {}
        for name in task_vars["ansible_play_hosts_all"]:
            known = task_vars["hostvars"][name]
            if _REGISTERED[0] in known:
                findings[name] = from_json(
                    finding for result in _REGISTERED for finding in known.get(result, {}).get("findings", [])
                )
        fine, text = verdict(findings)
        return {"changed": False, "failed": not fine, "msg": text, "_ansible_verbose_always": True}
