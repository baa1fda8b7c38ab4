import time
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.action.preflight_report import verdict
from ansible_collections.kubestrap.cluster.plugins.action.preflight_verdict import handed_out, in_pool
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.rules_cluster import compare


def host(name: str, *, control_plane: bool = False, **facts: Any) -> dict[str, Any]:
    return {"hostname": name, "machine_id": f"id-of-{name}", "addresses": [], "control_plane": control_plane, **facts}


def ids(host_name: str, facts: dict[str, Any], api_endpoint: str = "") -> list[str]:
    return [finding.id for finding in compare(facts, [], api_endpoint).get(host_name, [])]


def test_different_hosts_go_together() -> None:
    facts = {"cp": host("cp", control_plane=True, addresses=["10.0.0.1"]), "w": host("w", api_server="10.0.0.1:6443")}
    assert ids("cp", facts) == ids("w", facts) == []


def test_two_hosts_with_one_name_or_one_machine_id_are_both_told() -> None:
    facts = {"a": host("same"), "b": host("same"), "c": host("c", machine_id="id-of-d"), "d": host("d")}
    assert {name: ids(name, facts) for name in facts} == {
        "a": ["host-name-twice", "machine-id-twice"],
        "b": ["host-name-twice", "machine-id-twice"],
        "c": ["machine-id-twice"],
        "d": ["machine-id-twice"],
    }


def test_node_of_another_cluster_is_told_unless_the_address_is_declared() -> None:
    facts = {"cp": host("cp", control_plane=True, addresses=["10.0.0.1"]), "w": host("w", api_server="10.9.9.9:6443")}
    assert ids("w", facts) == ["other-cluster"]
    # Whether it is the declared address was compared on the host.
    assert ids("w", facts, api_endpoint="10.9.9.9:6443") == []


def test_evidence_names_the_other_host() -> None:
    findings = compare({"a": host("x", machine_id="1"), "b": host("x", machine_id="2")}, [], "")
    assert "b" in findings["a"][0].evidence.split()[-1]
    assert findings["a"][0].severity == "blocker"


def test_a_rack_of_clones_is_told_in_linear_time_and_few_words() -> None:
    facts = {f"h{number}": host("same", machine_id=f"{number}") for number in range(20_000)}
    began = time.process_time()
    findings = compare(facts, ["h0"], "")
    # Each with each would be minutes.
    assert time.process_time() - began < 5
    assert findings["h0"][0].evidence == "20000 hosts are called same: h0, h1, h2, h3, h4 and 19995 more."
    assert "h0" in findings["h19999"][0].evidence


def test_report_of_many_hosts_says_the_same_once() -> None:
    blocker = Finding("swap-on", "blocker", "Swap is on.", "swapoff")
    warning = Finding("os-unproved", "warning", "Swap is on.", "swapoff")
    fine, text = verdict({f"h{number}": [blocker] for number in range(50)} | {"w": [warning]})
    assert not fine
    assert text.count("Swap is on.") == 2
    assert "blocker swap-on on 50 hosts (h0, h1, h2, h3, h4 and 45 more): Swap is on." in text
    assert text.endswith("50 blocker(s) on 50 of 51 host(s).")
    assert verdict({"w": [warning], "x": []}) == (
        True,
        "warning os-unproved on w: Swap is on.\n  fix: swapoff\nNo blocker on 2 host(s), 1 warning(s).",
    )


PLANES = ["a", "b", "c", "d"]


def together(facts: dict[str, Any], required: list[str] | None = None) -> dict[str, list[str]]:
    names = list(facts) if required is None else required
    found = compare(facts, names, "")
    return {name: [finding.id for finding in found.get(name, [])] for name in facts}


@pytest.mark.parametrize(
    ("count", "told"), [(1, []), (2, ["control-planes-even"]), (3, []), (4, ["control-planes-even"])]
)
def test_even_number_of_control_planes_is_told_once(count: int, told: list[str]) -> None:
    facts = {name: host(name, control_plane=True) for name in PLANES[:count]}
    found = together(facts)
    assert found.pop("a") == told
    assert not any(found.values())


def test_warning_says_what_even_numbers_buy() -> None:
    two, four = (compare({"a": host("a")}, PLANES[:count], "")["a"][0] for count in (2, 4))
    assert (two.severity, four.severity) == ("warning", "warning")
    assert "2 of 2, so the cluster survives the loss of none" in two.evidence
    assert "3 of 4, so the cluster survives no more than with 3: the loss of 1" in four.evidence


def test_a_control_plane_that_is_not_looked_at_counts() -> None:
    assert together({"a": host("a"), "b": host("b")}, ["a", "b", "c"]) == {"a": [], "b": []}


def test_control_planes_of_two_clusters_do_not_go_together() -> None:
    facts = {
        "a": host("a"),
        **{name: host(name, api_ready=True, cluster_ca=ca) for name, ca in (("b", "1"), ("c", "2"))},
    }
    assert together(facts) == {"a": [], "b": [], "c": ["other-cluster"]}


def test_virtual_address_of_somebody_else_is_told_and_our_own_is_not() -> None:
    taken = {"virtual_address_taken": "10.0.0.10"}
    facts = {"a": host("a"), "b": host("b", **taken), "c": host("c")}
    assert together(facts)["b"] == ["virtual-address-taken"]
    assert together({**facts, "a": host("a", addresses=["10.0.0.10"])})["b"] == []
    assert together({**facts, "a": host("a", is_control_plane=True)})["b"] == []


def test_address_that_is_to_be_handed_out_is_no_hosts() -> None:
    pool = ["192.0.2.200-192.0.2.210", "198.51.100.0/30"]
    assert in_pool(pool, ["192.0.2.11", "2001:db8::1"]) == []
    assert in_pool(pool, ["192.0.2.205", "198.51.100.3"]) == ["192.0.2.205", "198.51.100.3"]
    assert list(handed_out(pool, ["192.0.2.11"])) == []
    (finding,) = handed_out(pool, ["192.0.2.205"])
    assert (finding.id, finding.blocker) == ("load-balancer-address-taken", True)
