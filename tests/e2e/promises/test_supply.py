"""Hosts that reach nothing but a proxy with a password, and get every image from a registry that demands one."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program, Result
from tests.e2e import canary
from tools.upstream import debian, servers
from tools.upstream.cache import Cache

PROXY_LOGIN = ("operator", "pr0xy-w0rd-0815")
REGISTRY_LOGIN = ("puller", "pull-w0rd-4711")
PASSWORDS = (PROXY_LOGIN[1], REGISTRY_LOGIN[1])
# New connections of the host itself may go to its own network and to the proxy, nowhere else.
ONLY_THE_PROXY = (
    "OUTPUT -o eth0 -p tcp -m conntrack --ctstate NEW ! -d {subnet} ! --dport {port} -j REJECT --reject-with tcp-reset"
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Hosts, where what they need is, and the rule that closes every other way."""

    hosts: Hosts
    proxy: str
    registry: str
    mirror: str
    rule: str
    runtime: str

    def environment(self) -> dict[str, str]:
        """What the container runtime was started with."""
        program = {"docker": "dockerd"}.get(self.runtime, self.runtime)
        lines = self.hosts.sh("cp1", f"tr '\\0' '\\n' < /proc/$(pidof {program})/environ").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)


@pytest.fixture(scope="module", params=["docker", pytest.param("containerd", marks=pytest.mark.proof)])
def site(make_lab: Callable[..., Hosts], upstream: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A bare host behind the proxy; its inventory says so."""
    runtime: str = request.param
    cache = Cache.of_user()
    said = yaml.safe_load(upstream.read_text())
    mirror = said["cluster_image_registry"]
    program = debian.programs(cache) / debian.REGISTRY_PROGRAM
    address = servers.ensure_network()
    hosts = make_lab(f"supply-{runtime}", "--control-planes", "1", "--workers", "0")
    subnet = hosts.sh("cp1", "ip -4 route show dev eth0 proto kernel").split()[0]
    try:
        registry = servers.ensure_registry(cache, program, cache.directory("registry"), address, login=REGISTRY_LOGIN)
        ports = tuple(int(place.rpartition(":")[2]) for place in (registry, mirror))
        proxy = servers.ensure_proxy(cache, address, login=PROXY_LOGIN, clients=subnet, ports=ports)
        authority = said["cluster_registry_ca_certificates"][mirror]
        variables = {
            "cluster_container_runtime": runtime,
            "cluster_http_proxy": f"http://{':'.join(PROXY_LOGIN)}@{proxy}",
            "cluster_no_proxy": [".example.com"],
            "cluster_image_registry": registry,
            "cluster_flannel_image_registry": f"{registry}/flannel-io",
            "cluster_registry_ca_certificates": {registry: authority, mirror: authority},
            "cluster_registry_credentials": {
                registry: dict(zip(("username", "password"), REGISTRY_LOGIN, strict=True)),
            },
            "cluster_registry_mirrors": {"docker.io": [f"https://{mirror}"]},
        }
        (hosts.inventory.parent / "group_vars/all/zz-site.yml").write_text(yaml.safe_dump(variables))
        rule = ONLY_THE_PROXY.format(subnet=subnet, port=proxy.rpartition(":")[2])
        hosts.sh("cp1", f"iptables -A {rule}")
        yield Site(hosts=hosts, proxy=proxy, registry=registry, mirror=mirror, rule=rule, runtime=runtime)
    finally:
        servers.Server(cache, "proxy").stop()
        servers.Server(cache, "private registry").stop()


@pytest.fixture(scope="module")
def supplied(site: Site, prove: Callable[..., None]) -> Site:
    """The host after `kubestrap up`, and after a second one that changed nothing; what ran was written down."""
    watch = "while ! [ -e /run/seen.enough ]; do ps axww -o args >> /run/seen; sleep 0.3; done"
    subprocess.run(["docker", "exec", "-d", site.hosts.host("cp1"), "sh", "-c", watch], check=True)
    prove(site.hosts, runtime=site.runtime, topology="1 control plane, proxy and registry with logins")
    return site


def test_the_way_around_the_proxy_is_closed(site: Site) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        site.hosts.sh("cp1", f"curl -sk -m 5 https://{site.registry}/v2/")


def test_a_proxy_that_does_not_answer_is_a_blocker_by_name(site: Site, program: Program) -> None:
    address = site.proxy.rpartition(":")[0]
    wrong = json.dumps({"cluster_http_proxy": f"http://me:hidden-w0rd@{address}:1"})
    said = program.run("check", "-i", site.hosts.inventory, "-e", wrong, expect=3).stdout
    assert "proxy-unreachable" in said
    assert f"{address}:1" in said
    assert "hidden-w0rd" not in said


def test_a_proxy_that_wants_a_login_is_a_blocker(site: Site, program: Program) -> None:
    wrong = json.dumps({"cluster_http_proxy": f"http://{site.proxy}"})
    said = program.run("check", "-i", site.hosts.inventory, "-e", wrong, expect=3).stdout
    assert "the proxy wants a user and a password" in " ".join(said.split())


def test_the_runtime_knows_what_is_near(supplied: Site) -> None:
    subnet = supplied.hosts.sh("cp1", "ip -4 route show dev eth0 proto kernel").split()[0]
    wanted = {
        "localhost",
        "127.0.0.1",
        subnet,
        "10.244.0.0/16",
        "10.96.0.0/12",
        ".svc",
        ".cluster.local",
        ".example.com",
    }
    assert wanted <= set(supplied.environment()["NO_PROXY"].split(","))


def test_apt_goes_through_the_proxy_from_now_on(supplied: Site) -> None:
    supplied.hosts.sh("cp1", "apt-get -qq update")


def test_no_pod_of_the_cluster_has_the_proxy(supplied: Site) -> None:
    pods = json.loads(supplied.hosts.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    names = [
        variable["name"].lower()
        for pod in pods
        for container in pod["spec"]["containers"]
        for variable in container.get("env", [])
    ]
    assert pods
    assert [name for name in names if name.endswith("_proxy")] == []


def test_images_come_with_the_login_and_from_the_mirror_and_exec_works(
    supplied: Site, measured: Callable[[str, str], None]
) -> None:
    kubectl = supplied.hosts.kubectl
    images = {
        "private": f"{supplied.registry}/flannel-io/flannel:v0.28.4",
        "mirrored": "docker.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel1",
    }
    for name, image in images.items():
        kubectl("run", name, f"--image={image}", "--image-pull-policy=Always", "--command", "--", "sleep", "600")
    try:
        for name in images:
            kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=120s")
        assert "proxy" not in kubectl("exec", "private", "--", "sh", "-c", "set").lower()
    finally:
        kubectl("delete", "pod", *images, "--wait=false", "--force")
    measured("proxy and mirrors", f"{supplied.runtime}: all through a proxy; images with a login, and from a mirror")


def test_cri_dockerd_has_the_login_for_its_own_image(supplied: Site) -> None:
    if supplied.runtime != "docker":
        pytest.skip("containerd keeps the image: nothing may remove it")
    pause = supplied.hosts.sh("cp1", f"docker images -q {supplied.registry}/pause").strip()
    where = supplied.hosts.sh("cp1", "systemctl show -p WorkingDirectory --value cri-docker").strip()
    assert pause
    assert (where, supplied.hosts.sh("cp1", f"stat -c %a {where}/config.json").strip()) == ("/etc/cri-dockerd", "600")


def test_passwords_are_nowhere(supplied: Site, program: Program) -> None:
    # In what the program keeps.
    for password in PASSWORDS:
        found = subprocess.run(
            ["grep", "-rl", password, ".kubestrap/runs"], cwd=program.directory, capture_output=True, check=False
        )
        assert (found.returncode, found.stdout) == (1, b"")
    # In arguments, in the log of the host, in files that others can read.
    sh = supplied.hosts.sh
    arguments = sh("cp1", "touch /run/seen.enough; sleep 1; cat /run/seen")
    assert "kubeadm init" in arguments
    for password in PASSWORDS:
        assert password not in arguments
        assert sh("cp1", f"journalctl --no-pager | grep -v grep | grep -c -- {password} || true").strip() == "0"
    places = "/etc /root /home /run /tmp /var/lib/kubelet /var/log /var/tmp"
    files = sh(
        "cp1", f"grep -rlIs -e {PASSWORDS[0]} -e {PASSWORDS[1]} {places} | xargs -r stat -c '%a %n'"
    ).splitlines()
    assert {line.split()[1] for line in files} >= {"/etc/kubestrap/proxy.env", "/etc/apt/apt.conf.d/99kubestrap-proxy"}
    assert [line for line in files if not line.startswith("600 ")] == []


@pytest.mark.proof
def test_passwords_are_nowhere_after_failures_check_mode_and_vvv(
    supplied: Site, program: Program, installed: Path, measured: Callable[[str, str], None]
) -> None:
    hosts = supplied.hosts
    token = f"canary-{secrets.token_hex(12)}\\'\""
    settings = {"log-opts": {"max-size": "50m"}, "proxies": {"http-proxy": "http://me:canary%2Fw0rd@proxy.example"}}
    wanted = program.directory / "wanted.yml"
    wanted.write_text(yaml.safe_dump({"cluster_docker_settings": settings}))
    broken = program.directory / "broken.yml"
    broken.write_text(yaml.safe_dump({"cluster_docker_settings": {"no-such-token": token}}))
    # Nothing changes, and everything that would is shown.
    looked = subprocess.run(
        [installed.parent / "ansible-playbook", "-i", hosts.inventory, "-e", f"@{wanted}", "kubestrap.cluster.up",
         "--check", "--diff", "-vvv"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LOG_PATH": f"{program.directory}/log"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )  # fmt: skip
    result = Result(code=looked.returncode, stdout=looked.stdout, stderr=looked.stderr, seconds=0)
    assert result.code == 0, result.stdout[-3000:] + result.stderr[-3000:]
    results = [result, program.run("up", "-i", hosts.inventory, "-vvv")]
    if supplied.runtime == "docker":
        assert "http-proxy" in result.stdout
        failed = program.run("up", "-i", hosts.inventory, "-e", f"@{broken}", "-vvv", expect=5)
        assert "no-such-token" in failed.stdout + failed.stderr
        results.append(failed)
    mine = [wanted, broken, hosts.inventory.parent / "group_vars/all/zz-site.yml"]
    for secret in (*PASSWORDS, ":".join(PROXY_LOGIN), ":".join(REGISTRY_LOGIN), token, "canary%2Fw0rd"):
        assert [one.code for one in results if canary.said(one, secret)] == []
        assert canary.here(program.directory, secret, besides=mine) == []
        assert canary.on_hosts(hosts, ["cp1"], secret) == []
    # The administrator's key goes to the operator's kubeconfig, and nowhere else.
    key = hosts.sh("cp1", "sed -n 's/.*client-key-data: //p' /etc/kubernetes/admin.conf | cut -c100-160").strip()
    assert key
    assert [one.code for one in results if canary.said(one, key)] == []
    assert canary.here(program.directory / ".kubestrap/runs", key) == []
    # What runs with the proxy's password is the runtime alone, and what it starts.
    names = "grep -la PATTERN /proc/[0-9]*/environ | xargs -rn1 dirname | xargs -rI{} cat {}/comm | sort -u"
    having = set(hosts.sh("cp1", f"({names.replace('PATTERN', PASSWORDS[0])}) 2>/dev/null || true").split())
    assert supplied.runtime == "docker" or "containerd" in having
    assert having - {"sh", "grep", "xargs"} <= {"dockerd", "docker-proxy", "containerd", "containerd-shim"}
    measured(
        "logins, tokens, passwords", "in no log, journal, diff, result or command line: up, failure, --check, -vvv"
    )


@pytest.mark.proof
def test_what_is_taken_out_of_the_variables_goes(supplied: Site, program: Program) -> None:
    hosts = supplied.hosts
    hosts.sh("cp1", f"iptables -D {supplied.rule}")
    without = json.dumps({"cluster_http_proxy": "", "cluster_no_proxy": []})
    summary = program.run("up", "-i", hosts.inventory, "-e", without, "--output", "json").summary
    assert summary["changed"]
    assert [name for name in supplied.environment() if name.upper().endswith("_PROXY")] == []
    left = "ls /etc/kubestrap/proxy.env /etc/apt/apt.conf.d/99kubestrap-proxy 2>/dev/null || true"
    assert hosts.sh("cp1", left) == ""
    assert program.run("up", "-i", hosts.inventory, "-e", without, "--output", "json").changes == []
