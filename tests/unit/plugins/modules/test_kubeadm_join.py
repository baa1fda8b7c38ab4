"""When a host joins, and when it is left alone."""

import base64
import hashlib
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import control_plane, kubeadm, traces, unfinished
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
    "move_aside": "",
    "cluster_ca": "",
}


class Api:
    def __init__(self, *nodes: list[dict[str, Any]], error: str = "") -> None:
        self.nodes, self.error = list(nodes), error

    def items(self, *_: str) -> list[dict[str, Any]]:
        if self.error:
            raise KubectlError(self.error)
        return self.nodes.pop(0) if len(self.nodes) > 1 else self.nodes[0]


def there(address: str = "10.0.0.21", ready: str = "True") -> dict[str, Any]:
    """The Node of the host in the cluster."""
    status = {"addresses": [{"type": "InternalIP", "address": address}],
              "conditions": [{"type": "Ready", "status": ready}]}  # fmt: skip
    return {"metadata": {"name": "w1"}, "status": status}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty host."""
    monkeypatch.setattr(traces, "ROOT", tmp_path)
    monkeypatch.setattr(unfinished, "MARK", str(tmp_path / "etc/kubernetes/kubestrap/unfinished.json"))
    monkeypatch.setattr(kubeadm, "KUBELET_CONF", str(tmp_path / "etc/kubernetes/kubelet.conf"))
    monkeypatch.setattr(kubeadm_join, "ADMIN_KUBECONFIG", str(tmp_path / "etc/kubernetes/admin.conf"))
    (tmp_path / "etc/kubernetes/manifests").mkdir(parents=True)
    (tmp_path / "etc/kubernetes/pki").mkdir()
    return tmp_path


@pytest.fixture
def worker() -> kubeadm_join.Worker:
    changes = Changes(SimpleNamespace(check_mode=True))  # type: ignore[arg-type]
    return kubeadm_join.Worker(PARAMS, changes)


def joined_to(server: str) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(f"clusters:\n- cluster:\n    server: https://{server}\n")


def mark(what: str = "join") -> None:
    """A join that was begun a minute ago."""
    unfinished.write(unfinished.Mark(what=what, node="cp2", address="10.0.0.12"))
    moment = Path(unfinished.MARK).stat().st_mtime - 60
    os.utime(unfinished.MARK, (moment, moment))


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
    worker.kubectl = Api([there()])  # type: ignore[assignment]
    assert worker.joined() is True
    assert not worker.changes


def test_a_member_without_node_object_is_a_change(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api([])  # type: ignore[assignment]
    assert worker.joined() is True
    assert worker.changes


def test_a_member_of_another_cluster_is_refused(worker: kubeadm_join.Worker) -> None:
    joined_to("10.9.9.9:6443")
    with pytest.raises(kubeadm.KubeadmError, match=r"10\.9\.9\.9:6443.*left alone"):
        worker.joined()


def test_a_member_of_another_cluster_behind_the_same_address_is_left_alone(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api(error="x509: certificate signed by unknown authority")  # type: ignore[assignment]
    with pytest.raises(control_plane.LeftAloneError, match="not the cluster this host belongs to"):
        worker.joined()
    assert not worker.changes


def test_an_api_that_does_not_answer_is_not_taken_for_absence(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api(error="dial tcp: connection refused")  # type: ignore[assignment]
    with pytest.raises(kubeadm.KubeadmError, match="does not answer"):
        worker.joined()


def test_a_control_plane_is_refused(worker: kubeadm_join.Worker, root: Path) -> None:
    lay_out(root)
    with pytest.raises(kubeadm.KubeadmError, match="control plane"):
        worker.joined()


@pytest.mark.parametrize("path", ["etc/kubernetes/bootstrap-kubelet.conf", "etc/kubernetes/pki/ca.crt"])
def test_what_nothing_proves_to_be_a_cut_join_is_left_alone(worker: kubeadm_join.Worker, root: Path, path: str) -> None:
    (root / path).write_text("x")
    with pytest.raises(control_plane.LeftAloneError, match="no mark"):
        worker.joined()
    mark()
    worker.params = {**PARAMS, "node_name": "cp2", "node_address": "10.0.0.12"}
    assert worker.joined() is False
    assert worker.unfinished


def test_a_mark_on_a_host_that_joined_goes(worker: kubeadm_join.Worker) -> None:
    mark()
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api([there()])  # type: ignore[assignment]
    worker.changes.module.check_mode = False
    assert worker.joined() is True
    assert worker.changes
    assert unfinished.read() is None


def test_a_copy_of_a_worker_is_not_that_worker(worker: kubeadm_join.Worker) -> None:
    joined_to("10.0.0.11:6443")
    worker.kubectl = Api([there("10.0.0.99")])  # type: ignore[assignment]
    with pytest.raises(kubeadm.KubeadmError, match=r"named w1 at 10\.0\.0\.99"):
        worker.joined()
    # Another address of the same host is.
    worker.kubectl = Api([there("127.0.0.1")])  # type: ignore[assignment]
    assert worker.joined() is True


def test_a_name_is_compared_with_the_clusters_nodes(
    worker: kubeadm_join.Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeadm_join, "NODE_STALE_WITHIN", 0)

    for nodes, words in (
        ([there("10.0.0.99", "Unknown")], r"w1 at 10\.0\.0\.99, and this host is at 10\.0\.0\.21"),
        ([there("10.0.0.21", "True")], "hears from its kubelet"),
    ):
        with pytest.raises(kubeadm.KubeadmError, match=words):
            worker.refuse_taken_name(Api(nodes))  # type: ignore[arg-type]
    with pytest.raises(kubeadm.KubeadmError, match="does not say"):
        worker.refuse_taken_name(Api(error="timeout"))  # type: ignore[arg-type]
    # A host that was made anew waits until the cluster has missed the old one.
    monkeypatch.setattr(kubeadm_join, "NODE_STALE_WITHIN", 5)
    gone = [[there("10.0.0.21", "True")], [there("10.0.0.21", "Unknown")]]
    worker.refuse_taken_name(Api(*gone))  # type: ignore[arg-type]


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

    kubeconfig = "admin.conf"

    def __init__(self, node: dict[str, Any] | None) -> None:
        self.found = node
        self.said: list[tuple[str, ...]] = []

    def usable(self) -> bool:
        return True

    def items(self, *_: str) -> list[dict[str, Any]]:
        return [self.found] if self.found else []

    def run(self, *arguments: str, **_: Any) -> str:
        if "/readyz" in arguments:
            if self.found is None:
                raise KubectlError("The connection to the server 10.0.0.12:6443 was refused")
            return "ok"
        self.said.append(arguments)
        return ""


def node(*, labelled: bool = True, tainted: bool = True) -> dict[str, Any]:
    taints = [{"key": control_plane.ROLE, "effect": "NoSchedule"}] if tainted else []
    return {"metadata": {"labels": {control_plane.ROLE: ""} if labelled else {}}, "spec": {"taints": taints}}


@pytest.fixture
def plane(monkeypatch: pytest.MonkeyPatch) -> kubeadm_join.FurtherControlPlane:
    found = kubeadm_join.FurtherControlPlane({**PLANE}, Changes(SimpleNamespace(check_mode=False)))  # type: ignore[arg-type]
    found.local.kubectl = LocalApi(None)  # type: ignore[assignment]
    monkeypatch.setattr(found.local, "does_not_start", lambda: True)
    return found


def lay_out(
    root: Path, *, server: str = "10.0.0.10:6443", parts: tuple[str, ...] = kubeadm.CONTROL_PLANE_PARTS
) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(f"client-certificate: /x/{traces.ROTATED}\n")
    (root / "etc/kubernetes/admin.conf").write_text(f"    server: https://{server}\n")
    (root / "etc/kubernetes/pki/apiserver.crt").touch()
    for part in parts:
        (root / f"etc/kubernetes/manifests/{part}.yaml").touch()


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


def test_a_join_that_was_cut_is_proved_by_the_mark(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path, parts=("kube-apiserver",))
    with pytest.raises(kubeadm.KubeadmError, match="something is missing"):
        plane.joined()
    mark()
    assert plane.joined() is False
    assert plane.unfinished


def test_what_keeps_a_complete_control_plane_down_is_told(
    plane: kubeadm_join.FurtherControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay_out(tmp_path)
    monkeypatch.setattr(plane.local, "revive", lambda: (_ for _ in ()).throw(kubeadm.KubeadmError("no disk")))
    with pytest.raises(kubeadm.KubeadmError, match="no disk"):
        plane.joined()
    mark()
    assert plane.joined() is False
    assert (plane.trouble, plane.unfinished) == ("no disk", True)


def test_the_clusters_ca_is_compared_before_anything(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path)
    (tmp_path / "etc/kubernetes/pki/ca.crt").write_text("another")
    plane.params["cluster_ca"] = hashlib.sha256(b"the cluster's").hexdigest()
    with pytest.raises(kubeadm.KubeadmError, match="another CA"):
        plane.joined()
    assert not plane.changes


def test_a_control_plane_of_another_cluster_is_refused(plane: kubeadm_join.FurtherControlPlane, tmp_path: Path) -> None:
    lay_out(tmp_path, server="10.9.9.9:6443")
    plane.local.kubectl = LocalApi(node())  # type: ignore[assignment]
    with pytest.raises(kubeadm.KubeadmError, match=r"10\.9\.9\.9:6443.*left alone"):
        plane.joined()


def test_a_worker_is_not_made_a_control_plane(plane: kubeadm_join.FurtherControlPlane) -> None:
    Path(kubeadm.KUBELET_CONF).write_text(traces.ROTATED)
    with pytest.raises(kubeadm.KubeadmError, match="is a worker"):
        plane.joined()


def test_a_join_writes_its_mark_first_and_takes_it_away_last(
    worker: kubeadm_join.Worker, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeadm, "RUN_DIRECTORY", str(root))
    monkeypatch.setattr(kubeadm, "version", lambda: (1, 36, 4))
    worker.changes.module.check_mode = False
    worker.params = {**PARAMS, "resolver": "/etc/resolv.conf", "container_runtime": "containerd"}
    monkeypatch.setattr(kubeadm, "PATCHES", str(root / "patches"))
    monkeypatch.setattr(kubeadm_join, "Kubectl", lambda _: Api([]))
    seen = []

    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if "join" in command:
            seen.append(unfinished.read())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kubeadm, "run", run)
    assert worker.joined() is False
    worker.join()
    assert seen == [unfinished.Mark(what="join", node="w1", address="10.0.0.21")]
    assert unfinished.read() is None
