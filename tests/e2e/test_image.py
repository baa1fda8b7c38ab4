"""`kubestrap image push`: a local image on every node, no registry, nothing sent twice."""

import subprocess
from pathlib import Path

from tests.conftest import Hosts, Program
from tests.e2e.conftest import IMAGE


def image_id(hosts: Hosts, host: str, name: str) -> str:
    """ID of an image on a host."""
    return hosts.sh(host, f"docker image inspect --format '{{{{.Id}}}}' {name}").strip()


def test_push_reaches_every_node_once(cluster: Hosts, program: Program) -> None:
    name = "kubestrap-e2e-push:1"
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    try:
        first = program.run("image", "push", name, "-i", cluster.inventory, "--output", "json").summary
        second = program.run("image", "push", name, "-i", cluster.inventory, "--output", "json").summary
    finally:
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    assert first["changed"] > 0
    assert second["changed"] == 0
    assert image_id(cluster, "cp1", name) == image_id(cluster, "worker1", name)


def test_archive_needs_no_docker_here(cluster: Hosts, program: Program, tmp_path: Path) -> None:
    name = "kubestrap-e2e-archive:1"
    archive = tmp_path / "image.tar"
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    subprocess.run(["docker", "save", "-o", archive, name], check=True)
    subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    program.run("image", "push", archive, "-i", cluster.inventory)
    assert image_id(cluster, "worker1", name)


def test_unknown_image_is_refused_before_anything_starts(cluster: Hosts, program: Program) -> None:
    result = program.run("image", "push", "never-built:1", "-i", cluster.inventory, expect=2)
    assert "never-built:1" in result.stderr
