"""Clusters made by hand become ours: what differs is listed, the app answers, what need not restart does not."""

import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tools.benchmarks.by_hand import exports

BY_HAND = ROOT / "tools/benchmarks/by_hand.sh"
TYPED = Path(__file__).with_name("by_hand_typed.sh")
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
# A network made of files and routes alone: nothing in the cluster says that it is there.
BRIDGE = """
mkdir -p /etc/cni/net.d
cat > /etc/cni/net.d/10-bridge.conflist <<'END'
{{"cniVersion": "1.0.0", "name": "mine", "plugins": [
  {{"type": "bridge", "bridge": "cni0", "isDefaultGateway": true, "ipMasq": true, "hairpinMode": true,
   "ipam": {{"type": "host-local", "ranges": [[{{"subnet": "{own}"}}]]}}}},
  {{"type": "portmap", "capabilities": {{"portMappings": true}}}}]}}
END
iptables -A FORWARD -s {pods} -j ACCEPT
iptables -A FORWARD -d {pods} -j ACCEPT
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A cluster as somebody made it by hand, and what the inventory has to say of it."""

    runtime: str
    workers: int
    people: tuple[str, ...]
    """Users of the control plane with a kubeconfig."""
    hold: bool
    network: str = "flannel"
    pod_cidr: str = "10.244.0.0/16"
    said: dict[str, str] = field(default_factory=dict)
    """Variables without which it is refused."""
    refused: tuple[str, ...] = ()
    """What is said of each of them."""


NONE = "Set cluster_pod_network to none: it stays as it is"
SHAPES = {
    "1-docker": Shape(runtime="docker", workers=0, people=("root",), hold=True),
    "1+1-docker-bridge": Shape(
        runtime="docker",
        workers=1,
        people=("ada",),
        hold=False,
        network="bridge",
        said={"cluster_pod_network": "none"},
        refused=("10-bridge.conflist", NONE),
    ),
    "1-containerd-old-flannel": Shape(
        runtime="containerd",
        workers=0,
        people=("root", "ada"),
        hold=True,
        network="old-flannel",
        said={"cluster_container_runtime": "containerd", "cluster_pod_network": "none"},
        refused=("cluster_container_runtime: containerd", "kube-system/kube-flannel-ds-amd64", NONE),
    ),
    "1+1-containerd-other-cidr": Shape(
        runtime="containerd",
        workers=1,
        people=("ada",),
        hold=False,
        pod_cidr="10.77.0.0/16",
        said={"cluster_container_runtime": "containerd", "cluster_pod_cidr": "10.77.0.0/16"},
        refused=("cluster_container_runtime: containerd", "set cluster_pod_cidr to 10.77.0.0/16"),
    ),
}


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


def make(hosts: Hosts, shape: Shape, variables: Path) -> None:
    """Make the cluster by hand."""
    if shape == SHAPES["1-docker"]:
        script(hosts, "cp1", BY_HAND, variables)
        return
    words = {"RUNTIME": shape.runtime, "HOLD": "yes" if shape.hold else "no", "PEOPLE": f"'{' '.join(shape.people)}'"}
    words |= {"POD_CIDR": shape.pod_cidr, "NETWORK": shape.network}
    script(hosts, "cp1", TYPED, variables, "init", **words)
    if shape.workers:
        join = hosts.sh("cp1", "kubeadm token create --print-join-command").split()
        script(hosts, "worker1", TYPED, variables, "join", *join, **words)
    else:
        hosts.kubectl("taint", "nodes", "--all", "node-role.kubernetes.io/control-plane-")
    if shape.network == "bridge":
        bridge(hosts, shape.pod_cidr)
    hosts.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=180s")


def bridge(hosts: Hosts, pods: str) -> None:
    """Connect the pods of two hosts by files and routes."""
    where = '{.spec.podCIDR} {.status.addresses[?(@.type=="InternalIP")].address}'
    names = ("cp1", "worker1")
    nodes = {name: hosts.kubectl("get", "node", hosts.host(name), "-o", f"jsonpath={where}").split() for name in names}
    for name, other in zip(names, reversed(names), strict=True):
        network, address = nodes[other]
        hosts.sh(name, BRIDGE.format(own=nodes[name][0], pods=pods) + f"ip route add {network} via {address}")


def kubeconfigs(hosts: Hosts, people: tuple[str, ...]) -> str:
    """The kubeconfigs that were there before."""
    return hosts.sh(
        "cp1", "".join(f"stat -c '%U %a' ~{one}/.kube/config; sha256sum ~{one}/.kube/config\n" for one in people)
    )


def uids(hosts: Hosts) -> str:
    """The user's objects and the pod that runs."""
    return hosts.kubectl("get", "all,configmaps", "--namespace=default", "-o", "jsonpath={.items[*].metadata.uid}")


def named(hosts: Hosts, said: dict[str, str]) -> None:
    """Write variables into the lab's inventory, which has its own name for the cluster."""
    inventory = hosts.inventory.read_text().replace(f"cluster_name: '{hosts.name}'", "cluster_name: kubernetes")
    hosts.inventory.write_text(inventory)
    path = hosts.inventory.parent / "group_vars/all/said.yml"
    path.write_text(yaml.safe_dump(said))


@pytest.mark.proof
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_becomes_ours(
    shape: Shape,
    request: pytest.FixtureRequest,
    make_lab: Callable[..., Hosts],
    program: Program,
    upstream: Path,
    measured: Callable[[str, str], None],
) -> None:
    name = request.node.callspec.id
    number = list(SHAPES).index(name) + 1
    hosts = make_lab(f"hand{number}", "--control-planes", "1", "--workers", str(shape.workers))
    make(hosts, shape, upstream)
    url = start_app(hosts, upstream)
    names = ("cp1", "worker1")[: shape.workers + 1]
    runs = RUNS.format(units="docker containerd" if shape.runtime == "docker" else "containerd")
    before = {one: hosts.sh(one, runs) for one in names}
    objects, files = uids(hosts), kubeconfigs(hosts, shape.people)
    networks = hosts.kubectl("get", "daemonsets", "-A", "-o", "name")
    # The lab's own name for it is another one, and nothing is said of the rest.
    refused = program.run("up", "-i", hosts.inventory, expect=3).stdout
    for text in ("et cluster_name to kubernetes", *shape.refused):
        assert text in refused, refused
    assert "net.d.before-kubernetes" not in refused
    named(hosts, shape.said)
    listed = program.run("check", "-i", hosts.inventory).stdout
    assert "taken-over" in listed
    # The documentation holds three packages of five; the script of the benchmark holds them all.
    assert ("packages of Kubernetes are held" in listed) == (name != "1-docker"), listed
    with asked_all_the_time(url) as failed:
        program.run("up", "-i", hosts.inventory)
    assert failed == []
    assert {one: hosts.sh(one, runs) for one in names} == before
    assert (uids(hosts), kubeconfigs(hosts, shape.people)) == (objects, files)
    assert hosts.kubectl("get", "daemonsets", "-A", "-o", "name") == networks
    assert all("kubelet" in hosts.sh(one, "apt-mark showhold") for one in names)
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    assert "taken-over" not in program.run("check", "-i", hosts.inventory).stdout
    measured("a cluster made by hand", f"{name}: taken over; the app answered throughout, nothing restarted")
    program.run("lab", "down", "--name", hosts.name)
