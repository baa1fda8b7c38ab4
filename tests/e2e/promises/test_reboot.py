"""A cluster comes back by itself after a reboot of all its hosts, Docker and containerd side by side."""

import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Hosts, Program

PATIENCE_SECONDS = 300
MINE = "/etc/sysctl.d/99-zz-mine.conf"


def answers(url: str) -> bool:
    """Whether a page is there."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the address kubestrap printed
            return bool(answer.status == 200)
    except OSError:
        return False


def not_yet(hosts: Hosts, names: tuple[str, ...], urls: list[str], before: dict[str, str]) -> str:
    """What the cluster still lacks; empty when it is as it was."""
    ready = '{range .items[*]}{.status.nodeInfo.bootID} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}'
    try:
        nodes = hosts.kubectl("get", "nodes", "-o", f"jsonpath={ready}")
        pods = hosts.kubectl("get", "pods", "-A", "--no-headers")
        starts = {name: hosts.sh(name, "systemctl show -p ActiveEnterTimestamp --value kubelet") for name in names}
    except subprocess.CalledProcessError as error:
        return str(error.stderr)
    if nodes.count(" True") != len(names) or any(starts[name] == before[name] for name in names):
        return nodes
    waiting = [line for line in pods.splitlines() if line.split()[2].split("/")[0] != line.split()[2].split("/")[1]]
    return "\n".join(waiting) or "".join(url for url in urls if not answers(url))


@pytest.mark.proof
def test_sysctl_of_mine_and_a_reboot(
    make_lab: Callable[..., Hosts], program: Program, app: Path, measured: Callable[[str, str], None]
) -> None:
    hosts = make_lab("reboot", "--control-planes", "1", "--workers", "1", variables=[app])
    names = ("cp1", "worker1")
    runtime = hosts.inventory.parent / f"host_vars/{hosts.host('worker1')}.yml"
    runtime.parent.mkdir(exist_ok=True)
    runtime.write_text("cluster_container_runtime: containerd\n")
    for name in names:
        hosts.sh(name, f"echo net.ipv4.ip_forward=0 > {MINE}")
    assert f"{MINE} sets net.ipv4.ip_forward = 0" in program.run("up", "-i", hosts.inventory).stdout
    urls = program.run("status", "-i", hosts.inventory, "--output", "json").summary["app_urls"]
    assert all(map(answers, urls))
    assert urls
    before = {name: hosts.sh(name, "systemctl show -p ActiveEnterTimestamp --value kubelet") for name in names}
    subprocess.run(["docker", "restart", *map(hosts.host, names)], check=True, stdout=subprocess.DEVNULL)
    started = time.monotonic()
    while missing := not_yet(hosts, names, urls, before):
        assert time.monotonic() - started < PATIENCE_SECONDS, missing
        time.sleep(2)
    back = time.monotonic() - started
    # What connects the pods has it turned on again, whatever the file says.
    assert {hosts.sh(name, "cat /proc/sys/net/ipv4/ip_forward").strip() for name in names} == {"1"}
    summary = program.run("up", "-i", hosts.inventory, "--output", "json").summary
    assert (summary["changed"], summary["failed"]) == (0, 0)
    assert all(map(answers, urls))
    measured("a reboot of all hosts", f"Docker and containerd, forwarding off in a file: back after {back:.0f} s")
