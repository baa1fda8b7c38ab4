"""The truth about connections, asked of a real sshd: every cause has its own sentence and fix."""

import os
import shlex
import shutil
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kubestrap.adapters.inventory import AnsibleInventoryReader
from kubestrap.adapters.ssh import SSHProbe
from kubestrap.lab import labs
from kubestrap.model.cluster import cluster_from
from kubestrap.model.probe import HostKey

STATE = Path(tempfile.mkdtemp(prefix="probe-")) / "state"


@pytest.fixture(scope="module", autouse=True)
def _state():
    yield
    shutil.rmtree(STATE.parent)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    name, directory = f"probe-{os.getpid()}", tmp_path_factory.mktemp("lab")
    try:
        shape = labs.Shape(control_planes=1, workers=0)
        labs.up(name=name, shape=shape, system="debian-13", variables=(), directory=directory, report=print)
        inventory = directory / ".kubestrap/labs" / name / "inventory.yml"
        found = cluster_from(AnsibleInventoryReader(inventory.parent).read([inventory], ()), default_name="x")
        script = (
            "useradd -m bob; install -d -o bob ~bob/.ssh; install -o bob ~/.ssh/authorized_keys ~bob/.ssh/; "
            "echo bob:pw | chpasswd; echo 'Welcome, friend of bob' > /etc/banner"
        )
        subprocess.run(["docker", "exec", found.hosts[0].name, "sh", "-c", script], check=True)
        yield found
    finally:
        labs.down(name=name, directory=directory, report=print)


def on_host(cluster, script):
    subprocess.run(["docker", "exec", "-i", cluster.hosts[0].name, "sh", "-e"], input=script, text=True, check=True)


def extra_sshd(cluster, port, *options):
    """Start one more sshd on the host, on another port, until the lab goes."""
    words = shlex.join(word for option in (f"Port={port}", "PidFile=none", *options) for word in ("-o", option))
    on_host(cluster, f"/usr/sbin/sshd {words}")


def key_pair(path, passphrase=""):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", path], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


def authorize(cluster, line):
    on_host(cluster, f"echo {shlex.quote(line)} >> /root/.ssh/authorized_keys")


@pytest.fixture
def agent(tmp_path):
    path = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    while not path.exists():
        time.sleep(0.05)
    yield path
    process.terminate()
    process.wait()


def with_options(cluster, *options):
    """Give ssh options more than the lab's inventory does."""
    common = str(cluster.hosts[0].variables.get("ansible_ssh_common_args", ""))
    # ssh takes the first value it meets.
    return {"ansible_ssh_common_args": shlex.join(word for one in options for word in ("-o", one)) + " " + common}


def probe(cluster, **variables):
    host = replace(cluster.hosts[0], variables={**cluster.hosts[0].variables, **variables})
    return SSHProbe(STATE).probe([host])[0]


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
    (answer,) = SSHProbe(STATE).host_keys(cluster.hosts)
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


def test_password(cluster):
    options = with_options(cluster, "PubkeyAuthentication=no")
    password = {"ansible_user": "bob", "ansible_become_password": "pw", **options}
    assert "bob may not use sudo" in probe(cluster, ansible_password="pw", **password).sentence  # noqa: S106
    refused = probe(cluster, ansible_password="wrong", **password)  # noqa: S106
    assert "the login as bob is refused (tried the password)" in refused.sentence


def test_other_domains_ca(cluster, tmp_path):
    """One line of somebody else's, one that is cut, and 2,000 more: none of them hides the one that counts."""
    (answer,) = SSHProbe(STATE).host_keys(cluster.hosts)
    path = tmp_path / "known_hosts"
    other = key_pair(tmp_path / "ca")
    lines = [f"@cert-authority *.corp.example {other} corp CA", "cut.example ssh-ed25519 AAAAC3Nz", "no-key", "\xff"]
    lines += [f"host{number}.example {other}" for number in range(2000)]
    path.write_bytes("\n".join([*lines, answer.line, ""]).encode("latin-1"))
    options = with_options(cluster, f"UserKnownHostsFile={path}")
    host = replace(cluster.hosts[0], variables={**cluster.hosts[0].variables, **options})
    began = time.monotonic()
    results = SSHProbe(STATE).probe([replace(host, name=f"h{number}") for number in range(30)])
    assert [result.sentence for result in results if not result.ok] == []
    assert time.monotonic() - began < 20
    assert SSHProbe(STATE).host_keys([host])[0].known


def test_host_certificate(cluster, tmp_path):
    ca = key_pair(tmp_path / "ca")
    name, port, address = cluster.hosts[0].name, 2201, cluster.hosts[0].address
    copied = tmp_path / "host.pub"
    subprocess.run(["docker", "cp", f"{name}:/etc/ssh/ssh_host_ed25519_key.pub", copied], check=True)
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority [{address}]:* {ca}\n")
    options = with_options(cluster, f"UserKnownHostsFile={known}")
    expected = {address: "", "else.example": "is not a listed principal"}
    for principal, said in expected.items():
        sign = ["ssh-keygen", "-q", "-s", tmp_path / "ca", "-I", "x", "-h", "-n", principal, copied]
        subprocess.run(sign, check=True, capture_output=True)
        certificate = f"/etc/ssh/{port}-cert.pub"
        subprocess.run(["docker", "cp", tmp_path / "host-cert.pub", f"{name}:{certificate}"], check=True)
        on_host(cluster, f"chown root:root {certificate}")
        key = "HostKey=/etc/ssh/ssh_host_ed25519_key"
        extra_sshd(cluster, port, key, f"HostCertificate={certificate}", "Banner=/etc/banner")
        assert said in probe(cluster, ansible_port=port, **options).sentence
        port += 1
    known.write_text(f"@cert-authority [{address}]:* {ca}\n@revoked * {ca}\n")
    assert "revoked" in probe(cluster, ansible_port=2201, **options).sentence


def test_revoked_host_key(cluster, tmp_path):
    (answer,) = SSHProbe(STATE).host_keys(cluster.hosts)
    known = tmp_path / "known_hosts"
    known.write_text(f"{answer.line}\n@revoked * {answer.line.partition(' ')[2]}\n")
    result = probe(cluster, **with_options(cluster, f"UserKnownHostsFile={known}"))
    assert "marked as revoked" in result.problem


def test_identity_agent(cluster, tmp_path, agent):
    """A key with a passphrase works when an agent has it, and is told for what it is when none has."""
    key = tmp_path / "locked"
    authorize(cluster, key_pair(key, "secret"))
    mine = {"ansible_ssh_private_key_file": str(key)}
    found = probe(cluster, **mine, **with_options(cluster, "IdentitiesOnly=yes", "IdentityAgent=none"))
    assert found.problem == "the SSH key is protected by a passphrase"
    ask = tmp_path / "ask"
    ask.write_text("#!/bin/sh\necho secret\n")
    ask.chmod(0o700)
    environment = {**os.environ, "SSH_AUTH_SOCK": str(agent), "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"}
    subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
    assert probe(cluster, **mine, **with_options(cluster, "IdentitiesOnly=yes", f"IdentityAgent={agent}")).ok


def test_identity_file_of_the_host(cluster, tmp_path):
    """`IdentityFile ~/.ssh/%h`."""
    shutil.copy(cluster.hosts[0].variables["ansible_ssh_private_key_file"], tmp_path / cluster.hosts[0].address)
    config = tmp_path / "config"
    config.write_text(f"Host *\n  IdentityFile {tmp_path}/%h\n  IdentitiesOnly yes\n")
    common = f"-F {config} {cluster.hosts[0].variables.get('ansible_ssh_common_args', '')}"
    assert probe(cluster, ansible_ssh_private_key_file="", ansible_ssh_common_args=common).ok
    assert probe(cluster, ansible_ssh_private_key_file=f"{tmp_path}/%h").ok


def test_key_that_others_may_read(cluster, tmp_path):
    key = tmp_path / "key"
    authorize(cluster, key_pair(key))
    key.chmod(0o644)
    found = probe(cluster, ansible_ssh_private_key_file=str(key), **with_options(cluster, "IdentitiesOnly=yes"))
    assert "others may read it" in found.problem


@pytest.mark.parametrize("shell", ["tcsh", "fish"])
def test_login_shell_tcsh(cluster, shell):
    """A login shell that is no Bourne shell, and that talks when it starts."""
    on_host(
        cluster,
        f"""
        command -v {shell} || {{ apt-get update -q; apt-get install -q -y --no-install-recommends {shell}; }}
        id {shell}user 2>/dev/null || useradd -m -s $(command -v {shell}) {shell}user
        install -d -o {shell}user ~{shell}user/.ssh
        install -o {shell}user ~/.ssh/authorized_keys ~{shell}user/.ssh/
        echo 'echo hello from csh' > ~{shell}user/.cshrc
        echo '{shell}user ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{shell}
        """,
    )
    assert probe(cluster, ansible_user=f"{shell}user").sentence == ""


def test_noise_of_the_login(cluster):
    on_host(cluster, "cp ~/.bashrc ~/.bashrc.was; echo 'echo noise; printf more' > ~/.bashrc")
    extra_sshd(cluster, 2205, "Banner=/etc/banner", "PrintMotd=yes")
    try:
        assert probe(cluster, ansible_port=2205, **with_options(cluster, "StrictHostKeyChecking=no")).sentence == ""
    finally:
        on_host(cluster, "mv ~/.bashrc.was ~/.bashrc")


def test_no_login_shell(cluster):
    on_host(cluster, "useradd -m -s /usr/sbin/nologin closed; cp -r ~/.ssh ~closed/; chown -R closed ~closed/.ssh")
    found = probe(cluster, ansible_user="closed")
    assert "closed cannot run commands there (This account is currently not available.)" in found.sentence


# A name server that takes every question and answers none.
DEAD_NAME_SERVER = """
cp /etc/resolv.conf /resolv.was
printf 'nameserver 127.0.0.9\noptions timeout:13 attempts:1\n' > /etc/resolv.conf
setsid python3 -c '
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.9", 53)); time.sleep(600)
' >/dev/null 2>&1 &
"""


def test_usedns_is_reached_slowly(cluster):
    on_host(cluster, DEAD_NAME_SERVER)
    extra_sshd(cluster, 2206, "UseDNS=yes")
    try:
        result = probe(cluster, ansible_port=2206, **with_options(cluster, "StrictHostKeyChecking=no"))
    finally:
        on_host(cluster, "cat /resolv.was > /etc/resolv.conf")
    assert result.ok, result.sentence
    assert result.slow
    assert result.seconds > 12


def test_nothing_is_left_here(cluster):
    """Neither files with passwords nor an ssh."""
    probe(cluster, ansible_password="wrong", ansible_user="bob")  # noqa: S106
    assert list(STATE.glob("run-*")) == []
    running = subprocess.run(["pgrep", "-f", str(STATE)], capture_output=True, text=True, check=False).stdout
    assert running == ""
