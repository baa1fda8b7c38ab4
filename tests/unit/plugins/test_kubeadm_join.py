"""When a host joins, and when it is left alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.modules import kubeadm_join

PARAMS: dict[str, Any] = {
    "node_name": "w1",
    "node_address": "10.0.0.21",
    "api_endpoint": "10.0.0.11:6443",
    "cri_socket": "unix:///run/cri-dockerd.sock",
    "cgroup_version": 2,
    "swap_stays_on": False,
    "token": "abcdef.0123456789abcdef",
    "ca_cert_hash": "sha256:12",
}


class Api:
    def __init__(self, answer: str = "", error: str = "") -> None:
        self.answer, self.error = answer, error

    def run(self, *_: str) -> str:
        if self.error:
            raise KubectlError(self.error)
        return self.answer


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kubeadm_join.Worker:
    monkeypatch.setattr(kubeadm, "KUBELET_CONF", str(tmp_path / "kubelet.conf"))
    monkeypatch.setattr(kubeadm_join, "API_SERVER_MANIFEST", str(tmp_path / "kube-apiserver.yaml"))
    changes = Changes(SimpleNamespace(check_mode=True))  # type: ignore[arg-type]
    return kubeadm_join.Worker(PARAMS, changes)


def joined_to(server: str) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(f"clusters:\n- cluster:\n    server: https://{server}\n")


def test_the_ca_is_pinned_and_the_socket_set() -> None:
    document = kubeadm_join.configuration(PARAMS)
    assert document["discovery"]["bootstrapToken"]["caCertHashes"] == ["sha256:12"]
    assert document["nodeRegistration"]["criSocket"] == "unix:///run/cri-dockerd.sock"


def test_a_bare_host_has_not_joined(worker: kubeadm_join.Worker) -> None:
    assert worker.joined() is False
    assert not worker.changes


def test_a_member_is_left_alone(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api("node/w1\n")  # type: ignore[assignment]
    assert worker.joined() is True
    assert not worker.changes


def test_a_member_without_node_object_is_a_change(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api("")  # type: ignore[assignment]
    assert worker.joined() is True
    assert worker.changes


def test_a_member_of_another_cluster_is_refused(worker: kubeadm_join.Worker) -> None:
    joined_to("10.9.9.9:6443")
    with pytest.raises(kubeadm.KubeadmError, match=r"10\.9\.9\.9:6443.*left alone"):
        worker.joined()


def test_a_member_of_the_cluster_that_was_here_before_is_refused(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api(error="x509: certificate signed by unknown authority")  # type: ignore[assignment]
    with pytest.raises(kubeadm.KubeadmError, match="kubeadm reset"):
        worker.joined()


def test_an_api_that_does_not_answer_is_not_taken_for_absence(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api(error="dial tcp: connection refused")  # type: ignore[assignment]
    with pytest.raises(kubeadm.KubeadmError, match="does not answer"):
        worker.joined()


def test_a_control_plane_is_refused(worker: kubeadm_join.Worker) -> None:
    Path(kubeadm_join.API_SERVER_MANIFEST).touch()
    with pytest.raises(kubeadm.KubeadmError, match="control plane"):
        worker.joined()
