"""Hosts as people reach them: secrets from the environment, slow logins, foreign known_hosts; and by plain Ansible."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program, Result
from tests.e2e import canary

PASSWORD = "s3cret {{sudo}} 'pw"  # noqa: S105
VAULT_PASSWORD = "v4ult-canary-word"  # noqa: S105
# In a file, a value may be a template; then only Ansible knows it.
LITERAL = "{% raw %}" + PASSWORD + "{% endraw %}"
SLOW_PORT = 2206
NO_KEY = "-o PubkeyAuthentication=no"

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
until ss -Hlun sport = :53 | grep -q 127.0.0.9; do sleep 0.1; done
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
    # Many logins fail here on purpose; a new sshd would soon take no more of this machine.
    penalties = "/etc/ssh/sshd_config.d/site.conf"
    hosts.sh(
        "cp1", f"sshd -T | grep -q penalties || exit 0; echo PerSourcePenalties no > {penalties}; systemctl reload ssh"
    )
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
        "ansible_become_password": LITERAL,
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
        path.unlink()
    # What else is found there, with dead name servers and all, is no matter; nor how it is worded.
    assert result.code in {0, 3}, result.stdout + result.stderr
    assert "reached, but slowly: the login takes" in result.stdout, result.stdout
    assert "the login as" not in result.stdout, result.stdout
    assert "UNREACHABLE" not in result.stdout, result.stdout
    measured("a login that takes long", f"reached, and told; `check` ended after {time.monotonic() - began:.0f} s")


@pytest.fixture(scope="module")
def vault(program: Program) -> dict[str, str]:
    """The password, encrypted, as JSON has `!vault`; it is no template. The vault's own is in the person's file."""
    secret = program.directory / "vault-password"
    secret.touch(mode=0o600)
    secret.write_text(VAULT_PASSWORD + "\n")
    tool = [program.executable.parent / "ansible-vault", "encrypt_string", "--vault-password-file", secret]
    said = subprocess.run(tool, input=PASSWORD, check=True, capture_output=True, text=True).stdout
    return {"__ansible_vault": "\n".join(line.strip() for line in said.splitlines()[1:])}


@pytest.fixture
def person(program: Program, vault: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Run a verb as somebody who has passwords and no key; `sealed` when they are encrypted."""

    def run(
        *arguments: str | Path, expect: int = 0, sealed: bool = False, ssh_args: str = NO_KEY, **variables: Any
    ) -> Result:
        secret = vault if sealed else {"__ansible_unsafe": PASSWORD}
        path = tmp_path / "passwords.json"
        path.touch(mode=0o600)
        login = {"ansible_user": "deploy", "ansible_password": secret, "ansible_become_password": secret}
        path.write_text(json.dumps({**login, "ansible_ssh_extra_args": ssh_args, **variables}))
        mine = {**program.environment, "ANSIBLE_VAULT_PASSWORD_FILE": f"{program.directory}/vault-password"}
        return replace(program, environment=mine).run(*arguments, "-e", f"@{path}", expect=expect)

    yield run
    (tmp_path / "passwords.json").unlink()


UNKNOWN_HOST = {"ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null"}


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        (UNKNOWN_HOST, "its host key is not known here (ed25519 SHA256:"),
        ({**UNKNOWN_HOST, "sealed": True}, "its host key is not known here (ed25519 SHA256:"),
        # The way itself is known to Ansible alone, so Ansible finds it out.
        (
            {"ansible_ssh_common_args": UNKNOWN_HOST["ansible_ssh_common_args"] + " {{ lookup('env', 'NO_SUCH') }}"},
            "its host key is not known here, and a stranger is told no password; log in once",
        ),
        ({"ansible_password": "wrong"}, "the login as deploy is refused (tried the password)"),
        (
            {"ansible_ssh_password_mechanism": "disable"},
            "take out `ansible_ssh_password_mechanism: disable`, which keeps the password from ssh",
        ),
        pytest.param(
            {"ansible_ssh_password_mechanism": "sshpass", "sealed": True},
            "sshpass, which is not on this machine; take out ansible_ssh_password_mechanism",
            marks=pytest.mark.skipif(bool(shutil.which("sshpass")), reason="sshpass is here"),
        ),
    ],
)
def test_an_ssh_password_that_cannot_work_is_told(
    hosts: Hosts, person: Callable[..., Result], variables: dict[str, Any], told: str
) -> None:
    said = " ".join(person("check", "-i", hosts.inventory, **variables, expect=4).stdout.split())
    assert told in said
    assert "sshpass does not support" not in said


def test_passwords_of_ssh_sudo_and_vault_are_nowhere(
    hosts: Hosts, program: Program, person: Callable[..., Result]
) -> None:
    results = [
        person("check", "-i", hosts.inventory, "-vvv"),
        person("check", "-i", hosts.inventory, "-vvv", sealed=True),
        person("check", "-i", hosts.inventory, "-vvv", sealed=True, expect=4, ansible_port=1),
    ]
    for secret in (PASSWORD, VAULT_PASSWORD):
        assert not any(canary.said(result, secret) for result in results)
        assert canary.here(program.directory, secret, besides=[program.directory / "vault-password"]) == []
        assert canary.on_hosts(hosts, ["cp1"], secret) == []


def test_images_come_with_an_ssh_password(
    cluster: Hosts, program: Program, person: Callable[..., Result], measured: Callable[[str, str], None]
) -> None:
    image = "kubestrap-e2e-password:1"
    empty = subprocess.run(["tar", "-c", "-T", "/dev/null"], check=True, capture_output=True).stdout
    subprocess.run(["docker", "import", "-", image], input=empty, check=True, capture_output=True)
    for host in ("cp1", "worker1"):
        cluster.sh(host, DEPLOY.format(password=PASSWORD))
    try:
        # No connection stays open here: each one asks for the password.
        alone = "-o ControlMaster=no"
        result = person("image", "push", image, "-i", cluster.inventory, "--output", "json", ansible_ssh_args=alone)
        assert result.summary["changed"] == 2
        for host in ("cp1", "worker1"):
            assert cluster.sh(host, f"docker image inspect -f '{{{{.Id}}}}' {image}").startswith("sha256:")
        assert canary.here(program.directory, PASSWORD) == []
        assert canary.on_hosts(cluster, ["cp1", "worker1"], PASSWORD) == []
    finally:
        subprocess.run(["docker", "rmi", image], check=True, capture_output=True)
        for host in ("cp1", "worker1"):
            cluster.sh(host, f"docker rmi -f {image}; userdel -rf deploy 2>/dev/null; rm /etc/sudoers.d/deploy")
    measured("an SSH password and no key", "check, images sent; unknown hosts, a wrong password: told, exit 4")


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
