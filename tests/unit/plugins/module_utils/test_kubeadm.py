"""What kubeadm's and the kubelet's messages mean."""

import json
import stat
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm, patience
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
    error = kubeadm.failure("kubeadm init", done, "unix:///x")
    assert str(error).splitlines() == [
        f"kubeadm init failed. The disk is full. {patience.HINT}",
        "  error: timed out",
        "  etcd ended: no space left on device",
    ]


PROGRESS = "[init] Using Kubernetes version: v1.36.4\n[certs] Using certificateDir\n[addons] Applied: CoreDNS\n"


@pytest.mark.parametrize(
    ("stderr", "stdout", "shown"),
    [
        (
            ("W1127 10:00:00.1 1 version.go:1] falling back\n"
            "error: error execution phase upload-config/kubeadm: could not create ConfigMap: "
            'Post "https://10.0.0.1:6443/api": context deadline exceeded\n'
            "To see the stack trace of this error execute with --v=5 or higher\n"),
            PROGRESS,
            [("error: error execution phase upload-config/kubeadm: could not create ConfigMap: "
             'Post "https://10.0.0.1:6443/api": context deadline exceeded')],
        ),
        (
            ("error execution phase preflight: [preflight] Some fatal errors occurred:\n"
            "\t[ERROR Port-6443]: Port 6443 is in use\n\t[ERROR Swap]: running with swap on\n"
            "[preflight] If you know what you are doing, you can make a check non-fatal with "
            "`--ignore-preflight-errors=...`\n"),
            "\x1b[0;37mCGROUPS_CPU\x1b[0m: \x1b[0;32menabled\x1b[0m\n" + PROGRESS,
            ["[ERROR Port-6443]: Port 6443 is in use", "[ERROR Swap]: running with swap on"],
        ),
        (
            ("error: error execution phase wait-control-plane: failed while waiting for the control plane to start: "
            "[kube-apiserver check failed at https://10.0.0.1:6443/livez: x,\nkube-scheduler check failed at y]\n"),
            PROGRESS,
            [("error: error execution phase wait-control-plane: failed while waiting for the control plane to start: "
             "[kube-apiserver check failed at https://10.0.0.1:6443/livez: x,"),
             "kube-scheduler check failed at y]"],
        ),
        ("", PROGRESS + "\x1b[0;31mstrange end\x1b[0m\n",
         ["[certs] Using certificateDir | [addons] Applied: CoreDNS | strange end"]),
        ("what nobody knows\n", PROGRESS, ["what nobody knows"]),
    ],
)  # fmt: skip
def test_kubeadms_own_error_comes_whole_and_without_its_progress(stderr: str, stdout: str, shown: list[str]) -> None:
    assert kubeadm.own_error(subprocess.CompletedProcess(["kubeadm"], 1, stdout, stderr)) == shown


def test_everything_kubeadm_said_goes_to_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeadm, "kubelet_error", lambda: "")
    monkeypatch.setattr(kubeadm, "crashed", lambda _: [])
    joined = "kubeadm join --token abcdef.0123456789abcdef --certificate-key " + "0f" * 32
    done = subprocess.CompletedProcess(["kubeadm"], 1, PROGRESS + joined, "error: boom\n")
    error = kubeadm.failure("kubeadm init", done, "unix:///x")
    assert "Applied: CoreDNS" not in str(error)
    assert "Applied: CoreDNS" in error.said
    assert "error: boom" in error.said
    assert "--token (token) --certificate-key (token)" in error.said
    assert patience.HINT not in str(error)


def test_patience_lengthens_kubeadms_time_limits() -> None:
    assert kubeadm.time_limits(1)["kubernetesAPICall"] == "240s"
    assert kubeadm.time_limits(2.5)["kubeletHealthCheck"] == "600s"
    assert kubeadm.time_limits(0.1) == kubeadm.time_limits(1)


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


@pytest.mark.parametrize("hanging", ["journalctl", "logs"])
def test_a_log_that_hangs_does_not_hide_why_kubeadm_failed(monkeypatch: pytest.MonkeyPatch, hanging: str) -> None:
    containers = json.dumps(
        {
            "containers": [
                {"id": "1", "createdAt": "1", "state": "CONTAINER_EXITED", "metadata": {"name": "etcd"}},
            ]
        }
    )

    def run(*command: str, timeout: int = 7200, **_: object) -> subprocess.CompletedProcess[str]:
        if hanging in command:
            assert timeout < 60
            raise kubeadm.KubeadmError(f"{hanging} did not end within {timeout} s on this host.")
        return subprocess.CompletedProcess(command, 0, containers if "ps" in command else "", "")

    monkeypatch.setattr(kubeadm, "run", run)
    done = subprocess.CompletedProcess(["kubeadm"], 1, "", "error execution phase etcd: the disk is gone")
    assert "the disk is gone" in str(kubeadm.failure("kubeadm init", done, "unix:///x"))
