"""What kubeadm init is asked for, and what it finds."""

import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm, traces, unfinished
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.modules import kubeadm_init

PARAMS: dict[str, Any] = {
    "cluster_name": "blue",
    "node_name": "cp1",
    "node_address": "10.0.0.11",
    "api_endpoint": "api.example:6443",
    "cert_sans": ["192.0.2.1", "cp1"],
    "image_registry": "registry.example",
    "pod_cidr": "10.244.0.0/16",
    "service_cidr": "10.96.0.0/12",
    "dns_domain": "cluster.local",
    "schedulable": False,
    "container_runtime": "docker",
    "container_runtimes": ["docker"],
    "cri_socket": "unix:///run/cri-dockerd.sock",
    "resolver": "/etc/resolv.conf",
    "cgroup_version": 2,
    "swap_stays_on": False,
    "conntrack_writable": True,
    "timeout": 1,
    "patience": 1,
}


def documents(version: tuple[int, int, int] = (1, 36, 4), **changed: Any) -> dict[str, dict[str, Any]]:
    """The documents by kind."""
    return {one["kind"]: one for one in kubeadm_init.configuration({**PARAMS, **changed}, version)}


def test_the_endpoint_the_socket_and_the_version_are_always_set() -> None:
    found = documents()
    assert found["ClusterConfiguration"]["controlPlaneEndpoint"] == "api.example:6443"
    assert found["ClusterConfiguration"]["kubernetesVersion"] == "v1.36.4"
    assert found["InitConfiguration"]["nodeRegistration"]["criSocket"] == "unix:///run/cri-dockerd.sock"
    assert found["ClusterConfiguration"]["apiServer"]["certSANs"] == ["10.0.0.11", "192.0.2.1", "api.example", "cp1"]


@pytest.mark.parametrize(("minor", "off"), [(35, False), (36, True), (37, True)])
def test_exec_gate_is_off_only_where_the_components_know_it(minor: int, off: bool) -> None:
    found = documents((1, minor, 0))
    assert ("extraArgs" in found["ClusterConfiguration"]["apiServer"]) is off
    assert ("featureGates" in kubeadm.kubelet_patch(PARAMS, (1, minor, 0))) is off


def test_exec_gate_is_off_at_the_api_server_for_docker_anywhere_and_at_the_kubelet_for_docker_here() -> None:
    mixed = {**PARAMS, "container_runtime": "containerd", "container_runtimes": ["containerd", "docker"]}
    assert "extraArgs" in documents(**mixed)["ClusterConfiguration"]["apiServer"]
    assert "featureGates" not in kubeadm.kubelet_patch(mixed, (1, 36, 4))
    pure = {**mixed, "container_runtimes": ["containerd"]}
    assert "extraArgs" not in documents(**pure)["ClusterConfiguration"]["apiServer"]
    # Every other kubelet must keep its gate, so what all of them read does not name it.
    assert "featureGates" not in documents(**mixed)["KubeletConfiguration"]


def test_a_schedulable_control_plane_has_an_empty_list_of_taints_and_others_leave_the_default() -> None:
    assert documents(schedulable=True)["InitConfiguration"]["nodeRegistration"]["taints"] == []
    assert "taints" not in documents()["InitConfiguration"]["nodeRegistration"]


def test_system_verification_is_ignored_on_cgroup_v1_only() -> None:
    assert "ignorePreflightErrors" not in documents()["InitConfiguration"]["nodeRegistration"]
    registration = documents(cgroup_version=1)["InitConfiguration"]["nodeRegistration"]
    assert registration["ignorePreflightErrors"] == ["SystemVerification"]
    assert kubeadm.kubelet_patch({**PARAMS, "cgroup_version": 1}, None) == {
        "resolvConf": "/etc/resolv.conf",
        "failCgroupV1": False,
    }
    assert kubeadm.kubelet_patch({**PARAMS, "swap_stays_on": True}, None) == {
        "resolvConf": "/etc/resolv.conf",
        "failSwapOn": False,
    }


def test_conntrack_is_left_alone_only_where_it_cannot_be_set() -> None:
    assert "conntrack" not in documents()["KubeProxyConfiguration"]
    assert documents(conntrack_writable=False)["KubeProxyConfiguration"]["conntrack"]["maxPerCore"] == 0


@pytest.mark.parametrize("endpoint", ["api.example", ":6443", "api.example:https"])
def test_an_endpoint_without_host_or_port_is_refused(endpoint: str) -> None:
    with pytest.raises(kubeadm.KubeadmError, match="name:port"):
        documents(api_endpoint=endpoint)


@pytest.mark.parametrize("state", ["absent", "half"])
def test_no_second_cluster_is_made_beside_one_whose_api_is_silent(state: str) -> None:
    changes = Changes(SimpleNamespace(check_mode=True))  # type: ignore[arg-type]
    params = {**PARAMS, "other_control_planes": ["cp2", "cp3"]}
    first = kubeadm_init.ControlPlane(params, changes, SimpleNamespace())  # type: ignore[arg-type]
    with pytest.raises(kubeadm.KubeadmError, match="cp2, cp3"):
        first.converge(state)
    assert not changes


def test_the_token_of_init_is_ours_and_not_in_what_stays_on_the_disk() -> None:
    assert documents()["InitConfiguration"]["bootstrapTokens"] == [{"ttl": "10m0s"}]
    made = {one["kind"]: one for one in kubeadm_init.configuration(PARAMS, (1, 36, 4), "kstabc.0123456789abcdef")}
    assert made["InitConfiguration"]["bootstrapTokens"] == [{"ttl": "10m0s", "token": "kstabc.0123456789abcdef"}]


def test_an_init_writes_its_mark_first_takes_it_away_last_and_revokes_its_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traces, "ROOT", tmp_path)
    monkeypatch.setattr(unfinished, "MARK", str(tmp_path / "etc/kubernetes/kubestrap/unfinished.json"))
    monkeypatch.setattr(kubeadm, "RUN_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(kubeadm, "PATCHES", str(tmp_path / "patches"))
    monkeypatch.setattr(kubeadm_init, "CONFIGURATION", str(tmp_path / "init.yaml"))
    monkeypatch.setattr(kubeadm, "version", lambda: (1, 36, 4))
    monkeypatch.setattr(kubeadm, "pull_images", lambda *_: None)
    seen = []

    def run(*command: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if "init" in command:
            seen.append((unfinished.read(), Path(command[-2]).read_text()))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(kubeadm, "run", run)
    asked = []

    class Api:
        def usable(self) -> bool:
            return True

        def items(self, *_: str) -> list[dict[str, Any]]:
            return [{"metadata": {"name": "cp1"}}]

        def run(self, *arguments: str, **_: Any) -> str:
            asked.append(arguments)
            return "ok" if "/readyz" in arguments else ""

    changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type]
    params = {**PARAMS, "other_control_planes": []}
    first = kubeadm_init.ControlPlane(params, changes, Api())  # type: ignore[arg-type]
    first.converge("absent")
    ((mark, text),) = seen
    assert mark == unfinished.Mark(what="init", node="cp1", address="10.0.0.11")
    assert '"token": "kst' in text
    assert '"token"' not in (tmp_path / "init.yaml").read_text()
    assert unfinished.read() is None
    assert any("secrets" in words for words in asked)
