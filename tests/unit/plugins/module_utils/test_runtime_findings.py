"""What speaks against a container runtime, seen from what a host says."""

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import runtime_findings, systemd
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker

DOCKER = {"debian": ["docker.io"]}
CONTAINERD = {"debian": ["containerd"]}


class Module:
    """A host by what its programs print."""

    def __init__(self, containerd: str = "") -> None:
        self.containerd = containerd

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        assert command[3:] == ["containerd", "--version"]
        if not self.containerd:
            return 127, "", "timeout: failed to run command"
        return 0, f"containerd github.com/containerd/containerd {self.containerd}\n", ""


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_findings, "choose", lambda _, packages, **__: packages["debian"])
    monkeypatch.setattr(runtime_findings, "read_os_release", lambda: {"ID": "debian", "VERSION_ID": "13"})


def host(monkeypatch: pytest.MonkeyPatch, *, candidate: str | None = None, **installed: str) -> Module:
    packages = {name.replace("_", "."): apt.Package(version, held=False) for name, version in installed.items()}
    monkeypatch.setattr(apt, "installed", lambda *_: packages)
    monkeypatch.setattr(apt, "candidate", lambda *_: candidate)
    return Module()


def test_docker_of_debian_12_is_refused_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    module = host(monkeypatch, candidate="20.10.24+dfsg1-1+deb12u1+b2")
    (finding,) = runtime_findings.docker(module, DOCKER, [])  # type: ignore[arg-type]
    assert finding.id == "docker-too-old"
    assert "20.10.24" in finding.evidence
    assert "cluster_docker_source: docker.com" in finding.fix
    assert "cluster_container_runtime: containerd" in finding.fix


def test_docker_of_debian_12_is_refused_on_a_bare_host_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module = host(monkeypatch, candidate=None)
    monkeypatch.setattr(runtime_findings, "read_os_release", lambda: {"ID": "debian", "VERSION_ID": "12"})
    (finding,) = runtime_findings.docker(module, DOCKER, [])  # type: ignore[arg-type]
    assert "Docker 20.10.24 is what this distribution has" in finding.evidence
    own = {"debian": ["docker-ce"]}
    assert list(runtime_findings.docker(module, own, [])) == []  # type: ignore[arg-type]


def test_docker_of_debian_13_and_an_unknown_one_are_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("26.1.5+dfsg1-9+deb13u1", None):
        module = host(monkeypatch, candidate=version)
        assert list(runtime_findings.docker(module, DOCKER, ["docker-ce"])) == []  # type: ignore[arg-type]


def test_the_other_family_of_docker_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    module = host(monkeypatch, containerd_io="1.7.1")
    (finding,) = runtime_findings.docker(module, DOCKER, ["containerd.io"])  # type: ignore[arg-type]
    assert finding.id == "docker-conflict"


@pytest.mark.parametrize(
    ("present", "candidate", "told"),
    [
        ("1.7.24~ds1 1.7.24~ds1-6+deb13u1", None, None),
        ("v2.3.7 abcdef", "1.4.13", None),
        ("1.4.13~ds1 1.4.13", "1.7.24", "1.4.13 is installed"),
        ("", "1.4.13~ds1-1~deb11u4", "1.4.13~ds1-1~deb11u4 is what this host would install"),
        ("", "1.6.20~ds1-1+deb12u3", None),
        ("", None, None),
    ],
)
def test_the_containerd_that_is_there_counts_and_else_the_one_that_would_come(
    monkeypatch: pytest.MonkeyPatch, present: str, candidate: str | None, told: str | None
) -> None:
    host(monkeypatch, candidate=candidate)
    found = list(runtime_findings.containerd_(Module(present), CONTAINERD))  # type: ignore[arg-type]
    assert [finding.id for finding in found] == (["containerd-too-old"] if told else [])
    assert told is None or told in found[0].evidence


@pytest.mark.parametrize(
    ("text", "runtime"),
    [
        ('containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock"\n', "containerd"),
        ("containerRuntimeEndpoint: unix:///var/run/cri-dockerd.sock\n", "docker"),
        ('KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock"\n', "containerd"),
        ("containerRuntimeEndpoint: unix:///run/crio/crio.sock\n", None),
        ("cgroupDriver: systemd\n", None),
    ],
)
def test_what_a_node_runs_is_what_its_kubelet_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, runtime: str | None
) -> None:
    (tmp_path / "config").write_text(text)
    paths = (str(tmp_path / "missing"), str(tmp_path / "config"))
    monkeypatch.setattr(runtime_findings, "KUBELET_SETTINGS", paths)
    assert runtime_findings.node_runtime() == runtime


def test_a_node_does_not_change_its_runtime_in_passing() -> None:
    (finding,) = runtime_findings.change("containerd", "docker")
    assert finding.id == "runtime-change"
    assert "cluster_container_runtime: docker" in finding.fix
    assert list(runtime_findings.change("docker", "docker")) == list(runtime_findings.change("docker", None)) == []


class Docker:
    """A host on which Docker runs: what is in daemon.json, what runs on it."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        directory: Path,
        settings: str,
        *,
        state: str = "active",
        live: str = "false",
    ) -> None:
        (directory / "daemon.json").write_text(settings)
        monkeypatch.setattr(docker.read, "__defaults__", (str(directory / "daemon.json"),))
        monkeypatch.setattr(runtime_findings.Path, "is_dir", lambda _: True)
        monkeypatch.setattr(docker, "LAST_ASKED", str(directory / "asked"))
        monkeypatch.setattr(docker, "command_line", lambda _: docker.USUAL_COMMAND)
        monkeypatch.setattr(systemd, "show", lambda *_: {"docker.service": {"ActiveState": state}})
        monkeypatch.setattr(Proxy, "is_new_to", lambda *_: False)
        self.answers = {
            "ps": "b\na\n",
            "inspect": "a\t/web\tnginx:1\tfalse\t\nb\t/try\tbusybox\ttrue\t\n",
            "info": f"{live}\n",
        }

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        return 0, self.answers[command[3:][1]], ""

    def findings(self, **asked: Any) -> list[Finding]:
        return list(runtime_findings.docker_settings(self, asked, Proxy({})))  # type: ignore[arg-type]


def test_containers_of_others_are_told_before_docker_is_restarted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    removes, stops = Docker(monkeypatch, tmp_path, "{}").findings()
    assert (removes.id, removes.blocker) == ("docker-restart-removes", True)
    assert "try (busybox)" in removes.evidence
    assert (stops.id, stops.blocker) == ("docker-restart", False)
    assert "exec-opts, log-driver, log-opts" in stops.evidence
    assert "web (nginx:1)" in stops.evidence


def test_no_container_is_told_where_none_is_stopped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    right = docker.merged({}, {})
    assert Docker(monkeypatch, tmp_path, json.dumps(right)).findings() == []
    assert Docker(monkeypatch, tmp_path, "{}", state="inactive").findings() == []
    assert Docker(monkeypatch, tmp_path, "{}", live="true").findings() == []
    # Mirrors need no restart.
    asked = {"registry-mirrors": ["https://mirror.example"]}
    assert Docker(monkeypatch, tmp_path, json.dumps(right)).findings(**asked) == []


@pytest.mark.parametrize(
    ("settings", "name", "told"),
    [
        ("[]", "docker-settings-invalid", "holds a list"),
        ('{"userns-remap": "default"}', "docker-userns-remap", '"userns-remap": "default"'),
        ('{"hosts": ["fd://"]}', "docker-settings-twice", "hosts is said"),
    ],
)
def test_settings_of_docker_that_do_not_work_are_blockers(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: str, name: str, told: str
) -> None:
    (finding,) = Docker(monkeypatch, tmp_path, settings, state="inactive").findings()
    assert (finding.id, finding.blocker) == (name, True)
    assert told in finding.evidence
