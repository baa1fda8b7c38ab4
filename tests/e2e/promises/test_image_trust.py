"""A worker that was broken into cannot put images of its own on others, and what an image is is compared whole."""

import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Hosts, Program
from tests.e2e.conftest import IMAGE

NAME = "kubestrap-e2e-trust-of-the-line:v1"
# As long as the name, so that the archive stays one that every runtime loads.
EVIL = "registry.k8s.io/kube-proxy:v99.0.1"
# Stands where the relay's command finds `python3`: the same program, but the next host gets the other name.
BROKEN_INTO = f"""#!/usr/bin/python3
import os, re, sys
if sys.argv[1:2] != ["-c"]:
    os.execv("/usr/bin/python3", ["python3", *sys.argv[1:]])
size = int(re.search(r"read\\((\\d+)\\)", sys.argv[2]).group(1))
program = sys.stdin.buffer.read(size).decode()
sys.argv[:] = ["-c", *sys.argv[3:]]
honest = "_took(take, block)]"
assert honest in program
program = program.replace(honest, "_took(take, turned(take, block))]")
def turned(take, block):
    return block if "write" in repr(take) else block.replace(b"{NAME}", b"{EVIL}")
exec(compile(program, "relay", "exec"), {{"__name__": "__main__", "turned": turned}})
"""


@pytest.fixture
def image() -> Iterator[str]:
    """An image of this machine, under a name of its own."""
    assert len(NAME) == len(EVIL)
    subprocess.run(["docker", "tag", IMAGE, NAME], check=True)
    yield NAME
    subprocess.run(["docker", "rmi", "-f", NAME], check=True, stdout=subprocess.DEVNULL)


def settings(hosts: Hosts, host: str) -> dict[str, Any]:
    """The whole configuration of the image on a host."""
    return dict(json.loads(hosts.sh(host, f"docker image inspect --format '{{{{json .Config}}}}' {NAME}")))


def with_setting(archive: Path, new: Path, name: str, value: Any) -> None:
    """Write an archive whose image differs in one setting: same layers, same time."""
    with tarfile.open(archive) as old, tarfile.open(new, "w") as tar:
        config = json.load(old.extractfile("manifest.json"))[0]["Config"]  # type: ignore[arg-type]
        for member in old.getmembers():
            data = old.extractfile(member).read() if member.isfile() else b""  # type: ignore[union-attr]
            if member.name == config:
                description = json.loads(data)
                description["config"][name] = value
                data = json.dumps(description).encode()
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def test_a_worker_that_was_broken_into_gives_nothing_of_its_own_to_others(
    cluster: Hosts, program: Program, image: str, measured: Callable[[str, str], None]
) -> None:
    cluster.sh("cp1", f"cat >/usr/local/bin/python3 <<'END'\n{BROKEN_INTO}END\nchmod 755 /usr/local/bin/python3")
    try:
        result = program.run("image", "push", image, "-i", cluster.inventory)
    finally:
        cluster.sh("cp1", "rm /usr/local/bin/python3")
    worker, turned = cluster.host("worker1"), cluster.host("cp1")
    said = " ".join(result.stdout.split())
    assert f"did not take {image} from" in said, said
    assert "worker1" in said, worker
    assert "cp1" in said.partition(f"did not take {image} from")[2][:60], turned
    assert settings(cluster, "worker1") == settings(cluster, "cp1"), "it came from the operator's machine"
    assert EVIL.rpartition(":")[2] not in cluster.sh("worker1", "docker images")
    measured("a node that was broken into", "what it adds to an image is refused by the next, which gets it from here")


def test_an_image_with_one_other_setting_is_another_and_an_unchanged_one_is_not(
    cluster: Hosts, program: Program, image: str, tmp_path: Path
) -> None:
    archive, other = tmp_path / "image.tar", tmp_path / "other.tar"
    subprocess.run(["docker", "save", "-o", archive, image], check=True)
    program.run("image", "push", archive, "-i", cluster.inventory)
    changes: dict[str, Any] = {
        "User": "1234",
        "Labels": {"team": "shop"},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000},
    }
    for name, value in changes.items():
        with_setting(archive, other, name, value)
        first = program.run("image", "push", other, "-i", cluster.inventory, "--output", "json").summary
        second = program.run("image", "push", other, "-i", cluster.inventory, "--output", "json").summary
        assert (first["changed"], second["changed"]) == (2, 0), name
        assert {settings(cluster, host)[name] == value for host in ("cp1", "worker1")} == {True}, name


def test_a_host_that_is_no_node_yet_is_named_and_the_rest_goes_on(cluster: Hosts, program: Program, image: str) -> None:
    cluster.sh("worker1", "mv /etc/kubernetes/kubelet.conf /root/; mv /usr/bin/docker /root/")
    try:
        result = program.run("image", "push", image, "-i", cluster.inventory, expect=6)
    finally:
        cluster.sh("worker1", "mv /root/kubelet.conf /etc/kubernetes/; mv /root/docker /usr/bin/")
    assert "is no node yet: `kubestrap up`" in result.stdout
    assert settings(cluster, "cp1")
