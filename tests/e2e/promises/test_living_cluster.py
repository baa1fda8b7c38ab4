"""A living cluster and an inventory that says otherwise: told before anything changes, and nothing is advised to go."""

import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.verbs.test_up import FILES, PIDS

# What a fix must not say while nothing is proved to be worthless.
DESTROYS = re.compile(r"kubeadm reset|rm -rf|ip link delete")
FIXED = {
    "cluster_pod_cidr": ("10.50.0.0/16", "pod-cidr-differs", "The cluster's pods are in 10.244.0.0/16"),
    "cluster_service_cidr": ("10.98.0.0/16", "service-cidr-differs", "The cluster's Services are in 10.96.0.0/12"),
    "cluster_dns_domain": ("k8s.example", "dns-domain-differs", "The cluster's DNS domain is cluster.local"),
    "cluster_name": ("another", "cluster-name-differs", "The cluster is called "),
    "cluster_kubernetes_version": ("1.35.8", "version-differs", "This node runs Kubernetes 1.36.4"),
}


@pytest.fixture(scope="module")
def living(make_lab: Callable[..., Hosts], program: Program) -> Hosts:
    """One control plane and one worker with a user's object."""
    hosts = make_lab("living", "--control-planes", "1", "--workers", "1")
    program.run("up", "-i", hosts.inventory)
    hosts.kubectl("create", "configmap", "mine", "--from-literal=a=b")
    return hosts


def state(hosts: Hosts) -> str:
    """All that a change would show in: files and services of both hosts, and objects of the cluster."""
    objects = hosts.kubectl(
        "get", "configmaps,daemonsets,deployments,services", "--all-namespaces", "-o",
        "jsonpath={range .items[*]}{.kind}/{.metadata.name} {.metadata.uid} {.metadata.generation} {.data}{'\\n'}{end}",
    )  # fmt: skip
    return objects + "".join(hosts.sh(name, f"{PIDS}; {FILES}") for name in ("cp1", "worker1"))


def findings(program: Program, *arguments: str | Path, expect: int | None) -> dict[str, dict[str, dict[str, str]]]:
    """What a command found, by host and ID."""
    summary = program.run(*arguments, "--output", "json", expect=expect).summary
    return {host: {one["id"]: one for one in found} for host, found in summary["findings"].items()}


def blockers(found: dict[str, dict[str, dict[str, str]]]) -> dict[str, set[str]]:
    """IDs of the blockers by host."""
    by_host = {
        host: {name for name, one in told.items() if one["severity"] == "blocker"} for host, told in found.items()
    }
    return {host: names for host, names in by_host.items() if names}


def test_everything_the_cluster_has_fixed_is_told_at_once(
    living: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    before = state(living)
    extra = [word for name, (value, _, _) in FIXED.items() for word in ("-e", f"{name}={value}")]
    cp1 = living.host("cp1")
    for verb in ("check", "up"):
        found = findings(program, verb, "-i", living.inventory, *extra, expect=3)
        assert blockers(found) == {cp1: {name for _, name, _ in FIXED.values()}}
        for value, name, evidence in FIXED.values():
            assert evidence in found[cp1][name]["evidence"]
            assert value in found[cp1][name]["evidence"]
            assert not DESTROYS.search(found[cp1][name]["fix"])
    assert state(living) == before
    measured("what a living cluster has fixed", f"{len(FIXED)} of {len(FIXED)} told before the first change, exit 3")


def test_second_run_finds_nothing_to_say(living: Hosts, program: Program) -> None:
    found = findings(program, "up", "-i", living.inventory, expect=0)
    assert blockers(found) == {}
    ours = {"cluster-not-asked", "node-not-in-inventory", "host-reinstalled", "control-plane-moved"}
    assert not ours & {name for told in found.values() for name in told}


def rewritten(hosts: Hosts, change: Callable[[dict[str, Any]], None]) -> Path:
    """Path of an inventory that is the lab's with a change."""
    inventory = yaml.safe_load(hosts.inventory.read_text())
    change(inventory)
    path = hosts.inventory.with_name("changed.yml")
    path.write_text(yaml.safe_dump(inventory))
    return path


def test_worker_that_left_the_inventory_is_named(
    living: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    path = rewritten(living, lambda inventory: inventory["workers"]["hosts"].clear())
    worker = living.host("worker1")
    for verb in ("status", "check", "up"):
        told = findings(program, verb, "-i", path, expect=0)[living.host("cp1")]["node-not-in-inventory"]
        assert worker in told["evidence"]
        assert f"kubectl drain {worker}" in told["fix"]
        assert not DESTROYS.search(told["fix"])
    assert worker in living.kubectl("get", "nodes", "-o", "name")
    program.run("up", "-i", living.inventory)
    measured("a node that left the inventory", "named by check, up and status; nothing done to it")


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def move(hosts: Hosts, name: str, address: str) -> Path:
    """Give a host another address, as DHCP does, and return an inventory that follows."""
    host = hosts.host(name)
    network = docker("inspect", host, "-f", "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}").strip()
    group = "control_plane" if name.startswith("cp") else "workers"
    was = yaml.safe_load(hosts.inventory.read_text())[group]["hosts"][host]["ansible_host"]
    docker("network", "disconnect", network, host)
    docker("network", "connect", "--ip", address, network, host)
    known = hosts.inventory.with_name("known_hosts")
    lines = known.read_text().splitlines()
    known.write_text("\n".join([*lines, *(line.replace(was, address) for line in lines if was in line)]) + "\n")
    return rewritten(hosts, lambda inventory: inventory[group]["hosts"][host].update(ansible_host=address))


def give_back(hosts: Hosts, name: str, address: str) -> None:
    """Give a host its old address, and flannel its interface.

    A lease changes an address only; the engine takes the network card away, and with it what flannel has on it.
    """
    move(hosts, name, address)
    deadline = time.monotonic() + 120
    while True:
        try:
            hosts.kubectl("rollout", "restart", "daemonset/kube-flannel-ds", "--namespace=kube-flannel")
            break
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline, "the API did not come back with its old address"
            time.sleep(1)
    hosts.kubectl("rollout", "status", "daemonset/kube-flannel-ds", "--namespace=kube-flannel", "--timeout=120s")


@pytest.fixture
def address(living: Hosts) -> Iterator[Callable[[str], tuple[str, str]]]:
    """Old and new address of a host; it gets the old one back at the end, also when the test fails."""
    moved: list[tuple[str, str]] = []

    def give(name: str) -> tuple[str, str]:
        group = "control_plane" if name.startswith("cp") else "workers"
        old = yaml.safe_load(living.inventory.read_text())[group]["hosts"][living.host(name)]["ansible_host"]
        moved.append((name, old))
        return old, f"{old.rpartition('.')[0]}.{160 + len(name)}"

    yield give
    for name, old in moved:
        if f"inet {old}/" not in living.sh(name, "ip -4 address"):
            give_back(living, name, old)


def test_worker_with_another_address_is_told_and_goes_on_with_its_old_one(
    living: Hosts, program: Program, address: Callable[[str], tuple[str, str]], measured: Callable[[str, str], None]
) -> None:
    old, new = address("worker1")
    found = findings(program, "up", "-i", move(living, "worker1", new), expect=6)
    told = found[living.host("worker1")]["address-changed"]
    assert f"This worker was {old} in its cluster, and the host is now {new}" in told["evidence"]
    assert told["fix"].startswith("Give the host its old address again")
    assert blockers(found) == {living.host("worker1"): {"address-changed"}}
    measured("a worker with another address", "old and new address told, set aside; the cluster goes on")


def test_only_control_plane_with_another_address_is_told_and_goes_on_with_its_old_one(
    living: Hosts, program: Program, address: Callable[[str], tuple[str, str]], measured: Callable[[str, str], None]
) -> None:
    old, new = address("cp1")
    path = move(living, "cp1", new)
    for verb in ("check", "up"):
        found = findings(program, verb, "-i", path, expect=3)
        assert blockers(found) == {living.host("cp1"): {"address-changed"}}
        told = found[living.host("cp1")]["address-changed"]
        assert f"This control plane was {old} in its cluster, and the host is now {new}" in told["evidence"]
        assert "control-plane-moved" in found[living.host("worker1")]
        assert not DESTROYS.search(str(found))
    give_back(living, "cp1", old)
    again = program.run("up", "-i", living.inventory, "--output", "json")
    assert again.summary["changed"] == 0
    assert living.kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}") == "b"
    measured("the only control plane with another address", "told; with the old one back, `up` changes nothing")


def ready(hosts: Hosts, name: str) -> bool:
    condition = '{.status.conditions[?(@.type=="Ready")].status}'
    return hosts.kubectl("get", "node", hosts.host(name), "-o", f"jsonpath={condition}") == "True"


@pytest.mark.proof
def test_worker_reinstalled_under_the_same_name(
    living: Hosts, program: Program, make_lab: Callable[..., Hosts], measured: Callable[[str, str], None]
) -> None:
    worker = living.host("worker1")
    assert ready(living, "worker1")
    volumes = docker("inspect", worker, "-f", "{{range .Mounts}}{{.Name}} {{end}}").split()
    docker("rm", "--force", "--volumes", worker)
    docker("volume", "rm", "--force", *volumes)
    make_lab("living", "--control-planes", "1", "--workers", "1")
    found = findings(program, "up", "-i", living.inventory, expect=6)
    assert blockers(found) == {worker: {"host-reinstalled"}}
    assert "reinstalled" in found[worker]["host-reinstalled"]["evidence"]
    deadline = time.monotonic() + 120
    while ready(living, "worker1") and time.monotonic() < deadline:
        time.sleep(2)
    found = findings(program, "up", "-i", living.inventory, expect=0)
    assert found[worker]["host-reinstalled"]["severity"] == "warning"
    assert ready(living, "worker1")
    measured("a worker reinstalled under the same name", "told at once; joins when its Node is not Ready")
