"""containerd beside Docker: a Debian 12 host that joins later, and clusters with nothing else."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.conftest import IMAGE
from tests.e2e.promises.test_addons import until
from tests.e2e.verbs.test_up import FILES

PIDS = "for s in containerd kubelet; do systemctl show -p MainPID -p ExecMainStartTimestampMonotonic --value $s; done"
CONTAINERD = {"cluster_container_runtime": "containerd"}


@pytest.fixture(scope="module")
def mixed(cluster: Hosts, make_shared_lab: Callable[..., Hosts], app: Path) -> Iterator[Hosts]:
    """The cluster of all tests with one more host in the inventory: Debian 12, bare, to run containerd."""
    options = ("--control-planes", "1", "--workers", "2", "--os", "debian-12")
    hosts: Hosts = make_shared_lab("e2e", *options, variables=[app])
    assert hosts == cluster
    own = hosts.inventory.parent / "host_vars" / f"{hosts.host('worker2')}.yml"
    own.parent.mkdir(exist_ok=True)
    own.write_text(yaml.safe_dump(CONTAINERD))
    yield hosts
    # The other tests know two nodes.
    own.unlink()
    hosts.kubectl("delete", "node", hosts.host("worker2"), "--ignore-not-found")
    subprocess.run(["docker", "rm", "--force", "--volumes", hosts.host("worker2")], check=True, capture_output=True)
    make_shared_lab("e2e", "--control-planes", "1", "--workers", "1", variables=[app])


@pytest.fixture(scope="module")
def joined(mixed: Hosts, program: Program) -> Hosts:
    """The same after `kubestrap up`."""
    summary = program.run("up", "-i", mixed.inventory, "--output", "json").summary
    assert [(node["name"], node["ready"]) for node in summary["nodes"] if node["name"] == mixed.host("worker2")] == [
        (mixed.host("worker2"), True)
    ]
    return mixed


def test_docker_of_debian_12_is_refused_with_two_ways_out(mixed: Hosts, program: Program) -> None:
    result = program.run("check", "-i", mixed.inventory, "-e", "cluster_container_runtime=docker", expect=3)
    assert "docker-too-old: Docker 20.10" in result.stdout
    assert "cluster_docker_source: docker.com" in result.stdout
    assert "cluster_container_runtime: containerd" in result.stdout
    assert mixed.sh("worker2", "ls /usr/bin/dockerd 2>/dev/null || true") == ""


def test_a_containerd_host_joins_a_cluster_that_runs_docker(
    joined: Hosts, measured: Callable[[str, str], None]
) -> None:
    nodes = yaml.safe_load(joined.kubectl("get", "nodes", "-o", "yaml"))["items"]
    runs = {node["metadata"]["name"]: node["status"]["nodeInfo"] for node in nodes}
    runtimes = {name: info["containerRuntimeVersion"] for name, info in runs.items()}
    assert runtimes[joined.host("cp1")].startswith("docker://")
    assert runtimes[joined.host("worker2")].startswith("containerd://1.6")
    assert "bookworm" in runs[joined.host("worker2")]["osImage"]
    measured("runtimes differ per host", ", ".join(sorted(set(runtimes.values()))) + " in one cluster; exec on all")


def test_a_node_that_joins_later_has_the_local_image_and_exec_works_on_both_kinds(
    joined: Hosts, measured: Callable[[str, str], None]
) -> None:
    for host in ("worker1", "worker2"):
        name = f"local-image-{host}"
        overrides = json.dumps({"apiVersion": "v1", "spec": {"nodeName": joined.host(host)}})
        options = ("--image", IMAGE, "--image-pull-policy=Never", "--restart=Never", "--overrides", overrides)
        joined.kubectl("run", name, *options)
        try:
            joined.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=180s")
            assert joined.kubectl("exec", name, "--", "id", "-u").strip() != "0"
            until(lambda name=name: "Started Application" in joined.kubectl("logs", name), 120, f"the start of {name}")
        finally:
            joined.kubectl("delete", "pod", name, "--now")
    measured(
        "local image, `imagePullPolicy: Never`", "runs on a node with Docker and on one with containerd added later"
    )


def test_an_image_is_sent_to_containerd_once(joined: Hosts, program: Program) -> None:
    name = "kubestrap-e2e-containerd:1"
    subprocess.run(["docker", "tag", IMAGE, name], check=True)
    push = ("image", "push", name, "-i", joined.inventory, "--output", "json")
    try:
        first, second = (program.run(*push).summary for _ in range(2))
    finally:
        subprocess.run(["docker", "rmi", name], check=True, stdout=subprocess.DEVNULL)
    assert first["changed_by_host"][joined.host("worker2")] == 1
    assert second["changed"] == 0
    assert f"docker.io/library/{name}" in joined.sh("worker2", f"crictl inspecti {name}")


def test_second_run_leaves_containerd_alone(joined: Hosts, program: Program) -> None:
    before = joined.sh("worker2", f"{PIDS}; {FILES}")
    assert program.run("up", "-i", joined.inventory, "--output", "json").summary["changed"] == 0
    assert joined.sh("worker2", f"{PIDS}; {FILES}") == before


@pytest.mark.proof
@pytest.mark.parametrize("system", ["debian-13", "debian-12"])
def test_a_cluster_of_containerd_alone(
    make_lab: Callable[..., Hosts], prove: Callable[..., None], app: Path, tmp_path: Path, system: str
) -> None:
    runtime = tmp_path / "runtime.yml"
    runtime.write_text(yaml.safe_dump(CONTAINERD))
    shape = ("--control-planes", "1", "--workers", "0", "--os", system)
    hosts = make_lab(f"containerd-{system}", *shape, variables=[app, runtime])
    prove(hosts, topology="1 control plane", runtime="containerd")
    # Nobody runs Docker, so the API server keeps the feature gate as it is.
    assert "feature-gates" not in hosts.sh("cp1", "cat /etc/kubernetes/manifests/kube-apiserver.yaml")
