"""Where a host gets things from."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import rules_supply


@pytest.mark.parametrize(
    ("ours", "joined", "severity", "fix"),
    [(True, False, "blocker", "Correct cluster_http_proxy"), (False, True, "warning", "Correct or remove it there")],
)
def test_proxy(ours: bool, joined: bool, severity: str, fix: str) -> None:
    (finding,) = rules_supply.proxy("It does not answer.", ours=ours, joined=joined)
    assert (finding.id, finding.severity, finding.evidence) == ("proxy-unreachable", severity, "It does not answer.")
    assert finding.fix.startswith(fix)
    assert list(rules_supply.proxy("", ours=ours, joined=joined)) == []


def test_repository() -> None:
    finding = rules_supply.repository("Another key.")
    assert (finding.id, finding.severity, finding.evidence) == ("repository-unusable", "blocker", "Another key.")


def test_mirrors_of_docker() -> None:
    assert list(rules_supply.mirrors(["docker.io"])) == []
    (finding,) = rules_supply.mirrors(["docker.io", "quay.io"])
    assert (finding.id, finding.severity, "quay.io" in finding.evidence) == ("mirror-ignored", "warning", True)
