"""Images by digest with both runtimes, through mirrors too; and a tag that came to mean another image is told."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tools.upstream import debian, images, recipes
from tools.upstream.cache import Cache

pytestmark = pytest.mark.proof
ADDONS = ["metrics-server", "local-path", "metallb"]
# A registry that is nowhere: what comes from it came through its mirror.
NOWHERE = "images.example"
BUSYBOX = f"library/busybox:{recipes.BUSYBOX}"
MOVED = "kubestrap-test/moved:1"
VOLUME = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: pinned}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"""


@pytest.fixture(scope="module")
def shelf() -> Path:
    """Where the stand-in for upstream's registries has its images."""
    return Cache.of_user().directory("registry")


@pytest.fixture(scope="module")
def registry(upstream: Path) -> str:
    """Its address."""
    return str(yaml.safe_load(upstream.read_text())["cluster_image_registry"])


def digest(shelf: Path, name: str) -> str:
    """The digest it has under a name with a tag."""
    repository, _, tag = name.rpartition(":")
    return (shelf / "docker/registry/v2/repositories" / repository / f"_manifests/tags/{tag}/current/link").read_text()


@pytest.fixture(scope="module")
def hosts(make_lab: Callable[..., Hosts], registry: str) -> Hosts:
    """A control plane with Docker and a worker with containerd, each with the mirrors it can have."""
    hosts: Hosts = make_lab("digests", "--control-planes", "1", "--workers", "1")
    docker = {"cluster_registry_mirrors": {"docker.io": [f"https://{registry}"]}}
    both = {**docker["cluster_registry_mirrors"], NOWHERE: [f"https://{registry}"]}
    containerd = {"cluster_container_runtime": "containerd", "cluster_registry_mirrors": both}
    directory = hosts.inventory.parent / "host_vars"
    directory.mkdir(exist_ok=True)
    for host, said in (("cp1", docker), ("worker1", containerd)):
        (directory / f"{hosts.host(host)}.yml").write_text(yaml.safe_dump(said))
    return hosts


@pytest.fixture(scope="module")
def variables(hosts: Hosts, registry: str, shelf: Path) -> dict[str, Any]:
    """What pins every image that can be pinned: those of flannel and of add-ons, and pause."""
    command = [sys.executable, "-m", "tools.upstream", "addons"]
    path = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    pinned = [image.names[0] for image in (*recipes.IMAGES, *recipes.ADDON_IMAGES)]
    pinned = [name for name in pinned if "/" in name or name.startswith("pause:")]
    network = re.search(r"ansible_host: ([0-9.]+)\.[0-9]+", hosts.inventory.read_text())
    assert network
    return {
        **yaml.safe_load(Path(path).read_text()),
        "cluster_image_digests": {f"{registry}/{name}": digest(shelf, name) for name in pinned},
        "cluster_addons": ADDONS,
        "cluster_metallb_addresses": [f"{network[1]}.220-{network[1]}.225"],
    }


@pytest.fixture(scope="module")
def up(
    hosts: Hosts, variables: dict[str, Any], program: Program, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """Run `up` with these variables, or with others of them; the cluster lived before its images were pinned."""
    file = tmp_path_factory.mktemp("digests") / "variables.yml"

    def run(expect: int = 0, **others: Any) -> Any:
        file.write_text(yaml.safe_dump({**variables, **others}))
        return program.run("up", "-i", hosts.inventory, "-e", f"@{file}", "--output", "json", expect=expect).summary

    assert run(cluster_image_digests={})["failed"] == 0
    summary = run()
    assert summary["failed"] == 0
    assert summary["changed"] > 0
    return run


def pods(hosts: Hosts) -> list[dict[str, Any]]:
    """All pods."""
    return list(json.loads(hosts.kubectl("get", "pods", "-A", "-o", "json"))["items"])


def told(summary: dict[str, Any], kind: str = "image-tag-moved") -> list[str]:
    """What a run said of a kind."""
    return [one["evidence"] for found in summary["findings"].values() for one in found if one["id"] == kind]


def start(hosts: Hosts, name: str, image: str, host: str, **more: Any) -> None:
    """Start a pod on a host, and wait for it."""
    container = {"name": "main", "image": image, "command": ["sleep", "infinity"], **more.pop("container", {})}
    spec = {"nodeName": hosts.host(host), "containers": [container], "terminationGracePeriodSeconds": 0}
    # The scheduler finds the node where a volume is to be made.
    if "volumes" in more:
        spec = {**spec, "nodeName": None, "nodeSelector": {"kubernetes.io/hostname": hosts.host(host)}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {**spec, **more}}
    hosts.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    hosts.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=90s")


def test_flannel_addons_and_pause_run_by_digest_with_both_runtimes(
    hosts: Hosts, up: Callable[..., Any], variables: dict[str, Any], measured: Callable[[str, str], None]
) -> None:
    pins = variables["cluster_image_digests"]
    seen = set()
    for pod in pods(hosts):
        if pod["metadata"]["namespace"] not in ("kube-flannel", "metallb-system", "local-path-storage"):
            continue
        statuses = [*(pod["status"].get("initContainerStatuses") or []), *pod["status"]["containerStatuses"]]
        ids = {one["name"]: one["imageID"] for one in statuses}
        for container in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
            name, _, wanted = container["image"].partition("@")
            assert pins[name] == wanted, container["image"]
            assert ids[container["name"]].endswith(wanted), ids
            seen.add((name, pod["spec"]["nodeName"]))
    assert {name.rpartition("/")[2].partition(":")[0] for name, _ in seen} == {
        "flannel", "flannel-cni-plugin", "controller", "speaker", "local-path-provisioner",
    }  # fmt: skip
    speakers = {node for name, node in seen if "/speaker:" in name}
    assert speakers == {hosts.host("cp1"), hosts.host("worker1")}
    pause = next(f"{name}@{wanted}" for name, wanted in pins.items() if "/pause:" in name)
    assert pause in hosts.sh("worker1", "containerd config dump")
    assert pause in hosts.sh("cp1", "systemctl cat cri-docker.service")
    summary = up()
    assert summary["changed"] == 0
    # What the two runtimes say of one image differs in form, and is no finding.
    assert told(summary) == []
    measured("images by digest", f"{len(seen)} on a node with Docker and one with containerd; a second up changes 0")


@pytest.mark.usefixtures("up")
def test_the_pod_that_makes_directories_is_run_by_digest(hosts: Hosts) -> None:
    hosts.kubectl("apply", "-f", "-", stdin=VOLUME)
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "pinned"}}
    mounted = {"container": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}}
    start(hosts, "pinned", f"docker.io/{BUSYBOX}", "worker1", volumes=[volume], **mounted)
    hosts.kubectl("delete", "pod", "pinned", "--now")
    hosts.kubectl("delete", "pvc", "pinned")


@pytest.mark.usefixtures("up")
@pytest.mark.parametrize(("host", "place"), [("cp1", "docker.io"), ("worker1", "docker.io"), ("worker1", NOWHERE)])
def test_an_image_by_digest_comes_through_a_mirror(hosts: Hosts, shelf: Path, host: str, place: str) -> None:
    image = f"{place}/{BUSYBOX}@{digest(shelf, BUSYBOX)}"
    start(hosts, f"mirrored-{host}", image, host)
    (running,) = [one for one in pods(hosts) if one["metadata"]["name"] == f"mirrored-{host}"]
    assert running["status"]["containerStatuses"][0]["imageID"].endswith(digest(shelf, BUSYBOX))
    hosts.kubectl("delete", "pod", f"mirrored-{host}", "--now")


@pytest.fixture
def put(shelf: Path) -> Iterator[Callable[[str], str]]:
    """Put an image under the tag that is to move, in the registry: another one for each user; its digest."""
    cache = Cache.of_user()

    def publish(user: str) -> str:
        image = recipes.Image(names=(MOVED,), files={}, userland=True, user=user)
        made = images.build(cache, image, {}, debian.programs(cache) / debian.USERLAND)
        images.publish(shelf, MOVED, made)
        return digest(shelf, MOVED)

    yield publish
    shutil.rmtree(shelf / "docker/registry/v2/repositories" / MOVED.partition(":")[0])


def test_a_tag_that_moved_is_told_with_nodes_and_digests(
    hosts: Hosts,
    up: Callable[..., Any],
    put: Callable[[str], str],
    registry: str,
    program: Program,
    measured: Callable[[str, str], None],
) -> None:
    def status() -> list[str]:
        return told(program.run("status", "-i", hosts.inventory, "--output", "json").summary)

    image = f"{registry}/{MOVED}"
    before = put("1000")
    start(hosts, "old", image, "cp1")
    assert status() == []
    after = put("1001")
    start(hosts, "new", image, "worker1")
    (finding,) = status()
    assert finding.startswith(f"{image} is not one image in this cluster")
    assert f"{before} on {hosts.host('cp1')} (default/old)" in finding
    assert f"{after} on {hosts.host('worker1')} (default/new)" in finding
    assert told(up()) == [finding], "a run tells it too, and goes on"
    measured("a tag that moved", "status and up name the image, both digests and the node of each")
    hosts.kubectl("delete", "pod", "old", "--now")
    start(hosts, "again", f"{image}@{after}", "cp1")
    assert status() == [], "one that is named by digest is what it is"
    hosts.kubectl("delete", "pod", "new", "again", "--now")


@pytest.mark.usefixtures("up")
def test_a_digest_that_the_registry_does_not_have_is_told(
    hosts: Hosts, program: Program, registry: str, tmp_path: Path
) -> None:
    image = f"{registry}/{BUSYBOX}@sha256:{'ab' * 32}"
    labels = {"app": "gone"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": image}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "gone"}, "spec": spec}
    manifest, variables = tmp_path / "app.json", tmp_path / "variables.yml"
    manifest.write_text(json.dumps(deployment))
    variables.write_text(yaml.safe_dump({"cluster_app_manifests": [str(manifest)]}))
    result = program.run("deploy", "-i", hosts.inventory, "-e", f"@{variables}", expect=7)
    assert f"The registry has no image {image}" in result.stdout, result.stdout
    assert f"{registry} has no image with this one" in " ".join(result.stdout.split())
    hosts.kubectl("delete", "deployment", "gone")
