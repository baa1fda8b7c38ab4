"""Nodes that come later: the ones that are there stay as they are."""

from collections.abc import Callable

import pytest

from tests.conftest import Hosts, Program
from tests.e2e.verbs.test_up import FILES, PIDS

NO_TOKENS = """\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-tokens}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [secrets]}]
  validations: [{expression: "object.type != 'bootstrap.kubernetes.io/token'", message: no tokens today}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-tokens}
spec: {policyName: no-tokens, validationActions: [Deny]}
"""


@pytest.mark.proof
def test_one_more_worker_changes_only_itself(
    make_lab: Callable[..., Hosts], program: Program, measured: Callable[[str, str], None]
) -> None:
    hosts = make_lab("more", "--control-planes", "1", "--workers", "1")
    program.run("up", "-i", hosts.inventory)
    assert make_lab("more", "--control-planes", "1", "--workers", "2") == hosts
    before = {name: hosts.sh(name, f"{PIDS}; {FILES}") for name in ("cp1", "worker1")}
    # The task that makes tokens shows nothing of itself, and yet its reason is told.
    hosts.kubectl("apply", "-f", "-", stdin=NO_TOKENS)
    refused = program.run("up", "-i", hosts.inventory, "--limit", hosts.host("worker2"), expect=6)
    assert "no tokens today" in refused.stdout
    hosts.kubectl("delete", "-f", "-", stdin=NO_TOKENS)
    added = program.run("up", "-i", hosts.inventory, "--limit", hosts.host("worker2"), "--output", "json")
    assert set(added.summary["changed_by_host"]) == {hosts.host("worker2")}
    assert {event["host"] for event in added.events if "host" in event} == {hosts.host("worker2")}
    assert {name: hosts.sh(name, f"{PIDS}; {FILES}") for name in before} == before
    assert [node["ready"] for node in added.summary["nodes"]] == [True] * 3
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    measured("more nodes later", f"a third node in {added.seconds:.0f} s; nothing changed on the two others")
