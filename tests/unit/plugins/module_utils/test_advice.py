"""Advice that destroys is given after proof only."""

import re
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import advice

DESTROYS = re.compile(r"reset|delete|rm ")


def host(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("")
    return root


def test_bare_host_is_proved_to_hold_nothing(tmp_path: Path) -> None:
    (tmp_path / "var/lib/etcd").mkdir(parents=True)
    (tmp_path / "var/lib/kubelet/pods").mkdir(parents=True)
    assert advice.worth(str(tmp_path), ["sshd"]) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("etc/kubernetes/pki/ca.key", "CA"),
        ("var/lib/etcd/member/snap/db", "data of a cluster"),
        ("var/lib/kubelet/pods/uid/volumes", "data of pods"),
    ],
)
def test_what_is_of_worth_is_named_and_nothing_that_deletes_is_offered(tmp_path: Path, path: str, words: str) -> None:
    held = advice.worth(str(host(tmp_path, path)))
    assert words in " ".join(held)
    text = advice.leave_cluster("Keep it.", held)
    assert text.startswith("Keep it.")
    assert words in text
    assert not DESTROYS.search(text)


def test_a_kubelet_that_runs_may_have_pods(tmp_path: Path) -> None:
    assert advice.worth(str(tmp_path), ["kubelet"])


def test_who_could_not_look_offers_nothing_that_deletes() -> None:
    assert not DESTROYS.search(advice.leave_cluster("Keep it.", None))


def test_with_proof_it_comes_last_and_says_what_is_lost() -> None:
    text = advice.leave_cluster("Keep it.", [])
    assert text.index("Keep it.") < text.index("kubeadm reset") < text.index("Lost is")


def test_pod_network_in_use_is_left_alone() -> None:
    assert not re.search(r"ip link delete|mv ", advice.old_pod_network(["cni0"], used=True))
    text = advice.old_pod_network(["cni0", "flannel.1"], used=False)
    assert "mv /etc/cni/net.d /etc/cni/net.d.old" in text
    assert "rm " not in text


@pytest.mark.parametrize("ready", [True, False])
def test_a_control_plane_is_not_taken_out_by_deleting_its_node(*, ready: bool) -> None:
    text = advice.take_out_node("cp2", control_plane=True, ready=ready)
    assert "docs/high-availability.md" in text
    assert not DESTROYS.search(text)


def test_a_node_that_works_is_emptied_before_it_goes() -> None:
    text = advice.take_out_node("w2", control_plane=False, ready=True)
    assert text.index("inventory") < text.index("kubectl drain") < text.index("kubectl delete node")
    assert "--delete-emptydir-data" not in text
    assert "--force" not in text
