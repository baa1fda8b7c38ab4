"""When a host joins, and when it is left alone."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import control_plane, kubeadm
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
    "ca_certificate": "-----BEGIN CERTIFICATE-----",
    "control_plane": False,
    "schedulable": False,
    "timeout": 1,
    "patience": 1,
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


def test_the_cluster_is_known_by_its_ca_and_the_socket_set() -> None:
    cluster = kubeadm_join.discovery(PARAMS)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]).decode() == PARAMS["ca_certificate"]
    assert cluster["server"] == "https://10.0.0.11:6443"
    document = kubeadm_join.configuration(PARAMS, "/run/known.yaml")
    assert document["discovery"]["file"]["kubeConfigPath"] == "/run/known.yaml"
    assert document["discovery"]["tlsBootstrapToken"] == PARAMS["token"]
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


PLANE: dict[str, Any] = {
    **PARAMS,
    "node_name": "cp2",
    "node_address": "10.0.0.12",
    "api_endpoint": "10.0.0.10:6443",
    "control_plane": True,
    "certificate_key": "00" * 32,
    "token": None,
}


def test_a_control_plane_advertises_its_own_address_and_brings_the_key() -> None:
    document = kubeadm_join.configuration({**PLANE, "token": "t"}, "/run/known.yaml")
    assert document["controlPlane"] == {
        "localAPIEndpoint": {"advertiseAddress": "10.0.0.12", "bindPort": 6443},
        "certificateKey": "00" * 32,
    }
    assert "taints" not in document["nodeRegistration"]
    assert kubeadm_join.configuration({**PLANE, "schedulable": True}, "/k")["nodeRegistration"]["taints"] == []


class LocalApi:
    """The API server of the host itself."""

    def __init__(self, node: dict[str, Any] | None) -> None:
        self.found = node
        self.said: list[tuple[str, ...]] = []

    def ready(self) -> bool:
        return self.found is not None

    def items(self, *_: str) -> list[dict[str, Any]]:
        return [self.found] if self.found else []

    def run(self, *arguments: str) -> str:
        self.said.append(arguments)
        return ""


def node(*, labelled: bool = True, tainted: bool = True) -> dict[str, Any]:
    taints = [{"key": control_plane.ROLE, "effect": "NoSchedule"}] if tainted else []
    return {"metadata": {"labels": {control_plane.ROLE: ""} if labelled else {}}, "spec": {"taints": taints}}


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> kubeadm_join.FurtherControlPlane:
    monkeypatch.setattr(kubeadm, "KUBELET_CONF", str(tmp_path / "kubelet.conf"))
    monkeypatch.setattr(control_plane, "MANIFESTS", str(tmp_path))
    monkeypatch.setattr(kubeadm_join, "ADMIN_KUBECONFIG", str(tmp_path / "admin.conf"))
    monkeypatch.setattr(kubeadm_join, "REMAINS", (str(tmp_path / "ca.crt"),))
    found = kubeadm_join.FurtherControlPlane(PLANE, Changes(SimpleNamespace(check_mode=False)))  # type: ignore[arg-type]
    found.local.kubectl = LocalApi(None)  # type: ignore[assignment]
    return found


def lay_out(
    directory: Path, *, server: str = "10.0.0.10:6443", parts: tuple[str, ...] = kubeadm.CONTROL_PLANE_PARTS
) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(f"client-certificate: /x/{control_plane.ROTATED}\n")
    (directory / "admin.conf").write_text(f"    server: https://{server}\n")
    for part in parts:
        (directory / f"{part}.yaml").touch()


def test_a_working_control_plane_is_left_alone(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path)
    plane.local.kubectl = LocalApi(node())  # type: ignore[assignment]
    assert plane.joined() is True
    assert not plane.changes


def test_marks_that_a_cut_left_out_are_made(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path)
    api = plane.local.kubectl = LocalApi(node(labelled=False, tainted=False))  # type: ignore[assignment]
    assert plane.joined() is True
    assert [words[0] for words in api.said] == ["label", "taint"]


def test_a_join_that_was_cut_has_not_joined_and_leaves_remains(
    plane: kubeadm_join.FurtherControlPlane, tmp_path: Path
) -> None:
    (tmp_path / "kube-apiserver.yaml").touch()
    assert plane.joined() is False
    assert plane.has_remains()
    lay_out(tmp_path, parts=())
    assert plane.joined() is False


def test_what_keeps_a_complete_control_plane_down_is_told(
    plane: kubeadm_join.FurtherControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setattr(plane.local, "restart_kubelet", lambda: (_ for _ in ()).throw(kubeadm.KubeadmError("no disk")))
    assert plane.joined() is False
    assert plane.trouble == "no disk"


def test_a_control_plane_of_another_cluster_is_refused(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path, server="10.9.9.9:6443")
    with pytest.raises(kubeadm.KubeadmError, match=r"10\.9\.9\.9:6443.*left alone"):
        plane.joined()


def test_a_worker_is_not_made_a_control_plane(plane: kubeadm_join.FurtherControlPlane) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(control_plane.ROTATED)
    with pytest.raises(kubeadm.KubeadmError, match="is a worker"):
        plane.joined()
