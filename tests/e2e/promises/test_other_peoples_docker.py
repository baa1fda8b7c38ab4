"""Hosts on which somebody had Docker or containerd before: their containers, their settings, what they trust."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.conftest import Hosts, Program

INSTALL = """
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --no-install-recommends {packages} busybox-static >/dev/null
"""
DAEMON_JSON = "/etc/docker/daemon.json"
PIDS = "for s in docker containerd cri-docker kubelet; do systemctl show -p MainPID --value $s; done"
STATE = "docker inspect -f '{{{{.State.Running}}}} {{{{.State.StartedAt}}}}' {name}"


def write(hosts: Hosts, path: str, text: str) -> None:
    """Put a file on the host."""
    hosts.sh("cp1", f"mkdir -p $(dirname {path}); printf %s {shlex.quote(text)} > {path}")


def words(text: str) -> str:
    """What was said, however its lines were broken."""
    return " ".join(text.split())


@pytest.fixture(scope="module")
def docker_host(make_lab: Callable[..., Hosts]) -> Hosts:
    """A host that has Docker already, with an image of its owner's."""
    hosts = make_lab("others-docker", "--control-planes", "1", "--workers", "0")
    hosts.sh("cp1", INSTALL.format(packages="docker.io docker-cli"))
    hosts.sh("cp1", "mkdir -p /root/image/bin; cp /bin/busybox /root/image/bin/sleep")
    hosts.sh("cp1", "tar -C /root/image -c . | docker import - mine:1 >/dev/null")
    return hosts


@pytest.fixture(scope="module")
def own(docker_host: Hosts, program: Program) -> tuple[Hosts, str]:
    """The same with a container of the owner's that nobody restarts, after `up`; and what `check` said before."""
    docker_host.sh("cp1", f"rm -f {DAEMON_JSON}; docker run -d --name mine mine:1 sleep 100000")
    said = program.run("check", "-i", docker_host.inventory).stdout
    program.run("up", "-i", docker_host.inventory, "--output", "json")
    return docker_host, said


@pytest.mark.parametrize(
    ("settings", "finding", "told"),
    [
        ('{"userns-remap": "default"}', "docker-userns-remap", '"userns-remap": "default" in /etc/docker/daemon.json'),
        ('{"hosts": ["unix:///run/docker.sock"]}', "docker-settings-twice", "hosts is said in /etc/docker/daemon.json"),
        ('{"log-opts": {"max-file": 3}}', "docker-settings-invalid", 'a number in "log-opts" (max-file)'),
        ("[]", "docker-settings-invalid", "holds a list, and Docker takes an object only"),
    ],
)
def test_settings_of_docker_that_do_not_work_are_named_before_the_first_change(
    docker_host: Hosts, program: Program, settings: str, finding: str, told: str
) -> None:
    write(docker_host, DAEMON_JSON, settings)
    before = docker_host.sh("cp1", f"{PIDS}; ls -l --time-style=full-iso /etc/docker /etc/apt/apt.conf.d")
    for verb in ("check", "up"):
        result = program.run(verb, "-i", docker_host.inventory, expect=3)
        assert finding in result.stdout
        assert told in words(result.stdout)
    assert docker_host.sh("cp1", f"{PIDS}; ls -l --time-style=full-iso /etc/docker /etc/apt/apt.conf.d") == before
    docker_host.sh("cp1", f"rm {DAEMON_JSON}")


def test_settings_with_a_byte_order_mark_are_read_as_dockerd_reads_them(docker_host: Hosts, program: Program) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        content = '{"debug": false, "hosts": ["fd://"]}'.encode(encoding)
        octal = "".join(f"\\{byte:03o}" for byte in content)
        docker_host.sh("cp1", f"printf '{octal}' > {DAEMON_JSON}; dockerd --validate --config-file {DAEMON_JSON} 2>&1")
        assert "docker-settings-twice" in program.run("check", "-i", docker_host.inventory, expect=3).stdout
    docker_host.sh("cp1", f"rm {DAEMON_JSON}")


def test_a_container_that_the_restart_would_remove_is_a_blocker(docker_host: Hosts, program: Program) -> None:
    docker_host.sh("cp1", "docker run -d --rm --name brief mine:1 sleep 100000")
    try:
        for verb in ("check", "up"):
            said = program.run(verb, "-i", docker_host.inventory, expect=3).stdout
            assert "docker-restart-removes" in said
            assert "brief (mine:1)" in words(said)
        assert docker_host.sh("cp1", STATE.format(name="brief")).startswith("true")
    finally:
        docker_host.sh("cp1", "docker rm -f brief")


def test_a_container_of_the_owners_is_told_and_runs_again(
    own: tuple[Hosts, str], measured: Callable[[str, str], None]
) -> None:
    hosts, said = own
    assert "docker-restart:" in said
    assert "mine (mine:1)" in words(said)
    running, _ = hosts.sh("cp1", STATE.format(name="mine")).split()
    assert running == "true"
    # Docker itself was restarted, so somebody started the container again.
    assert "systemd" in hosts.sh("cp1", "docker info -f '{{.CgroupDriver}}'")
    measured("a container of the owner's on a Docker that is restarted", "told by `check`, running again after `up`")


def test_the_second_run_touches_neither_docker_nor_the_container(own: tuple[Hosts, str], program: Program) -> None:
    hosts, _ = own
    look = f"{PIDS}; {STATE.format(name='mine')}"
    before = hosts.sh("cp1", look)
    assert "docker-restart" not in program.run("check", "-i", hosts.inventory).stdout
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    assert hosts.sh("cp1", look) == before


@pytest.mark.proof
def test_files_from_the_future_restart_nothing(
    own: tuple[Hosts, str], program: Program, measured: Callable[[str, str], None]
) -> None:
    hosts, _ = own
    units = "/etc/systemd/system/cri-docker.service /etc/systemd/system/cri-docker.socket"
    hosts.sh("cp1", f"touch -d '+1 day' {DAEMON_JSON} {units}; systemctl daemon-reload")
    before = hosts.sh("cp1", PIDS)
    for _ in range(2):
        assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    assert hosts.sh("cp1", PIDS) == before
    # Nor does one whose unit nobody has noted anything about, more than once.
    hosts.sh("cp1", "rm -r /run/kubestrap/started-with")
    program.run("up", "-i", hosts.inventory, "--output", "json")
    before = hosts.sh("cp1", PIDS)
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    assert hosts.sh("cp1", PIDS) == before
    measured("files from the future", "daemon.json and units dated tomorrow: no restart by `up`")


def trust(upstream: Path) -> dict[str, object]:
    """What an inventory says more of registries, for a while."""
    authorities = yaml.safe_load(upstream.read_text())["cluster_registry_ca_certificates"]
    return {
        "cluster_registry_ca_certificates": {**authorities, "leaving.example:5000": next(iter(authorities.values()))},
        "cluster_registry_mirrors": {"docker.io": ["https://leaving.example:5000"]},
        "cluster_registry_credentials": {"leaving.example:5000": {"username": "me", "password": "leaving-w0rd"}},
    }


def taken_back(hosts: Hosts, program: Program, upstream: Path, directory: str) -> None:
    """Let registries come into the inventory and leave it again; of what others put there nothing changes."""
    theirs = f"{directory}/theirs.example:5000"
    hosts.sh("cp1", f"mkdir -p {theirs}; echo theirs | tee {theirs}/ca.crt > {theirs}/hosts.toml")
    more = hosts.inventory.parent / "group_vars/all/zz-leaving.yml"
    more.write_text(yaml.safe_dump(trust(upstream)))
    program.run("up", "-i", hosts.inventory, "--output", "json")
    find = "grep -rls -e leaving /etc/docker /etc/containerd /etc/cri-dockerd /var/lib/kubelet/config.json || true"
    assert f"{directory}/leaving.example:5000/ca.crt" in hosts.sh("cp1", f"ls -d {directory}/*/*")
    assert hosts.sh("cp1", find) != ""
    more.unlink()
    program.run("up", "-i", hosts.inventory, "--output", "json")
    assert hosts.sh("cp1", find) == ""
    assert "leaving" not in hosts.sh("cp1", f"ls -R {directory}")
    assert hosts.sh("cp1", f"cat {theirs}/ca.crt {theirs}/hosts.toml") == "theirs\ntheirs\n"
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0


@pytest.mark.proof
def test_trust_that_leaves_the_inventory_is_taken_back_from_docker(
    own: tuple[Hosts, str], program: Program, upstream: Path, measured: Callable[[str, str], None]
) -> None:
    hosts, _ = own
    settings = json.loads(hosts.sh("cp1", f"cat {DAEMON_JSON}"))
    theirs = {**settings, "registry-mirrors": ["https://theirs.example"]}
    write(hosts, DAEMON_JSON, json.dumps(theirs))
    hosts.sh("cp1", "systemctl reload docker")
    before = hosts.sh("cp1", f"systemctl show -p MainPID --value docker; {STATE.format(name='mine')}")
    taken_back(hosts, program, upstream, "/etc/docker/certs.d")
    assert json.loads(hosts.sh("cp1", f"cat {DAEMON_JSON}")) == theirs
    # Mirrors need a reload only.
    assert hosts.sh("cp1", f"systemctl show -p MainPID --value docker; {STATE.format(name='mine')}") == before
    assert "leaving" not in hosts.sh("cp1", "docker info -f '{{.RegistryConfig.Mirrors}}'")
    measured("trust taken back", "CA, mirror and login that left the inventory: gone; others' stay")


CONFIG = """\
version = 2
imports = [
  "/etc/containerd/conf.d/*.toml", # drop-ins of the GPU toolkit
  "/srv/site/containerd/*.toml",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example.org/pause:3.9" # a # and a ] in a comment
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "nvidia"
  [plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.nvidia]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia.options]
      BinaryName = "/usr/local/bin/nvidia-container-runtime"
"""


@pytest.mark.proof
def test_a_containerd_with_a_runtime_for_gpus_and_imports(
    make_lab: Callable[..., Hosts],
    program: Program,
    upstream: Path,
    tmp_path: Path,
    measured: Callable[[str, str], None],
) -> None:
    runtime = tmp_path / "runtime.yml"
    runtime.write_text(yaml.safe_dump({"cluster_container_runtime": "containerd"}))
    hosts = make_lab("others-containerd", "--control-planes", "1", "--workers", "0", variables=[runtime])
    hosts.sh("cp1", INSTALL.format(packages="containerd"))
    # The toolkit's program does what runc does, and more.
    hosts.sh("cp1", "ln -s $(command -v runc) /usr/local/bin/nvidia-container-runtime")
    write(hosts, "/etc/containerd/config.toml", CONFIG)
    program.run("up", "-i", hosts.inventory, "--output", "json")
    assert hosts.sh("cp1", "cat /etc/containerd/config.toml.2*") == CONFIG
    dump = hosts.sh("cp1", "containerd config dump")
    table = (
        r"runtimes\.nvidia\.options\]\s+BinaryName = \"/usr/local/bin/nvidia-container-runtime\"\s+SystemdCgroup = true"
    )
    assert re.search(table, dump)
    written = hosts.sh("cp1", "cat /etc/containerd/config.toml")
    assert 'imports = ["/etc/containerd/conf.d/*.toml", "/srv/site/containerd/*.toml"]' in written
    # Pods run under it, where systemd drives cgroups.
    assert "kubepods" in hosts.sh("cp1", "systemd-cgls --no-pager | grep -m1 kubepods.slice")
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    measured("containerd with a runtime for GPUs", "its cgroups driven by systemd; imports and comments read")
    taken_back(hosts, program, upstream, "/etc/containerd/certs.d")
