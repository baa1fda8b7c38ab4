"""`kubestrap up`: bare hosts to an app that answers, and a second run that changes nothing."""

import signal
import time
import urllib.request
from pathlib import Path

import yaml

from tests.conftest import Hosts, Program

SERVICES = "containerd docker cri-docker kubelet"
PIDS = f"for s in {SERVICES}; do systemctl show -p MainPID -p ExecMainStartTimestampMonotonic --value $s; done"
FILES = (
    "find /etc /usr/local /opt /var/lib/kubelet/config.yaml /root -xdev -type f "
    "-not -path '/root/.ansible/*' -not -path '/root/.kube/cache/*' -printf '%p %T@ %s\\n' | sort"
)


def get(url: str) -> int:
    """HTTP status of a page, asked from this machine: outside the cluster."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the address kubestrap printed
        return int(answer.status)


def test_two_nodes_are_ready_and_run_docker(cluster: Hosts) -> None:
    lines = cluster.kubectl("get", "nodes", "-o", "wide", "--no-headers").splitlines()
    assert len(lines) == 2
    assert all(line.split()[1] == "Ready" for line in lines)
    assert all("docker://" in line and "v1.36.4" in line for line in lines)


def test_app_answers_from_outside(cluster: Hosts, program: Program) -> None:
    summary = program.run("status", "-i", cluster.inventory, "--output", "json").summary
    assert summary["app_urls"]
    assert [get(url) for url in summary["app_urls"]] == [200] * len(summary["app_urls"])


def test_image_came_from_no_registry(cluster: Hosts) -> None:
    deployment = yaml.safe_load(cluster.kubectl("get", "deployment", "springboot-kotlin-app", "-o", "yaml"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["imagePullPolicy"] == "Never"
    assert deployment["status"]["readyReplicas"] == 2


def test_exec_and_logs_work(cluster: Hosts) -> None:
    assert cluster.kubectl("logs", "deployment/springboot-kotlin-app").strip()
    assert cluster.kubectl("exec", "deployment/springboot-kotlin-app", "--", "id", "-u").strip() != "0"


def test_second_run_changes_nothing(cluster: Hosts, program: Program) -> None:
    def marks() -> set[tuple[str, str]]:
        return {
            (host, line) for host in ("cp1", "worker1") for line in cluster.sh(host, f"{PIDS}; {FILES}").splitlines()
        }

    before = marks()
    summary = program.run("up", "-i", cluster.inventory, "--output", "json").summary
    assert (summary["changed"], summary["failed"], summary["unreachable"]) == (0, 0, 0)
    assert marks() ^ before == set()
    tokens = "type=bootstrap.kubernetes.io/token"
    assert cluster.kubectl("get", "secrets", "-n", "kube-system", "--field-selector", tokens, "-o", "name") == ""


def test_operator_gets_a_context(cluster: Hosts, program: Program) -> None:
    path = Path(program.environment["HOME"]) / ".kube/config"
    assert path.stat().st_mode & 0o777 == 0o600
    assert cluster.name in [context["name"] for context in yaml.safe_load(path.read_text())["contexts"]]


def test_no_secret_stays_in_the_run_directory(cluster: Hosts, program: Program) -> None:
    keys = cluster.sh("cp1", "grep client-key-data /etc/kubernetes/admin.conf | cut -c22-62").split()
    text = "\n".join(
        path.read_text(errors="replace")
        for path in (program.directory / ".kubestrap/runs").rglob("*")
        if path.is_file()
    )
    assert keys
    assert not [key for key in keys if key in text]
    assert "kubeadm join " not in text


def test_interrupted_run_is_finished_by_the_next(make_lab, program: Program) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    hosts = make_lab("cut", "--control-planes", "1", "--workers", "0")
    process = program.start("up", "-i", hosts.inventory)
    deadline = time.monotonic() + 180
    while "kubeadm init" not in hosts.sh("cp1", "ps -ax -o args") and time.monotonic() < deadline:
        time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    program.run("up", "-i", hosts.inventory)
    assert hosts.kubectl("get", "nodes", "--no-headers").split()[1] == "Ready"
