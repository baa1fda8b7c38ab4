"""The truth about connections, asked of a real sshd: every cause has its own sentence and fix."""

import os
import subprocess
import time
from dataclasses import replace

import pytest

from bootstrap.adapters.inventory import AnsibleInventoryReader
from bootstrap.adapters.ssh import SSHProbe
from bootstrap.commands import lab
from bootstrap.model.cluster import cluster_from
from bootstrap.model.probe import HostKey


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    name, directory = f"probe-{os.getpid()}", tmp_path_factory.mktemp("lab")
    try:
        lab.up(name=name, control_planes=1, workers=0, system="debian-13", variables=(), directory=directory)
        inventory = directory / ".kubestrap/labs" / name / "inventory.yml"
        found = cluster_from(AnsibleInventoryReader(inventory.parent).read([inventory], ()), default_name="x")
        script = (
            "useradd -m bob; install -d -o bob ~bob/.ssh; install -o bob ~/.ssh/authorized_keys ~bob/.ssh/; "
            "echo bob:pw | chpasswd"
        )
        subprocess.run(["docker", "exec", found.hosts[0].name, "sh", "-c", script], check=True)
        yield found
    finally:
        lab.down(name=name, directory=directory)


def probe(cluster, **variables):
    host = replace(cluster.hosts[0], variables={**cluster.hosts[0].variables, **variables})
    return SSHProbe().probe([host])[0]


def test_good_host(cluster):
    assert probe(cluster).sentence == ""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"ansible_host": "nowhere.invalid"}, "does not resolve"),
        ({"ansible_port": 1}, "refuses connections"),
        ({"ansible_user": "carol"}, "login as carol is refused"),
        ({"ansible_ssh_private_key_file": "/nope"}, "/nope does not exist"),
        ({"ansible_ssh_common_args": "-o UserKnownHostsFile=/dev/null"}, "host key is not known"),
        ({"ansible_python_interpreter": "/nope"}, "/nope (ansible_python_interpreter) is missing"),
        ({"ansible_user": "bob"}, "sudo asks bob for a password"),
        ({"ansible_user": "bob", "ansible_become_password": "wrong"}, "sudo refuses the password of bob"),
        ({"ansible_user": "bob", "ansible_become_password": "pw"}, "bob may not use sudo"),
        ({"ansible_user": "bob", "ansible_become": False}, "ansible_become is off"),
    ],
)
def test_cause(cluster, variables, expected):
    result = probe(cluster, **variables)
    assert expected in result.sentence
    assert result.fix
    assert "wrong" not in result.sentence


def test_wrong_key(cluster, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    assert "is refused" in probe(cluster, ansible_ssh_private_key_file=str(tmp_path / "key")).sentence


def test_changed_host_key(cluster, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    key = " ".join((tmp_path / "key.pub").read_text().split()[:2])
    (tmp_path / "known_hosts").write_text(f"{cluster.hosts[0].address} {key}\n")
    result = probe(cluster, ansible_ssh_common_args=f"-o UserKnownHostsFile={tmp_path}/known_hosts")
    assert "has changed" in result.problem
    assert "ssh-keygen -R" in result.fix


def test_hashed_known_hosts(cluster, tmp_path):
    (answer,) = SSHProbe().host_keys(cluster.hosts)
    assert isinstance(answer, HostKey)
    path = tmp_path / "known_hosts"
    path.write_text(answer.line + "\n")
    subprocess.run(["ssh-keygen", "-H", "-f", path], check=True, capture_output=True)
    assert probe(cluster, ansible_ssh_common_args=f"-o UserKnownHostsFile={path}").ok


def test_silent_host_is_named_in_time(cluster):
    began = time.monotonic()
    # Nobody has this address of the lab's own network.
    silent = ".".join([*cluster.hosts[0].address.split(".")[:3], "254"])
    assert not probe(cluster, ansible_host=silent).ok
    assert time.monotonic() - began < 10
