"""`kubestrap image push`: a local image on every node, no registry, nothing sent twice."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, Hosts, Program
from tests.e2e.conftest import IMAGE


def image_id(hosts: Hosts, host: str, name: str) -> str:
    """ID of an image on a host."""
    return hosts.sh(host, f"docker image inspect --format '{{{{.Id}}}}' {name}").strip()


def push_by_ansible(hosts: Hosts, program: Program, name: str, *variables: str) -> str:
    """Take an image from the hosts and push it again, by Ansible alone. What Ansible says."""
    for host in ("cp1", "worker1"):
        hosts.sh(host, f"docker rmi {name}")
    playbook = [program.executable.parent / "ansible-playbook", "kubestrap.cluster.image_push"]
    done = subprocess.run(
        [*playbook, "-vv", "-i", hosts.inventory, *variables],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


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


def test_images_in_manifests_reach_every_node_unlisted(
    cluster: Hosts, program: Program, tmp_path: Path, measured: Callable[[str, str], None]
) -> None:
    name = "kubestrap-e2e-found:1"
    manifest = tmp_path / "job.yaml"
    manifest.write_text(f"""\
apiVersion: batch/v1
kind: CronJob
metadata: {{name: nightly}}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          initContainers: [{{name: prepare, image: "{name}", imagePullPolicy: Never}}]
          containers: [{{name: report, image: "{IMAGE}", imagePullPolicy: Never}}]
""")
    found = ("-e", json.dumps({"cluster_app_manifests": [str(manifest)]}))
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    try:
        first = program.run("image", "push", "-i", cluster.inventory, *found, "--output", "json").summary
        second = program.run("image", "push", "-i", cluster.inventory, *found, "--output", "json").summary
        said = push_by_ansible(cluster, program, name, *found)
    finally:
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    assert (first["changed"], second["changed"]) == (2, 0)
    assert said.count(f'"relayed": ["{name}"]') == 1, "it leaves this machine once: one host has it from the other"
    assert image_id(cluster, "cp1", name) == image_id(cluster, "worker1", name)
    measured("local image, `imagePullPolicy: Never`", "found in the manifests, sent once to each of 2 nodes")


def test_hosts_that_do_not_reach_each_other_get_the_image_from_here(cluster: Hosts, program: Program) -> None:
    name = "kubestrap-e2e-walls:1"
    found = ("-e", json.dumps({"cluster_app_images": [name]}))
    wall = "OUTPUT -p tcp --syn --dport 32768:60999 -j DROP"
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    cluster.sh("worker1", f"iptables -I {wall}")
    try:
        program.run("image", "push", "-i", cluster.inventory, *found)
        said = push_by_ansible(cluster, program, name, *found)
    finally:
        cluster.sh("worker1", f"iptables -D {wall}")
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    assert f"worker1 gets {name} from this machine, not from the host before it: timed out" in said
    assert f'"relayed": ["{name}"]' not in said
    assert image_id(cluster, "cp1", name) == image_id(cluster, "worker1", name)


def test_image_in_a_manifest_must_be_here_before_anything_starts(
    cluster: Hosts, program: Program, tmp_path: Path
) -> None:
    manifest = tmp_path / "pod.yaml"
    container = "{name: web, image: 'never-built:1', imagePullPolicy: Never}"
    manifest.write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec:\n  containers: [{container}]\n")
    found = ("-e", json.dumps({"cluster_app_manifests": [str(manifest)]}))
    result = program.run("deploy", "-i", cluster.inventory, *found, expect=2)
    assert f"{manifest}:5: " in result.stderr
    assert "never-built:1" in result.stderr


def test_unknown_image_is_refused_before_anything_starts(cluster: Hosts, program: Program) -> None:
    result = program.run("image", "push", "never-built:1", "-i", cluster.inventory, expect=2)
    assert "never-built:1" in result.stderr
