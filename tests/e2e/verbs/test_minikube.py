"""`kubestrap minikube`: a bare host to an app that answers on minikube's cluster, and back."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tests.e2e.conftest import IMAGE

pytestmark = pytest.mark.minikube

APP = "springboot-kotlin-app"
SERVICE = "springboot-kotlin-service"
MARKS = (
    "for s in containerd docker cri-docker kubelet; do systemctl show -p MainPID --value $s; done;"
    "find /etc /usr/local /opt /root -xdev -type f -not -path '/root/.ansible/*' -not -path '/root/.kube/cache/*'"
    # Minikube notes what it was asked, `status` too.
    " -not -path '/root/.minikube/logs/*' -printf '%p %T@ %s\\n' | sort"
)


@pytest.fixture(scope="module")
def host(make_lab: Callable[..., Hosts], app: Path) -> Hosts:
    """A bare host in the group minikube."""
    printed = subprocess.run(
        [sys.executable, "-m", "tools.upstream", "minikube"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return make_lab("minikube", "--control-planes", "1", "--workers", "0", variables=[Path(printed.strip()), app])


@pytest.fixture(scope="module")
def sources(host: Hosts) -> list[str]:
    """The lab's inventory, and a second one that puts its host in the group minikube."""
    second = host.inventory.with_name("minikube.yml")
    group = {"hosts": {host.host("cp1"): {}}, "vars": {"cluster_minikube_driver": "none"}}
    second.write_text(yaml.safe_dump({"minikube": group}))
    return ["-i", str(host.inventory), "-i", str(second)]


@pytest.fixture(scope="module")
def urls(host: Hosts, program: Program, sources: list[str]) -> list[str]:
    """Where the app answers after `minikube up`."""
    host.sh("cp1", "! command -v docker minikube kubectl crictl")
    summary = program.run("minikube", "up", *sources, "--output", "json").summary
    return list(summary["app_urls"])


def get(url: str) -> int:
    """HTTP status of a page, asked from this machine: outside the cluster."""
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - the address kubestrap printed
        return int(answer.status)


def test_app_answers_where_minikube_says(host: Hosts, urls: list[str]) -> None:
    assert [get(url) for url in urls] == [200]
    assert host.sh("cp1", f"minikube service {SERVICE} --url").split() == urls


def test_cluster_is_minikubes_and_runs_the_local_image(host: Hosts, urls: list[str]) -> None:
    assert urls
    status = json.loads(host.sh("cp1", "minikube status --output json"))
    assert (status["Host"], status["Kubelet"], status["APIServer"]) == ("Running", "Running", "Running")
    (line,) = host.sh("cp1", "kubectl --context minikube get nodes --no-headers").splitlines()
    assert line.split()[1] == "Ready"
    assert line.split()[-1] == "v1.33.1"
    deployment = yaml.safe_load(host.sh("cp1", f"kubectl get deployment {APP} -o yaml"))
    assert deployment["status"]["readyReplicas"] == 2
    # The provisioner of volumes, built from these sources, asks for a kind of lock that its own library has removed.
    trouble = "kubectl get pods -A --no-headers | grep -v -e Running -e Completed -e storage-provisioner || true"
    assert host.sh("cp1", trouble) == ""


def test_second_up_changes_nothing(
    host: Hosts, program: Program, sources: list[str], urls: list[str], measured: Callable[[str, str], None]
) -> None:
    before = set(host.sh("cp1", MARKS).splitlines())
    summary = program.run("minikube", "up", *sources, "--output", "json").summary
    assert (summary["changed"], summary["failed"], summary["app_urls"]) == (0, 0, urls)
    assert set(host.sh("cp1", MARKS).splitlines()) ^ before == set()
    measured("minikube", "1.36.0 with the driver none, Kubernetes 1.33.1: the app answers, a second up changes nothing")


def test_down_leaves_what_it_did_not_make(host: Hosts, program: Program, sources: list[str], urls: list[str]) -> None:
    host.sh("cp1", "touch /etc/cni/net.d/99-mine.conf /etc/kubernetes/mine")
    program.run("minikube", "down", *sources)
    assert host.sh("cp1", "docker ps --quiet") == ""
    gone = "/var/lib/minikube /root/.minikube/profiles/minikube /usr/local/bin/minikube /usr/local/bin/kubectl"
    assert host.sh("cp1", f"ls -d {gone} /etc/cni/net.d/1-k8s.conflist 2>/dev/null || true") == ""
    assert host.sh("cp1", "systemctl is-active kubelet || true").strip() != "active"
    assert host.sh("cp1", "systemctl is-active docker").strip() == "active"
    host.sh("cp1", f"docker image inspect {IMAGE}; ls /etc/cni/net.d/99-mine.conf /etc/kubernetes/mine")
    with pytest.raises(OSError):  # noqa: PT011 - refused, reset or no answer: all of them are none
        get(urls[0])
    assert program.run("minikube", "down", *sources, "--output", "json").summary["changed"] == 0


def test_up_after_down_brings_the_app_back(host: Hosts, program: Program, sources: list[str]) -> None:
    host.sh("cp1", "rm -f /etc/cni/net.d/99-mine.conf")
    summary = program.run("minikube", "up", *sources, "--output", "json").summary
    assert [get(url) for url in summary["app_urls"]] == [200]
