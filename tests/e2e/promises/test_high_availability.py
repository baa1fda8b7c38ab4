"""Several control planes: they come later, one is lost under a client that writes, it comes back."""

import http.client
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Hosts, Program

NAMES = ("cp1", "cp2", "cp3")
TOPOLOGY = "3 control planes (keepalived), 2 of them later"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
LONGEST_GAP = 60
PIDS = (
    "for s in docker cri-docker kubelet keepalived; do "
    "systemctl show -p MainPID -p ExecMainStartTimestampMonotonic --value $s; done"
)


@dataclass
class Client:
    """Somebody who goes on working with the API through its one address: fresh connections, no retries."""

    address: str
    context: ssl.SSLContext
    acknowledged: dict[str, str] = field(default_factory=dict)
    answers: list[float] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """One request; an OSError when there is no answer."""
        connection = http.client.HTTPSConnection(self.address, 6443, timeout=3, context=self.context)
        try:
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def work(self) -> None:
        """Write a new object and read it back, again and again; remember what was acknowledged and when."""
        number = 0
        while not self.stop.is_set():
            number += 1
            name, value = f"write-{number}", str(time.time())
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
            try:
                if self.ask("POST", CONFIG_MAPS, body)[0] == http.client.CREATED:
                    self.acknowledged[name] = value
                    if self.ask("GET", f"{CONFIG_MAPS}/{name}")[0] == http.client.OK:
                        self.answers.append(time.monotonic())
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.1)

    def longest_gap(self) -> float:
        """Seconds between two rounds of writing and reading that worked, at the worst."""
        return max(after - before for before, after in zip(self.answers, self.answers[1:], strict=False))


@pytest.fixture(scope="module")
def one(make_lab: Callable[..., Hosts], program: Program) -> Hosts:
    """A cluster of one control plane that is ready for more: its API has an address of its own."""
    hosts = make_lab("ha", "--control-planes", "1", "--workers", "0")
    give_address(hosts)
    program.run("up", "-i", hosts.inventory)
    return hosts


@pytest.fixture(scope="module")
def three(one: Hosts, program: Program, prove: Callable[..., dict[str, Any]]) -> Hosts:
    """The same cluster with two more control planes, and what that changed."""
    before = one.sh("cp1", PIDS)
    program.run("lab", "up", "--name", one.name, "--control-planes", "3", "--workers", "0")
    changed = prove(one, topology=TOPOLOGY)["changed_by_host"]
    # The others' address in keepalived's configuration and its reload; DNS spread over the nodes.
    assert changed.pop(one.host("cp1")) <= 2
    assert set(changed) == {one.host("cp2"), one.host("cp3")}
    assert one.sh("cp1", PIDS) == before, "something was restarted on the control plane that was there"
    return one


def give_address(hosts: Hosts, **variables: str) -> None:
    """Write into the inventory an address for the API, and other variables."""
    host = yaml.safe_load(hosts.inventory.read_text())["control_plane"]["hosts"][hosts.host("cp1")]
    variables["cluster_api_virtual_address"] = str(IPv4Address(host["ansible_host"]) - 2)
    (hosts.inventory.parent / "group_vars/all/address.yml").write_text(yaml.safe_dump(variables))


def address_of(hosts: Hosts) -> str:
    """The address of the API."""
    path = hosts.inventory.parent / "group_vars/all/address.yml"
    return str(yaml.safe_load(path.read_text())["cluster_api_virtual_address"])


def holders(hosts: Hosts, names: tuple[str, ...] = NAMES) -> list[str]:
    """The hosts that have the address of the API."""
    address = address_of(hosts)
    return [name for name in names if f"inet {address}/" in hosts.sh(name, "ip -4 address")]


def kubectl(hosts: Hosts, name: str, *arguments: str) -> str:
    """What kubectl prints on one of the control planes."""
    command = ["docker", "exec", hosts.host(name), "kubectl", "--kubeconfig", "/etc/kubernetes/admin.conf"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


def healthy_members(hosts: Hosts, name: str) -> int:
    """How many members of etcd answer."""
    pki = "/etc/kubernetes/pki/etcd"
    etcdctl = ["etcdctl", "--cacert", f"{pki}/ca.crt", "--cert", f"{pki}/server.crt", "--key", f"{pki}/server.key"]
    text = kubectl(
        hosts, name, "-n", "kube-system", "exec", f"etcd-{hosts.host(name)}", "--",
        *etcdctl, "endpoint", "health", "--cluster", "-w", "json",
    )  # fmt: skip
    return sum(member["health"] for member in json.loads(text))


def wait_until(what: Callable[[], bool], seconds: int) -> float:
    """Wait for something and return how long it took."""
    started = time.monotonic()
    while True:
        try:
            if what():
                return time.monotonic() - started
        except subprocess.CalledProcessError:
            pass
        assert time.monotonic() - started < seconds, f"not within {seconds} s"
        time.sleep(1)


@pytest.fixture
def client(three: Hosts, tmp_path: Path) -> Iterator[Client]:
    """A client at work, with credentials of an administrator."""
    script = (
        "import base64, re; text = open('/etc/kubernetes/admin.conf').read(); "
        "print(*(base64.b64decode(re.search(key + '-data: (.*)', text)[1]).decode() "
        "for key in ('client-certificate', 'client-key', 'certificate-authority')), sep='')"
    )
    pem = tmp_path / "admin.pem"
    pem.touch(mode=0o600)
    pem.write_text(three.sh("cp1", f'python3 -c "{script}"'))
    context = ssl.create_default_context(cafile=str(pem))
    context.load_cert_chain(pem)
    found = Client(address=address_of(three), context=context)
    thread = threading.Thread(target=found.work)
    thread.start()
    yield found
    found.stop.set()
    thread.join()


def test_three_control_planes_at_once(
    make_lab: Callable[..., Hosts], program: Program, prove: Callable[..., dict[str, Any]]
) -> None:
    hosts = make_lab("ha3", "--control-planes", "3", "--workers", "0")
    give_address(hosts, cluster_container_runtime="containerd")
    nodes = prove(hosts, topology="3 control planes (keepalived) at once", runtime="containerd")["nodes"]
    assert [(node["ready"], node["runtime"].split(":")[0]) for node in nodes] == [(True, "containerd")] * 3
    assert healthy_members(hosts, "cp3") == 3
    assert len(holders(hosts)) == 1
    # The other tests have the machine for themselves.
    program.run("lab", "down", "--name", hosts.name)


def test_later_control_planes_are_members(three: Hosts, measured: Callable[[str, str], None]) -> None:
    nodes = three.kubectl("get", "nodes", "--no-headers").splitlines()
    assert [line.split()[1:3] for line in nodes] == [["Ready", "control-plane"]] * 3
    assert healthy_members(three, "cp2") == 3
    assert len(holders(three)) == 1
    # Without workers apps run here.
    assert "NoSchedule" not in three.kubectl("get", "nodes", "-o", "jsonpath={.items[*].spec.taints}")
    # What the hosts needed to join is gone.
    secrets = three.kubectl("get", "secrets", "-n", "kube-system", "-o", "name")
    assert "kubeadm-certs" not in secrets
    assert "bootstrap-token" not in secrets
    measured("more nodes later", "2 control planes joined one; on that, nothing was restarted")


def test_no_key_of_the_join_stays_in_the_run_directory(three: Hosts, program: Program) -> None:
    runs = [path for path in (program.directory / ".kubestrap/runs").rglob("*") if path.is_file()]
    text = "\n".join(path.read_text(errors="replace") for path in runs)
    assert "certificateKey" not in text
    assert "certificate_key: " not in text
    assert three.sh("cp2", "ls /run | grep kubestrap- || true") == ""


def test_control_plane_is_lost_under_a_client_and_comes_back(
    three: Hosts, client: Client, program: Program, measured: Callable[[str, str], None]
) -> None:
    (lost,) = holders(three)
    left = tuple(name for name in NAMES if name != lost)
    wait_until(lambda: len(client.answers) > 5, 60)
    subprocess.run(["docker", "kill", three.host(lost)], check=True, capture_output=True)
    killed = time.monotonic()
    wait_until(lambda: sum(moment > killed + 1 for moment in client.answers) > 20, 3 * LONGEST_GAP)
    client.stop.set()
    gap = client.longest_gap()
    assert gap < LONGEST_GAP
    (holder,) = holders(three, left)

    kept = {
        item["metadata"]["name"]: item["data"]["value"]
        for item in json.loads(kubectl(three, holder, "get", "configmaps", "-o", "json"))["items"]
        if item["metadata"]["name"].startswith("write-")
    }
    assert {name: kept.get(name) for name in client.acknowledged} == client.acknowledged

    status = program.run("status", "-i", three.inventory, "--output", "json", expect=6).summary
    assert list(status["unreachable_hosts"]) == [three.host(lost)]
    assert len(status["nodes"]) == 3
    degraded = program.run("up", "-i", three.inventory, "--output", "json", expect=6).summary
    assert (degraded["changed"], degraded["failed"]) == (0, 0)

    subprocess.run(["docker", "start", three.host(lost)], check=True, capture_output=True)
    back = wait_until(lambda: healthy_members(three, holder) == 3, 240)
    ready = '{.items[*].status.conditions[?(@.type=="Ready")].status}'
    wait_until(lambda: kubectl(three, holder, "get", "nodes", "-o", f"jsonpath={ready}") == "True True True", 120)
    wait_until(lambda: kubectl(three, lost, "get", "--raw", "/readyz").strip() == "ok", 120)
    assert holders(three) == [holder], "the address moved back"
    assert program.run("up", "-i", three.inventory, "--output", "json").summary["changed"] == 0
    measured(
        "three control planes survive one",
        f"the one with the address killed under a client: {gap:.1f} s without writes and reads, all "
        f"{len(client.acknowledged)} acknowledged writes kept, etcd whole {back:.0f} s after its start",
    )


@pytest.mark.proof
def test_first_control_plane_is_made_anew(three: Hosts, program: Program) -> None:
    name = three.host("cp1")
    subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True)
    subprocess.run(["docker", "volume", "rm", f"{name}-var"], check=True, capture_output=True)
    program.run("lab", "up", "--name", three.name, "--control-planes", "3", "--workers", "1")
    # A worker joins meanwhile, through one that knows the cluster: the first of the inventory is bare.
    worker = three.host("worker1")
    joined = program.run("up", "-i", three.inventory, "--limit", worker, "--output", "json").summary
    assert set(joined["changed_by_host"]) == {worker}
    made = program.run("up", "-i", three.inventory, "--output", "json").summary
    # On another control plane, what the cluster knew of the old host was removed.
    assert name in made["changed_by_host"]
    assert healthy_members(three, "cp2") == 3
    nodes = kubectl(three, "cp2", "get", "nodes", "--no-headers").splitlines()
    assert [line.split()[1] for line in nodes] == ["Ready"] * 4
    assert program.run("up", "-i", three.inventory, "--output", "json").summary["changed"] == 0
