"""Clusters made by hand become ours: what differs is listed, the app answers, what need not restart does not."""

import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.benchmarks.by_hand import exports
from tests.conftest import ROOT, Hosts, Program

BY_HAND = ROOT / "tests/benchmarks/by_hand.sh"
BY_HAND_CONTAINERD = Path(__file__).with_name("by_hand_containerd.sh")
PORT = 30800
# An app of the images that are there: CoreDNS answers on its health port.
APP = """
apiVersion: v1
kind: ConfigMap
metadata: {{name: answers, namespace: default}}
data: {{Corefile: ".:5353 {{\\n  health :8080\\n}}\\n"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: answers, namespace: default}}
spec:
  selector: {{matchLabels: {{a: answers}}}}
  template:
    metadata: {{labels: {{a: answers}}}}
    spec:
      volumes: [{{name: c, configMap: {{name: answers}}}}]
      containers:
        - name: main
          image: {image}
          args: [-conf, /c/Corefile]
          volumeMounts: [{{name: c, mountPath: /c}}]
          readinessProbe: {{httpGet: {{path: /health, port: 8080}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: answers, namespace: default}}
spec: {{type: NodePort, selector: {{a: answers}}, ports: [{{port: 8080, nodePort: {port}}}]}}
"""
# What carries the pods and the cluster: none of it need be started anew.
RUNS = (
    "for unit in {units} kubelet; do echo $unit $(systemctl show -p MainPID --value $unit); done; "
    "for name in kube-apiserver etcd kube-scheduler kube-controller kube-proxy; do echo $name $(pgrep -x $name); done"
)


def script(hosts: Hosts, name: str, path: Path, variables: Path, *words: str, **more: str) -> None:
    """Run a by-hand script on a host, as root."""
    # The script takes the host's first address, which may be that of docker0: a case of its own (test_lost_api.py).
    there = path.read_text().replace("$(hostname -I | cut -d' ' -f1)", "$(hostname -i)")
    text = exports(variables) + "".join(f"export {key}={value}\n" for key, value in more.items()) + there
    command = ["docker", "exec", "-i", hosts.host(name), "bash", "-s", "--", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def start_app(hosts: Hosts, variables: Path) -> str:
    """Run an app by hand and return its address."""
    registry = yaml.safe_load(variables.read_text())["cluster_image_registry"]
    hosts.kubectl("apply", "-f", "-", stdin=APP.format(image=f"{registry}/coredns/coredns:v1.14.2", port=PORT))
    hosts.kubectl("rollout", "status", "deployment/answers", "--timeout=180s")
    node = hosts.kubectl("get", "nodes", "-o", 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    return f"http://{node}:{PORT}/health"


@contextmanager
def asked_all_the_time(url: str) -> Iterator[list[str]]:
    """Ask a page four times a second; the list gets what went wrong, and first how often it was asked."""
    failed: list[str] = []
    stop = threading.Event()
    count = 0

    def ask() -> None:
        nonlocal count
        while not stop.wait(0.25):
            count += 1
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - a host of ours
                    answer.read()
            except OSError as error:
                failed.append(f"{time.strftime('%T')} {error}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    yield failed
    stop.set()
    thread.join()
    assert count > 10


def uids(hosts: Hosts) -> str:
    """The user's objects and the pod that runs."""
    return hosts.kubectl("get", "all,configmaps", "--namespace=default", "-o", "jsonpath={.items[*].metadata.uid}")


def named(hosts: Hosts, **said: str) -> None:
    """Write variables into the lab's inventory."""
    path = hosts.inventory.parent / "group_vars/all/said.yml"
    path.write_text(yaml.safe_dump(said))


@pytest.mark.proof
def test_one_node_with_docker(
    make_lab: Callable[..., Hosts], program: Program, upstream: Path, measured: Callable[[str, str], None]
) -> None:
    hosts = make_lab("hand", "--control-planes", "1", "--workers", "0")
    script(hosts, "cp1", BY_HAND, upstream)
    url = start_app(hosts, upstream)
    runs = RUNS.format(units="docker containerd")
    before, objects = hosts.sh("cp1", runs), uids(hosts)
    # The lab's own name for it is another one.
    refused = program.run("up", "-i", hosts.inventory, expect=3)
    assert "set cluster_name to kubernetes" in refused.stdout.replace("Set", "set")
    inventory = hosts.inventory.read_text().replace(f"cluster_name: '{hosts.name}'", "cluster_name: kubernetes")
    hosts.inventory.write_text(inventory)
    listed = program.run("check", "-i", hosts.inventory)
    assert "taken-over" in listed.stdout
    with asked_all_the_time(url) as failed:
        program.run("up", "-i", hosts.inventory)
    assert failed == []
    assert (hosts.sh("cp1", runs), uids(hosts)) == (before, objects)
    again = program.run("up", "-i", hosts.inventory, "--output", "json")
    assert again.summary["changed"] == 0
    assert "taken-over" not in program.run("check", "-i", hosts.inventory).stdout
    measured("a cluster made by hand: one node, Docker", "taken over; the app answered throughout, nothing restarted")


@pytest.mark.proof
def test_two_nodes_with_containerd_another_pod_cidr_and_another_pod_network(
    make_lab: Callable[..., Hosts], program: Program, upstream: Path, measured: Callable[[str, str], None]
) -> None:
    hosts = make_lab("hand2", "--control-planes", "1", "--workers", "1")
    script(hosts, "cp1", BY_HAND_CONTAINERD, upstream, "init", POD_CIDR="10.77.0.0/16")
    join = hosts.sh("cp1", "kubeadm token create --print-join-command").split()
    script(hosts, "worker1", BY_HAND_CONTAINERD, upstream, "join", *join)
    hosts.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=180s")
    url = start_app(hosts, upstream)
    runs = RUNS.format(units="containerd")
    before = {name: hosts.sh(name, runs) for name in ("cp1", "worker1")}
    objects, ada = uids(hosts), hosts.sh("cp1", "sha256sum /home/ada/.kube/config")
    inventory = hosts.inventory.read_text().replace(f"cluster_name: '{hosts.name}'", "cluster_name: kubernetes")
    hosts.inventory.write_text(inventory)
    named(hosts, cluster_container_runtime="containerd")
    refused = program.run("up", "-i", hosts.inventory, expect=3)
    assert "set cluster_pod_cidr to 10.77.0.0/16" in refused.stdout
    named(hosts, cluster_container_runtime="containerd", cluster_pod_cidr="10.77.0.0/16")
    with asked_all_the_time(url) as failed:
        program.run("up", "-i", hosts.inventory)
    assert failed == []
    assert {name: hosts.sh(name, runs) for name in before} == before
    assert (uids(hosts), hosts.sh("cp1", "sha256sum /home/ada/.kube/config")) == (objects, ada)
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    # The same flannel where older manifests put it: to us another pod network.
    flannel = yaml.safe_load(hosts.kubectl("get", "daemonset", "kube-flannel-ds", "-n", "kube-flannel", "-o", "yaml"))
    flannel["metadata"] = {"name": "other-network", "namespace": "kube-flannel"}
    hosts.kubectl("delete", "daemonset", "kube-flannel-ds", "-n", "kube-flannel")
    flannel.pop("status")
    hosts.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(flannel))
    other = program.run("up", "-i", hosts.inventory, expect=3)
    assert "kube-flannel/other-network" in other.stdout
    assert "Set cluster_pod_network to none" in other.stdout
    named(hosts, cluster_container_runtime="containerd", cluster_pod_cidr="10.77.0.0/16", cluster_pod_network="none")
    program.run("up", "-i", hosts.inventory)
    measured("a cluster made by hand: 1+1, containerd", "other pod CIDR and pod network named first, then taken over")
