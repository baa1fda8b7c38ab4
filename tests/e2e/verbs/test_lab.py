"""Real labs: made, repaired, extended, side by side, and gone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from kubestrap.lab import network

ROOT = Path(__file__).parents[3]
LABEL = "kubestrap.lab"

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("docker") is None, reason="looks at bridges and rules: needs root and docker"
)


class Labs:
    """`kubestrap lab` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.first = f"it{os.getpid()}a"
        self.second = f"it{os.getpid()}b"

    def run(self, *arguments: str, expect: int = 0) -> str:
        result = subprocess.run(
            [sys.executable, "-m", "kubestrap", "lab", *arguments],
            cwd=self.directory,
            env={**os.environ, "PYTHONPATH": str(ROOT / "bootstrap")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == expect, result.stdout + result.stderr
        return result.stdout + result.stderr

    def files(self, lab: str) -> Path:
        return self.directory / ".kubestrap/labs" / lab

    def ssh(self, host: str, *command: str) -> str:
        return self.run("ssh", "--name", host.rpartition("-")[0], host, "--", *command)


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


def started_at(host: str) -> str:
    return docker("inspect", "--format", "{{.State.StartedAt}}", host)


def traces(lab: str) -> str:
    """Everything on this machine that belongs to a lab."""
    mark = ("--filter", f"label={LABEL}={lab}")
    rules = subprocess.run(["iptables", "-S", "DOCKER-USER"], check=True, capture_output=True, text=True).stdout
    links = subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True).stdout
    bridge = network.bridge_of(lab)
    return (
        docker("ps", "-aq", *mark)
        + docker("volume", "ls", "-q", *mark)
        + docker("network", "ls", "-q", *mark)
        + "".join(line for line in (rules + links).splitlines() if bridge in line)
    )


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """Two labs, made at the same time."""
    labs = Labs(tmp_path_factory.mktemp("labs"))
    variables = labs.directory / "site.yml"
    variables.write_text("cluster_dns_domain: lab.test\n")
    try:
        with ThreadPoolExecutor() as pool:
            list(
                pool.map(
                    lambda words: labs.run("up", *words),
                    [
                        ("--name", labs.first, "--vars", str(variables)),
                        ("--name", labs.second, "--workers", "0"),
                    ],
                )
            )
        yield labs
    finally:
        for name in (labs.first, labs.second):
            subprocess.run(
                [sys.executable, "-m", "kubestrap", "lab", "down", "--name", name],
                cwd=labs.directory,
                env={**os.environ, "PYTHONPATH": str(ROOT / "bootstrap")},
                capture_output=True,
                check=False,
            )


def test_a_host_is_a_bare_machine(labs: Labs) -> None:
    host = f"{labs.first}-cp1"
    assert labs.ssh(host, "systemctl", "is-system-running") == "running\n"
    assert labs.ssh(host, "hostname") == f"{host}\n"
    assert labs.ssh(
        host, "sh", "-c", "command -v docker kubeadm containerd; ls -d /.dockerenv 2>&1 || true"
    ).startswith("ls:")
    assert "nameserver 127." not in labs.ssh(host, "cat", "/etc/resolv.conf")
    labs.ssh(host, "apt-get", "update")


def test_hosts_are_told_apart(labs: Labs) -> None:
    hosts = [f"{labs.first}-cp1", f"{labs.first}-worker1", f"{labs.second}-cp1"]
    for path in ("/etc/machine-id", "/etc/ssh/ssh_host_ed25519_key.pub"):
        assert len({labs.ssh(host, "cat", path) for host in hosts}) == len(hosts)


def test_ansible_reaches_all_hosts_with_strict_host_keys(labs: Labs) -> None:
    files = labs.files(labs.first)
    ansible = [Path(sys.executable).parent / "ansible", "-i", files / "inventory.yml", "all", "-m"]
    ping = [*ansible, "ansible.builtin.debug", "-a", "var=cluster_dns_domain"]
    answer = subprocess.run(ping, cwd=labs.directory, capture_output=True, text=True, check=True).stdout
    assert answer.count("lab.test") == 2
    command = [*ansible, "ansible.builtin.command", "-a", "id -un"]
    environment = {**os.environ, "ANSIBLE_SSH_ARGS": "-o ControlMaster=no"}
    subprocess.run(command, cwd=labs.directory, capture_output=True, env=environment, check=True)

    known_hosts = files / "known_hosts"
    kept = known_hosts.read_text()
    keys = [line.split()[2] for line in kept.splitlines()]
    known_hosts.write_text(kept.replace(keys[0], keys[1]))
    refused = subprocess.run(command, cwd=labs.directory, capture_output=True, text=True, env=environment, check=False)
    known_hosts.write_text(kept)
    assert "UNREACHABLE" in refused.stdout
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stdout


def test_cluster_addresses_stay_on_this_machine(labs: Labs) -> None:
    rules = subprocess.run(["iptables", "-S", "DOCKER-USER"], check=True, capture_output=True, text=True).stdout
    for target in network.CLUSTER_RANGES:
        assert any(target in rule and network.bridge_of(labs.first) in rule for rule in rules.splitlines())


def test_secrets_are_private(labs: Labs) -> None:
    files = labs.files(labs.first)
    assert files.stat().st_mode & 0o077 == 0
    assert (files / "key").stat().st_mode & 0o077 == 0


def test_up_again_changes_nothing(labs: Labs) -> None:
    files = labs.files(labs.first)

    def state() -> list[object]:
        hosts = [f"{labs.first}-cp1", f"{labs.first}-worker1"]
        return [*map(started_at, hosts), *((path, path.stat().st_mtime_ns) for path in sorted(files.rglob("*")))]

    before = state()
    assert "nothing changed" in labs.run("up", "--name", labs.first)
    assert state() == before


def test_a_restarted_host_is_the_same_machine(labs: Labs) -> None:
    host = f"{labs.second}-cp1"
    look = ("sh", "-c", "cat /etc/resolv.conf /etc/hosts /etc/machine-id; ip -4 -brief address show eth0 | tr -s ' '")
    labs.ssh(host, "sh", "-c", "echo 192.0.2.7 elsewhere >> /etc/hosts")
    before = labs.ssh(host, *look).replace("@if", " ").split()
    docker("restart", host)
    labs.run("up", "--name", labs.second, "--workers", "0")
    after = labs.ssh(host, *look).replace("@if", " ").split()
    assert [word for word in after if not word.isdigit()] == [word for word in before if not word.isdigit()]
    assert "elsewhere" in after


def test_what_is_missing_comes_back_and_the_rest_stays(labs: Labs) -> None:
    untouched = started_at(f"{labs.first}-cp1")
    docker("rm", "--force", f"{labs.first}-worker1")
    said = labs.run("up", "--name", labs.first, "--workers", "2")
    assert f"{labs.first}-worker1 ready" in said
    assert f"{labs.first}-worker2 ready" in said
    labs.ssh(f"{labs.first}-worker1", "true")
    labs.ssh(f"{labs.first}-worker2", "true")
    assert started_at(f"{labs.first}-cp1") == untouched
    said = labs.run("up", "--name", labs.first)
    assert "nothing changed" in said
    assert f"{labs.first}-worker2 stays" in said


def test_mistakes_are_answered_with_what_there_is(labs: Labs) -> None:
    assert f"{labs.first}-cp1" in labs.run("ssh", "--name", labs.first, "cp9", "--", "true", expect=2)
    assert labs.first in labs.run("down", "--name", "no-such-lab", expect=2)
    elsewhere = Labs(labs.directory / "elsewhere")
    elsewhere.directory.mkdir()
    assert str(labs.files(labs.first)) in elsewhere.run("up", "--name", labs.first, expect=2)
    assert not (elsewhere.directory / ".kubestrap").exists()
    assert labs.run("ssh", "--name", labs.first, "cp1", "--", "sh", "-c", "exit 7", expect=7) == ""


def test_down_leaves_nothing_and_the_other_lab_alone(labs: Labs) -> None:
    other = started_at(f"{labs.second}-cp1")
    assert traces(labs.first)
    labs.run("down", "--name", labs.first)
    assert traces(labs.first) == ""
    assert not labs.files(labs.first).exists()
    assert labs.first not in labs.run("list")
    assert labs.second in labs.run("list")
    assert started_at(f"{labs.second}-cp1") == other
    labs.ssh(f"{labs.second}-cp1", "true")

    # Found by its labels, also when its files are gone.
    shutil.rmtree(labs.directory / ".kubestrap")
    labs.run("down", "--name", labs.second)
    assert traces(labs.second) == ""
    assert sorted(path.name for path in labs.directory.iterdir()) == ["elsewhere", "site.yml"]
