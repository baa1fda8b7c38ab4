"""Where packages come from: whose key apt trusts, who is waited for, and that nothing of others goes."""

import functools
import http.server
import ipaddress
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import Hosts, Program
from tools.upstream import packages, servers
from tools.upstream.cache import Cache

MANAGED = "/srv/managed/daemon.json"
KEY = "/etc/apt/keyrings/kubernetes.asc"
HOLD_LOCK = """
cat > /root/hold.py <<'END'
import fcntl, sys, time
with open("/var/lib/apt/lists/lock", "w") as lock:
    fcntl.lockf(lock, fcntl.LOCK_EX)
    time.sleep(int(sys.argv[1]))
END
setsid python3 /root/hold.py {seconds} > /dev/null 2>&1 &
sleep 1
"""
# Somebody's own package, which will have nothing to do with Docker.
CONFLICTING_PACKAGE = """
mkdir -p /root/mine/DEBIAN
cat > /root/mine/DEBIAN/control <<'END'
Package: mine
Version: 1
Architecture: all
Maintainer: me <me@example.org>
Conflicts: docker.io
Description: mine
END
dpkg-deb --build /root/mine /root/mine.deb > /dev/null
dpkg --install /root/mine.deb > /dev/null
"""


@dataclass(frozen=True, kw_only=True)
class Mirror:
    """A web server of the test, which hosts reach: files are served; asked as a proxy, it answers 403."""

    address: str
    directory: Path

    def repository(self, name: str) -> str:
        return f"http://{self.address}/{name}/"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, and refuses as a proxy does that does not let through what it is asked for."""

    def do_GET(self) -> None:
        if self.path.startswith("http"):
            self.send_error(403)
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def hosts(make_lab: Callable[..., Hosts]) -> Hosts:
    """A bare host whose daemon.json is kept in another place, and closed to others."""
    hosts = make_lab("trust", "--control-planes", "1", "--workers", "0")
    hosts.sh(
        "cp1",
        f'mkdir -p /srv/managed /etc/docker; echo \'{{"labels": ["place=cellar"]}}\' > {MANAGED}; chmod 600 {MANAGED}; '
        f"ln -s {MANAGED} /etc/docker/daemon.json",
    )
    return hosts


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirror]:
    """Repositories: of the pinned key's owner, and of a stranger who puts his key behind the owner's."""
    directory = tmp_path_factory.mktemp("mirror")
    address = str(ipaddress.ip_address(servers.ensure_network()))
    with http.server.ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=str(directory))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Mirror(address=f"{address}:{server.server_port}", directory=directory)
        server.shutdown()


@pytest.fixture(scope="module")
def two_keys(mirror: Mirror, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A repository signed with a stranger's key; its key file has the pinned key first and the stranger's behind it."""
    home = tmp_path_factory.mktemp("stranger")
    packages._make_signing_key(home)
    place = mirror.directory / "two-keys"
    (place / "amd64").mkdir(parents=True)
    packages._write_index(place)
    packages._gpg(home, "--batch", "--armor", "--clearsign", "--output", place / "InRelease", place / "Release")
    owner = packages._gpg(packages.signing_key(Cache.of_user()), "--batch", "--armor", "--export")
    (place / "Release.key").write_text(owner + packages._gpg(home, "--batch", "--armor", "--export"))
    (place / "owner.key").write_text(owner)
    return mirror.repository("two-keys")


def apt_takes(hosts: Hosts, url: str, key: str) -> bool:
    """Whether apt on the host reads a repository with this key file."""
    script = f"""
    printf 'Types: deb\\nURIs: {url}\\nSuites: /\\nSigned-By: {key}\\n' > /root/try.sources
    apt-get update -o Dir::Etc::sourcelist=/root/try.sources -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0 \
      -o APT::Update::Error-Mode=any 2>&1 && echo TAKEN || true
    """
    return "TAKEN" in hosts.sh("cp1", script)


def said(result_stdout: str) -> str:
    return " ".join(result_stdout.split())


def test_a_bare_host_passes(hosts: Hosts, program: Program) -> None:
    assert "No blocker" in program.run("check", "-i", hosts.inventory).stdout


def test_two_blocks(hosts: Hosts, program: Program, two_keys: str, measured: Callable[[str, str], None]) -> None:
    """apt would take the stranger's repository with the file as it is served, and does not with what we write."""
    hosts.sh(
        "cp1",
        f"cd /root && curl -sfO {two_keys}Release.key && mv Release.key served.asc && curl -sfO {two_keys}owner.key",
    )
    hosts.sh("cp1", "mv /root/owner.key /root/owner.asc; chmod a+rX /root /root/*.asc")
    assert apt_takes(hosts, two_keys, "/root/served.asc"), "the attack itself does not work: this test shows nothing"
    assert not apt_takes(hosts, two_keys, "/root/owner.asc")
    result = program.run("check", "-i", hosts.inventory, "-e", f"cluster_kubernetes_repository={two_keys}", expect=3)
    assert "repository-unusable" in result.stdout
    assert "more than one block" in said(result.stdout)
    assert hosts.sh("cp1", f"ls {KEY} 2>/dev/null || true") == ""
    measured("a second key in a repository's key file", "refused by `check`; apt alone takes its repository")


def test_a_package_that_excludes_docker_stays(
    hosts: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    hosts.sh("cp1", CONFLICTING_PACKAGE)
    try:
        checked = program.run("check", "-i", hosts.inventory, expect=3).stdout
        assert "package-conflict" in checked
        assert "The host has the package mine" in said(checked)
        accepted = json.dumps({"cluster_accepted_findings": ["package-conflict", "disk-low"]})
        up = program.run("up", "-i", hosts.inventory, "-e", accepted, expect=5).stdout
        assert "apt would have to remove mine" in said(up)
        assert "install ok installed" in hosts.sh("cp1", "dpkg-query --show --showformat '${Status}' mine")
    finally:
        hosts.sh("cp1", "dpkg --purge mine")
    measured("a package of yours that excludes Docker", "named by `check`, never removed")


def test_a_pin_of_minus_one(hosts: Hosts, program: Program) -> None:
    path = "/etc/apt/preferences.d/no-docker"
    hosts.sh("cp1", f"printf 'Package: docker.io\\nPin: release *\\nPin-Priority: -1\\n' > {path}")
    try:
        checked = program.run("check", "-i", hosts.inventory, expect=3).stdout
        accepted = json.dumps({"cluster_accepted_findings": ["package-pinned", "disk-low"]})
        up = program.run("up", "-i", hosts.inventory, "-e", accepted, expect=5).stdout
    finally:
        hosts.sh("cp1", f"rm {path}")
    for text in (checked, up):
        assert f"apt may not install docker.io: {path} gives it the priority -1" in said(text)


def test_a_package_proxy_that_answers_403(hosts: Hosts, program: Program, mirror: Mirror) -> None:
    path = "/etc/apt/apt.conf.d/90site"
    hosts.sh("cp1", f"echo 'Acquire::http::Proxy \"http://{mirror.address}/\";' > {path}")
    hosts.sh("cp1", "rm -rf /var/lib/apt/lists/*")
    try:
        checked = program.run("check", "-i", hosts.inventory, expect=3).stdout
        accepted = json.dumps({"cluster_accepted_findings": ["package-sources-unreachable", "disk-low"]})
        up = program.run("up", "-i", hosts.inventory, "-e", accepted, expect=5).stdout
    finally:
        hosts.sh("cp1", f"rm {path}")
    assert "package-sources-unreachable" in checked
    for text in (checked, up):
        assert "403" in text
        assert "knows no package docker.io. Check" not in said(text)


def test_a_dead_proxy_in_the_hosts_environment_is_named(hosts: Hosts, program: Program) -> None:
    hosts.sh("cp1", "for s in http https; do echo ${s}_proxy=http://127.0.0.1:9; done >> /etc/environment")
    try:
        checked = program.run("check", "-i", hosts.inventory, expect=3).stdout
    finally:
        hosts.sh("cp1", "sed -i /_proxy=/d /etc/environment")
    assert "proxy-unreachable" in checked
    assert "The proxy 127.0.0.1:9" in said(checked)
    assert "/etc/environment" in checked


def test_the_lock_of_the_lists_is_waited_for(
    hosts: Hosts, program: Program, prove: Callable[..., dict[str, object]], measured: Callable[[str, str], None]
) -> None:
    """As on a first boot; then everything is made, and a second run changes nothing."""
    hosts.sh("cp1", "rm -rf /var/lib/apt/lists/*_*")
    hosts.sh("cp1", HOLD_LOCK.format(seconds=20))
    begun = time.monotonic()
    checked = program.run("check", "-i", hosts.inventory).stdout
    assert "package-manager-busy" in checked
    assert "refreshes the lists of packages" in said(checked)
    prove(hosts, topology="1 control plane, apt's lists locked for 20 s")
    measured("apt's lists are being refreshed", f"waited for; cluster after {time.monotonic() - begun:.0f} s")


@pytest.fixture(scope="module")
def living(hosts: Hosts, program: Program) -> Hosts:
    """The host with a cluster on it."""
    program.run("up", "-i", hosts.inventory)
    return hosts


def test_a_file_under_configuration_management_stays_what_it_was(living: Hosts) -> None:
    assert living.sh("cp1", "readlink /etc/docker/daemon.json; stat -c %a:%u " + MANAGED).split() == [MANAGED, "600:0"]
    settings = json.loads(living.sh("cp1", f"cat {MANAGED}"))
    assert settings["labels"] == ["place=cellar"]
    assert settings["exec-opts"] == ["native.cgroupdriver=systemd"]


def test_the_keyring_is_one_key(living: Hosts) -> None:
    assert living.sh("cp1", f"grep -c BEGIN {KEY}").strip() == "1"


def test_a_cluster_does_not_take_a_second_key_later(living: Hosts, program: Program, two_keys: str) -> None:
    before = living.sh("cp1", f"sha256sum {KEY} /etc/apt/sources.list.d/*")
    result = program.run("up", "-i", living.inventory, "-e", f"cluster_kubernetes_repository={two_keys}", expect=5)
    assert "more than one block" in said(result.stdout)
    assert living.sh("cp1", f"sha256sum {KEY} /etc/apt/sources.list.d/*") == before


@pytest.mark.proof
def test_a_cluster_goes_on_without_its_repository(
    living: Hosts, program: Program, upstream: Path, measured: Callable[[str, str], None]
) -> None:
    repository = yaml.safe_load(upstream.read_text())["cluster_kubernetes_repository"]
    place = repository.split("/")[2]
    address, port = place.split(":")
    rule = f"OUTPUT -d {address} -p tcp --dport {port} -j REJECT --reject-with tcp-reset"
    living.sh("cp1", f"iptables -I {rule}")
    try:
        result = program.run("up", "-i", living.inventory, "--output", "json")
    finally:
        living.sh("cp1", f"iptables -D {rule}")
    assert result.summary["changed"] == 0
    found = [one["id"] for findings in result.summary["findings"].values() for one in findings]
    assert "repository-away" in found
    closed = repository.replace(f":{port}/", ":9/")
    words = program.run("up", "-i", living.inventory, "-e", f"cluster_kubernetes_repository={closed}").stdout
    assert "the run goes on without the repository" in said(words)
    assert f"URIs: http://{place}" in living.sh("cp1", "cat /etc/apt/sources.list.d/kubernetes.sources")
    measured("package repository away", "`up` goes on with a warning")


def test_a_cluster_is_not_asked_through_the_hosts_proxy(living: Hosts, program: Program) -> None:
    living.sh("cp1", "for s in http https; do echo ${s}_proxy=http://127.0.0.1:9; done >> /etc/environment")
    try:
        words = program.run("up", "-i", living.inventory).stdout
    finally:
        living.sh("cp1", "sed -i /_proxy=/d /etc/environment")
    assert "proxy-unreachable" in words


def test_a_program_that_was_damaged_is_placed_anew(
    living: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    """As a power cut leaves it: there, and empty."""
    binary = living.sh("cp1", "ls /usr/local/lib/cri-dockerd/*/cri-dockerd").strip()
    whole = living.sh("cp1", f"sha256sum < {binary}")
    living.sh("cp1", f"rm {binary}; touch {binary}; chmod 755 {binary}")
    result = program.run("up", "-i", living.inventory, "--output", "json")
    assert result.summary["changed"]
    assert living.sh("cp1", f"sha256sum < {binary}") == whole
    assert living.sh("cp1", "readlink /proc/$(pidof cri-dockerd)/exe").strip() == binary
    assert program.run("up", "-i", living.inventory, "--output", "json").summary["changed"] == 0
    measured("cri-dockerd damaged", "placed anew by the next `up`")
