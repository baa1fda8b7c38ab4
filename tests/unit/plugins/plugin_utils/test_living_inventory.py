"""What a living cluster says against what the inventory says."""

from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.living_inventory import (
    compare_living,
    entry_of,
    same_networks,
)

ASKED = {
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "dns_domain": "cluster.local",
    "cluster_name": "kubernetes",
    "kubernetes_version": "1.36.4",
    "pod_network": "flannel",
    "api_endpoint": "",
}
HOSTS = {"cp1": ["cp1"], "w1": ["w1"]}


def node(name: str, address: str, **said: Any) -> dict[str, Any]:
    return {"name": name, "address": address, "ready": True, "control_plane": name.startswith("cp"), **said}


def cluster(**said: Any) -> dict[str, Any]:
    return {
        "answered": True,
        "advertised": "10.0.0.11",
        "node_addresses": ["10.0.0.11"],
        "node_name": "cp1",
        "port": 6443,
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/12",
        "dns_domain": "cluster.local",
        "cluster_name": "kubernetes",
        "endpoint": "10.0.0.11:6443",
        "version": "1.36.4",
        "networks": ["kube-flannel/kube-flannel-ds"],
        "flannel_cidr": "10.244.0.0/16",
        "flannel_backend": "vxlan",
        "flannel_is_ours": True,
        "nodes": [node("cp1", "10.0.0.11"), node("w1", "10.0.0.12")],
        **said,
    }


def plane(*, known: dict[str, Any] | None = None, **said: Any) -> dict[str, Any]:
    facts = {
        "hostname": "cp1",
        "addresses": ["10.0.0.11"],
        "default_address": "10.0.0.11",
        "node_address": "10.0.0.11",
        "control_plane": True,
        "kubelet_version": "1.36.4",
        "cluster": known or cluster(),
    }
    return facts | said


def worker(**said: Any) -> dict[str, Any]:
    facts = {
        "hostname": "w1",
        "addresses": ["10.0.0.12"],
        "default_address": "10.0.0.12",
        "node_address": "10.0.0.12",
        "api_server": "10.0.0.11:6443",
        "kubelet_version": "1.36.4",
        "cluster": {"node_name": "w1", "node_addresses": ["10.0.0.12"]},
    }
    return facts | said


def compared(cp1: dict[str, Any], w1: dict[str, Any] | None = None, **asked: str) -> list[tuple[str, dict[str, str]]]:
    facts = {"cp1": cp1, "w1": w1 or worker()}
    return list(compare_living(facts, HOSTS, ["cp1"], {**ASKED, **asked}, list(facts)))


def one(cp1: dict[str, Any], w1: dict[str, Any] | None = None, **asked: str) -> tuple[str, str, str, str]:
    [(host, finding)] = compared(cp1, w1, **asked)
    return host, f"{finding.severity} {finding.id}", finding.evidence, finding.fix


def test_a_cluster_as_its_inventory_says_has_no_finding() -> None:
    assert compared(plane()) == []


@pytest.mark.parametrize(
    ("name", "inventory", "found", "says", "fix"),
    [
        ("pod_cidr", "10.50.0.0/16", "pod-cidr-differs", "10.244.0.0/16", "set cluster_pod_cidr to 10.244.0.0/16"),
        (
            "service_cidr",
            "10.98.0.0/16",
            "service-cidr-differs",
            "10.96.0.0/12",
            "cluster_service_cidr to 10.96.0.0/12",
        ),
        ("dns_domain", "k8s.example", "dns-domain-differs", "cluster.local", "set cluster_dns_domain to cluster.local"),
        ("cluster_name", "mine", "cluster-name-differs", "kubernetes", "Set cluster_name to kubernetes"),
        ("kubernetes_version", "1.36.3", "version-differs", "1.36.4", "cluster_kubernetes_version to 1.36.4"),
        ("api_endpoint", "k8s.example:6443", "api-endpoint-differs", "10.0.0.11:6443", "to 10.0.0.11:6443"),
    ],
)
def test_the_cluster_says_one_thing_and_the_inventory_another(
    name: str, inventory: str, found: str, says: str, fix: str
) -> None:
    host, finding, evidence, what_to_do = one(plane(), **{name: inventory})
    assert (host, finding) == ("cp1", f"blocker {found}")
    assert says in evidence
    assert inventory in evidence
    assert fix in what_to_do
    assert not any(word in what_to_do for word in ("reset", "delete", "rm -rf"))


def test_networks_are_compared_and_not_their_spelling() -> None:
    assert same_networks("10.244.0.0/16,fd00:10:244::/56", "10.244.0.0/16")
    assert same_networks("fd00:0::/64", "fd00::/64")
    assert not same_networks("10.244.0.0/16", "10.244.0.0/17")
    assert not same_networks("10.244.0.0/16", "nonsense")


def test_flannels_network_counts_more_than_what_kubeadm_was_told() -> None:
    _, finding, evidence, _ = one(plane(known=cluster(flannel_cidr="10.50.0.0/16")))
    assert finding == "blocker pod-cidr-differs"
    assert "10.50.0.0/16" in evidence


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"networks": ["kube-system/calico-node"]}, "kube-system/calico-node"),
        # Older manifests of flannel: a second one beside it would be made.
        ({"networks": ["kube-system/kube-flannel-ds"]}, "kube-system/kube-flannel-ds"),
        ({"flannel_backend": "host-gw"}, "host-gw"),
    ],
)
def test_another_pod_network_stays(said: dict[str, Any], words: str) -> None:
    _, finding, evidence, fix = one(plane(known=cluster(**said)))
    assert finding == "blocker pod-network-differs"
    assert words in evidence
    assert "cluster_pod_network to none" in fix
    assert compared(plane(known=cluster(**said)), pod_network="none") == []


def test_no_pod_network_yet_is_no_other_one() -> None:
    assert compared(plane(known=cluster(networks=[], flannel_cidr=""))) == []


def test_an_api_that_does_not_answer_is_not_an_absent_cluster() -> None:
    silent = {key: value for key, value in cluster(answered=False, unanswered="refused").items() if key != "nodes"}
    host, finding, evidence, _ = one(plane(known=silent))
    assert (host, finding) == ("cp1", "warning cluster-not-asked")
    assert "refused" in evidence
    # What its files say is compared all the same.
    found = [finding.id for _, finding in compared(plane(known=silent), pod_cidr="10.50.0.0/16")]
    assert found == ["cluster-not-asked", "pod-cidr-differs"]


def test_control_plane_that_answers_speaks_for_the_cluster() -> None:
    facts = {"a": plane(known=cluster(answered=False)), "b": plane(), "c": {}}
    assert entry_of(facts, ["a", "b", "c"]) == "b"
    assert entry_of({"a": facts["a"]}, ["a", "b"]) == "a"
    assert entry_of({"w1": worker()}, ["a"]) is None


def test_only_control_plane_with_another_address_is_told_first_how_to_get_the_old_one_back() -> None:
    changed = plane(
        known=cluster(answered=False, unanswered="refused"),
        addresses=["10.0.0.160"],
        default_address="10.0.0.160",
        node_address="10.0.0.160",
    )
    (first, moved), (second, follower) = compared(changed)
    assert (first, moved.id, moved.severity) == ("cp1", "address-changed", "blocker")
    assert "control plane was 10.0.0.11 in its cluster, and the host is now 10.0.0.160" in moved.evidence
    assert moved.fix.startswith("Give the host its old address again")
    assert (second, follower.id, follower.severity) == ("w1", "control-plane-moved", "warning")
    assert "see cp1" in follower.fix
    assert "reset" not in str((moved, follower))


def test_worker_with_another_address_is_told() -> None:
    away = {"addresses": ["10.0.0.170"], "default_address": "10.0.0.170", "node_address": "10.0.0.170"}
    host, finding, evidence, _ = one(plane(), worker(**away))
    assert (host, finding) == ("w1", "blocker address-changed")
    assert "This worker was 10.0.0.12" in evidence
    assert "10.0.0.170" in evidence


@pytest.mark.parametrize(
    ("there", "have"),
    [("fd00:0::1", "fd00::1"), ("169.254.7.7", "10.0.0.12"), ("127.0.0.1", "10.0.0.12"), ("nonsense", "10.0.0.12")],
)
def test_spelling_and_addresses_of_one_link_are_no_move(there: str, have: str) -> None:
    about = {"node_name": "w1", "node_addresses": [there]}
    assert compared(plane(), worker(addresses=[have], cluster=about)) == []


def test_by_hand_with_another_address_of_the_same_host() -> None:
    # The API advertises docker0; nothing moved, the inventory only has to say so.
    by_hand = cluster(advertised="172.17.0.1", node_addresses=[], endpoint="", made_by_hand=True)
    by_hand["nodes"] = [node("cp1", "172.17.0.1"), node("w1", "10.0.0.12")]
    host, finding, _, fix = one(plane(known=by_hand, addresses=["10.0.0.11", "172.17.0.1"]))
    assert (host, finding) == ("cp1", "blocker node-address-differs")
    assert "Set cluster_node_address of this host to 172.17.0.1" in fix


def test_what_a_take_over_changes_is_listed_and_nothing_is_left_to_list_afterwards() -> None:
    by_hand = cluster(made_by_hand=True, own_cri_dockerd=True, flannel_is_ours=False)
    host, finding, evidence, _ = one(plane(known=by_hand, kubernetes_held=False))
    assert (host, finding) == ("cp1", "warning taken-over")
    assert all(word in evidence for word in ("cri-dockerd", "held", "flannel"))
    assert compared(plane(known=cluster(made_by_hand=True), kubernetes_held=True)) == []


def test_kubelet_that_is_no_package_cannot_be_taken_over() -> None:
    _, finding, evidence, _ = one(plane(known=cluster(made_by_hand=True), kubelet_version=""))
    assert finding == "blocker kubelet-not-packaged"
    assert "cannot be taken over" in evidence


def test_endpoint_that_only_the_cluster_knows() -> None:
    _, finding, _, fix = one(plane(known=cluster(endpoint="k8s.example")))
    assert finding == "blocker api-endpoint-differs"
    assert "set cluster_api_endpoint to k8s.example:6443" in fix
    assert compared(plane(known=cluster(endpoint="k8s.example:6443")), api_endpoint="k8s.example:6443") == []


def test_worker_reinstalled_under_the_same_name() -> None:
    bare = worker(cluster=None, api_server="", kubelet_version="")
    host, finding, evidence, fix = one(plane(), bare)
    assert (host, finding) == ("w1", "blocker host-reinstalled")
    assert "reinstalled" in evidence
    assert "Run again in a minute" in fix
    gone = cluster(nodes=[node("cp1", "10.0.0.11"), node("w1", "10.0.0.12", ready=False)])
    _, finding, _, fix = one(plane(known=gone), bare)
    assert finding == "warning host-reinstalled"
    assert "it joins under its name" in fix


def test_another_machine_of_the_same_name_is_not_the_node() -> None:
    other = worker(cluster=None, addresses=["10.0.0.99"], api_server="", kubelet_version="")
    _, finding, evidence, fix = one(plane(), other)
    assert finding == "blocker host-name-taken"
    assert "10.0.0.12" in evidence
    assert "hostnamectl" in fix


def test_node_that_left_the_inventory_is_named() -> None:
    more = cluster(nodes=[*cluster()["nodes"], node("w2", "10.0.0.13")])
    host, finding, evidence, fix = one(plane(known=more))
    assert (host, finding) == ("cp1", "warning node-not-in-inventory")
    assert "w2 (10.0.0.13, Ready)" in evidence
    assert fix.startswith("Put its host back into the inventory")
    assert fix.index("kubectl drain w2") < fix.index("kubectl delete node w2")


def test_nodes_are_not_missed_while_a_host_was_not_looked_at() -> None:
    more = plane(known=cluster(nodes=[*cluster()["nodes"], node("w2", "10.0.0.13")]))
    # Its name and address say that it is another one of the nodes.
    found = list(compare_living({"cp1": more}, {**HOSTS}, ["cp1"], ASKED, ["cp1"]))
    assert [finding.id for _, finding in found] == ["node-not-in-inventory"]
    # It may be w2.
    strange = {"cp1": ["cp1"], "db": ["db", "192.0.2.7"]}
    assert list(compare_living({"cp1": more}, strange, ["cp1"], ASKED, ["cp1"])) == []


def test_consulted_control_plane_is_told_at_a_host_of_the_run() -> None:
    facts = {"cp1": plane(), "w1": worker()}
    [(host, finding)] = compare_living(facts, HOSTS, ["cp1"], {**ASKED, "pod_cidr": "10.50.0.0/16"}, ["w1"])
    assert (host, finding.id) == ("w1", "pod-cidr-differs")


def test_renamed_host_is_still_its_node() -> None:
    host, finding, evidence, fix = one(plane(), worker(hostname="w9"))
    assert (host, finding) == ("w1", "blocker node-name-differs")
    assert "the node w1" in evidence
    assert "`hostnamectl hostname w1`" in fix


def test_node_of_another_version_than_the_control_plane_is_told_itself() -> None:
    host, finding, _, _ = one(plane(), worker(kubelet_version="1.36.2"))
    assert (host, finding) == ("w1", "blocker version-differs")


def test_two_hundred_hosts() -> None:
    nodes = [node("cp1", "10.0.0.11"), *(node(f"w{i}", f"10.0.1.{i}") for i in range(200))]
    facts = {"cp1": plane(known=cluster(nodes=nodes))}
    for i in range(200):
        about = {"node_name": f"w{i}", "node_addresses": [f"10.0.1.{i}"]}
        facts[f"w{i}"] = worker(hostname=f"w{i}", addresses=[f"10.0.1.{i}"], cluster=about)
    assert list(compare_living(facts, {name: [name] for name in facts}, ["cp1"], ASKED, list(facts))) == []
