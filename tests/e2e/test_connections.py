"""Hosts as people reach them: secrets from the environment, slow logins, foreign known_hosts; and by plain Ansible."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program

PASSWORD = "s3cret {{sudo}} 'pw"  # noqa: S105
SLOW_PORT = 2206

DEPLOY = """
useradd -m -s /bin/bash deploy
install -d -o deploy -m 700 ~deploy/.ssh
install -o deploy -m 600 /root/.ssh/authorized_keys ~deploy/.ssh/
chpasswd <<'END'
deploy:{password}
END
printf 'deploy ALL=(ALL) ALL\\nDefaults timestamp_timeout=0\\n' > /etc/sudoers.d/deploy
"""
# A name server that takes every question and answers none, and an sshd that asks it at every login.
DEAD_NAME_SERVER = """
cp /etc/resolv.conf /resolv.was
printf 'nameserver 127.0.0.9\\noptions timeout:13 attempts:1\\n' > /etc/resolv.conf
setsid python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.9", 53)); time.sleep(600)
' >/dev/null 2>&1 &
/usr/sbin/sshd -o Port={port} -o UseDNS=yes -o PidFile=none
"""
TAKE_A_PORT = """
setsid python3 -c '
import socket, time
s = socket.create_server(("", 6443)); time.sleep(300)  # taken by a test
' >/dev/null 2>&1 &
sleep 0.5
"""


@pytest.fixture(scope="module")
def hosts(make_lab: Callable[..., Hosts]) -> Hosts:
    """One host as it comes, with a user who needs a password for sudo."""
    hosts = make_lab("connections", "--workers", "0")
    hosts.sh("cp1", DEPLOY.format(password=PASSWORD))
    return hosts


@pytest.fixture
def site(hosts: Hosts) -> Path:
    """The lab's inventory, with user and password from the environment of whoever runs it."""
    written = yaml.safe_load(hosts.inventory.read_text())
    written["all"]["vars"] |= {
        "ansible_user": "{{ lookup('env', 'SITE_USER') | default('nobody-here', true) }}",
        "ansible_become_password": "{{ lookup('env', 'SITE_SUDO_PASSWORD') }}",
    }
    path = hosts.inventory.parent / "lookup.yml"
    path.write_text(yaml.safe_dump(written, width=1000))
    return path


@pytest.fixture
def taken_port(hosts: Hosts) -> Iterator[None]:
    """Something that stands in the way of a cluster."""
    hosts.sh("cp1", TAKE_A_PORT)
    yield
    hosts.sh("cp1", "pkill -f 'taken by a [t]est'")


def test_lookup(site: Path, program: Program) -> None:
    mine = {"SITE_USER": "deploy", "SITE_SUDO_PASSWORD": PASSWORD}
    person = replace(program, environment={**program.environment, **mine})
    assert "No blocker" in person.run("check", "-i", site).stdout
    kept = [path for path in (program.directory / ".kubestrap/runs").rglob("*") if path.is_file()]
    assert [path for path in kept if PASSWORD in path.read_text(errors="replace")] == []


def test_usedns_is_reached_slowly(hosts: Hosts, program: Program, measured: Callable[[str, str], None]) -> None:
    hosts.sh("cp1", DEAD_NAME_SERVER.format(port=SLOW_PORT))
    variables = {
        "ansible_port": SLOW_PORT,
        "ansible_user": "deploy",
        # In a file, a value may be a template.
        "ansible_become_password": "{% raw %}" + PASSWORD + "{% endraw %}",
        "ansible_ssh_extra_args": "-o StrictHostKeyChecking=no",
    }
    path = program.directory / "slow.yml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(variables))
    began = time.monotonic()
    try:
        result = program.run("check", "-i", hosts.inventory, "-e", f"@{path}", expect=None)
    finally:
        hosts.sh("cp1", "cat /resolv.was > /etc/resolv.conf")
    assert result.code in {0, 3}, result.stdout + result.stderr
    assert "reached, but slowly: the login takes" in result.stdout
    assert "refused" not in result.stdout
    measured("a login that takes long", f"reached, and told; `check` ended after {time.monotonic() - began:.0f} s")


def test_other_domains_ca(hosts: Hosts, program: Program, tmp_path: Path) -> None:
    key = hosts.sh("cp1", "cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub").strip()
    address = yaml.safe_load(hosts.inventory.read_text())["control_plane"]["hosts"][hosts.host("cp1")]["ansible_host"]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ca"], check=True)
    other = (tmp_path / "ca.pub").read_text().strip()
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority *.corp.example {other}\ncut.example ssh-ed25519 AAAA\n{address} {key}\n")
    options = f"-o UserKnownHostsFile={known} -o GlobalKnownHostsFile=/dev/null"
    program.run("check", "-i", hosts.inventory, "-e", f'{{"ansible_ssh_common_args": "{options}"}}')


@pytest.mark.usefixtures("taken_port")
def test_check_by_plain_ansible(hosts: Hosts, installed: Path) -> None:
    """The play fails and shows the verdict."""
    result = subprocess.run(
        [installed.parent / "ansible-playbook", "-i", hosts.inventory, "kubestrap.cluster.check"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert "blocker port-taken on" in result.stdout + result.stderr
    assert "1 blocker(s) on 1 of 1 host(s)." in result.stdout + result.stderr


@pytest.mark.usefixtures("taken_port")
def test_check_says_it_once(hosts: Hosts, program: Program) -> None:
    """The program shows the findings itself, and not a failed step besides."""
    result = program.run("check", "-i", hosts.inventory, expect=3)
    assert result.stdout.count("port-taken") == 1
    assert "FAILED" not in result.stdout
