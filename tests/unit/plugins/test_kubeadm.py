"""What kubeadm's and the kubelet's messages mean."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("\t[ERROR Port-6443]: Port 6443 is in use", "Port 6443 is taken"),
        ("[ERROR NumCPU]: the number of available CPUs 1 is less than the required 2", "2 CPUs"),
        ('command failed" err="... running with swap on is not supported, please disable swap', "swap"),
        ("failed to validate kubelet configuration: cgroups v1 support is deprecated", "cgroup v1"),
        ("Error response from daemon: client version 1.44 is too new", "Docker 25"),
        ("[ERROR ImagePull]: failed to pull image registry.example/pause:3.10.2: not found", "could not be pulled"),
        ('"https://registry.example/v2/": tls: x509: certificate signed by unknown authority',
         "cluster_registry_ca_certificates"),
        ("unknown flag: --pod-infra-container-image", "--pod-infra-container-image, a flag it no longer knows"),
        ('none of the public keys "sha256:ab12" are pinned', "cluster_api_endpoint"),
        ("x509: certificate has expired or is not yet valid: current time 2020-01-01", "clock"),
    ],
)  # fmt: skip
def test_known_messages_are_told_in_words(line: str, words: str) -> None:
    assert words in kubeadm.explain(line)


def test_an_unknown_message_is_not_explained() -> None:
    assert kubeadm.explain("everything went well") == ""


def test_a_failure_names_cause_and_evidence_and_hides_the_hint_about_stack_traces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kubeadm, "kubelet_error", lambda: "")
    monkeypatch.setattr(kubeadm, "crashed", lambda _: ["etcd ended: no space left on device"])
    done = subprocess.CompletedProcess(
        ["kubeadm"], 1, "", "error: timed out\nTo see the stack trace of this error execute with --v=5 or higher\n"
    )
    text = kubeadm.failure("kubeadm init", done, "unix:///x")
    assert text.splitlines() == [
        "kubeadm init failed. The disk is full.",
        "  error: timed out",
        "  etcd ended: no space left on device",
    ]


def test_documents_are_readable_as_json_between_marks() -> None:
    first, second = kubeadm.as_documents([{"a": 1}, {"b": [True]}]).split("---\n")
    assert (json.loads(first), json.loads(second)) == ({"a": 1}, {"b": [True]})


def test_a_secret_file_is_roots_alone_and_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeadm, "RUN_DIRECTORY", str(tmp_path))
    with kubeadm.SecretFile("token") as path:
        assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
        assert Path(path).read_text() == "token"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("minor", "runtime", "needed"), [(35, "docker", False), (36, "docker", True), (36, "containerd", False)]
)
def test_the_exec_gate_is_a_matter_of_docker_since_1_36(minor: int, runtime: str, needed: bool) -> None:
    assert kubeadm.needs_exec_gate(minor, runtime) is needed


def test_next_run_waits_for_the_kubeadm_of_an_interrupted_one(tmp_path: Path) -> None:
    program = tmp_path / "kubeadm"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    with kubeadm.alone(0, str(program)):
        # The run that started it is gone; what it started goes on and holds the lock.
        still_working = subprocess.Popen([program], stdin=subprocess.PIPE, close_fds=False)
    with pytest.raises(KubeadmError, match="An earlier run still works"), kubeadm.alone(0, str(program)):
        pass
    still_working.communicate(b"done\n")
    with kubeadm.alone(0, str(program)):
        pass
