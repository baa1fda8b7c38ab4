"""Two images are the same when all that is in them is, whatever describes them; names of images are taken apart."""

import copy
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import (
    content,
    differences,
    moved,
    passed_over,
    pinned,
    reference,
    suffix,
    unserved,
    with_tag,
)

LAYERS = ["sha256:1", "sha256:2"]
# As Docker 20 to 27 show it: with what is left of the container of the build.
DOCKER: dict[str, Any] = {
    "Id": "sha256:9",
    "Created": "2026-11-24T11:46:12.5Z",
    "Os": "linux",
    "Architecture": "amd64",
    "Config": {
        "Hostname": "",
        "Domainname": "",
        "AttachStdout": False,
        "Image": "sha256:7",
        "Entrypoint": ["java"],
        "Cmd": None,
        "Env": ["A=b"],
        "Labels": {},
        "WorkingDir": "/app",
        "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5},
    },
    "RootFS": {"Type": "layers", "Layers": LAYERS},
}
# The image's own configuration, as another builder wrote it.
RAW: dict[str, Any] = {
    "created": "2026-11-24T11:46:12.500000Z",
    "architecture": "amd64",
    "config": {
        "Entrypoint": ["java"],
        "Env": ["A=b"],
        "User": "",
        "WorkingDir": "/app",
        "Volumes": {"/data": {}},
        "ExposedPorts": {"80/tcp": {}},
        "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 0},
    },
    "rootfs": {"type": "layers", "diff_ids": LAYERS},
    "history": [{"created_by": "x"}],
}


def test_an_image_is_the_same_in_docker_and_in_containerd() -> None:
    assert content(DOCKER) == content(RAW)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("User", "1000"),
        ("Labels", {"team": "shop"}),
        ("WorkingDir", "/"),
        ("Healthcheck", {"Test": ["CMD", "false"]}),
        ("Healthcheck", {"Test": ["NONE"]}),
        ("Volumes", None),
        ("ExposedPorts", {"81/tcp": {}}),
        ("StopSignal", "SIGINT"),
        ("Env", ["A=c"]),
        ("Entrypoint", None),
        ("Cmd", ["-v"]),
        ("OnBuild", ["RUN true"]),
        ("Shell", ["/bin/bash"]),
    ],
)
def test_one_other_setting_makes_another_image(setting: str, value: Any) -> None:
    other = copy.deepcopy(DOCKER)
    other["Config"][setting] = value
    assert content(other) != content(DOCKER)
    assert differences(content(DOCKER), content(other)) == [setting]


def test_another_layer_time_or_platform_makes_another_image() -> None:
    assert differences(content(RAW), content({**RAW, "rootfs": {"diff_ids": LAYERS[:1]}})) == ["layers"]
    assert differences(content(RAW), content({**RAW, "created": "2026-11-24T11:46:13Z"})) == ["created"]
    assert differences(content(RAW), content({**RAW, "architecture": "arm64"})) == ["platform"]


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"),
        ("2026-11-24T11:46:12.500+01:00", "2026-11-24T11:46:12.5+01:00"),
        (None, "0001-01-01T00:00:00Z"),
        ("2026-11-24T10:00:00Z", "2026-11-24T10:00:00Z"),
    ],
)
def test_a_time_is_the_same_however_it_is_written(written: str | None, shown: str) -> None:
    assert content({**RAW, "created": written}) == content({**RAW, "created": shown})
    assert content({"created": "2026-11-24T10:00:00Z"})["created"] == "2026-11-24T10:00:00Z"


DIGEST, OTHER = "sha256:" + "ab" * 32, "sha256:" + "cd" * 32


@pytest.mark.parametrize(
    ("name", "registry", "repository", "tag", "digest"),
    [
        ("busybox", "docker.io", "library/busybox", "", ""),
        ("docker.io/busybox:1", "docker.io", "library/busybox", "1", ""),
        ("index.docker.io/library/busybox:1", "docker.io", "library/busybox", "1", ""),
        ("rancher/thing:v1", "docker.io", "rancher/thing", "v1", ""),
        ("localhost/thing", "localhost", "thing", "", ""),
        ("host:5000/a/b/thing:v1", "host:5000", "a/b/thing", "v1", ""),
        ("[fd00::1]:5000/thing:v1", "[fd00::1]:5000", "thing", "v1", ""),
        (f"host:5000/thing:v1@{DIGEST}", "host:5000", "thing", "v1", DIGEST),
        (f"host:5000/thing@{DIGEST}", "host:5000", "thing", "", DIGEST),
        (f"busybox@{DIGEST}", "docker.io", "library/busybox", "", DIGEST),
    ],
)
def test_a_name_has_a_registry_a_repository_a_tag_and_a_digest(
    name: str, registry: str, repository: str, tag: str, digest: str
) -> None:
    found = reference(name)
    assert found == (registry, repository, tag, digest)
    assert name.endswith(suffix(found))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop", "shop:latest"),
        ("host:5000/shop", "host:5000/shop:latest"),
        ("host:5000/shop:1", "host:5000/shop:1"),
        (f"shop@{DIGEST}", f"shop@{DIGEST}"),
    ],
)
def test_a_name_without_a_tag_means_latest(name: str, expected: str) -> None:
    assert with_tag(name) == expected


def test_a_name_gets_the_digest_that_is_demanded_however_it_is_written() -> None:
    assert pinned("busybox", {"docker.io/library/busybox:latest": DIGEST}) == f"busybox@{DIGEST}"
    assert pinned("host:5000/a:1", {"host:5000/a:2": DIGEST, "a:1": DIGEST}) == "host:5000/a:1"
    assert pinned(f"a:1@{OTHER}", {"a:1": DIGEST}) == f"a:1@{OTHER}"


def test_a_pin_that_is_for_another_tag_than_the_one_that_is_used_is_told() -> None:
    (finding,) = passed_over(["q/a:2", "q/a:2", f"q/b:1@{DIGEST}", "q/c:1"], {"q/a:1": DIGEST, "q/b:1": DIGEST})
    assert finding.id == "image-not-pinned"
    assert "q/a:1" in finding.evidence
    assert "q/a:2" in finding.evidence


def running(node: str, image: str, image_id: str, **more: Any) -> dict[str, Any]:
    container = {"name": "main", "image": image, "imagePullPolicy": more.pop("policy", "IfNotPresent")}
    return {
        "metadata": {"namespace": "shop", "name": f"web-{node}", **more},
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "main", "imageID": image_id}]},
    }


@pytest.mark.parametrize("image", ["r.example/web:1", "web:1", "web"])
def test_a_tag_that_moved_is_told_with_its_nodes_and_digests(image: str) -> None:
    name = {"r.example/web:1": "r.example/web"}.get(image, "docker.io/library/web")
    short = {"r.example/web:1": "r.example/web"}.get(image, "web")
    # As containerd and as cri-dockerd say it.
    pods = [running("n1", image, f"{name}@{DIGEST}"), running("n2", image, f"docker-pullable://{short}@{OTHER}")]
    (finding,) = moved([*pods, running("n3", image, f"docker-pullable://{short}@{DIGEST}")])
    assert finding.id == "image-tag-moved"
    assert finding.evidence.startswith(f"{image} is not one image in this cluster: ")
    assert f"{DIGEST} on n1 (shop/web-n1), n3 (shop/web-n3); {OTHER} on n2 (shop/web-n2)" in finding.evidence


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # The same one in both forms.
        (f"web@{DIGEST}", f"docker-pullable://web@{DIGEST}"),
        # The digest of the configuration says nothing about that of the manifest.
        (f"docker.io/library/web@{DIGEST}", f"docker://{OTHER}"),
        (f"docker://{DIGEST}", f"docker://{OTHER}"),
        (DIGEST, OTHER),
        # Docker names an image by the first of the repositories it knows it from.
        (f"web@{DIGEST}", f"docker-pullable://mirror.example/web@{OTHER}"),
        (f"web@{DIGEST}", ""),
    ],
)
def test_what_cannot_be_compared_is_no_tag_that_moved(one: str, other: str) -> None:
    assert list(moved([running("n1", "web:1", one), running("n2", "web:1", other)])) == []


def test_pods_that_end_and_images_that_are_never_pulled_or_named_by_digest_are_no_tag_that_moved() -> None:
    there = running("n1", "web:1", f"web@{DIGEST}")
    ended = running("n2", "web:1", f"web@{OTHER}")
    ended["status"]["phase"] = "Succeeded"
    others = [ended, running("n3", "web:1", f"web@{OTHER}", deletionTimestamp="2026-11-27T10:00:00Z")]
    others += [running("n4", "web:1", f"web@{OTHER}", policy="Never"), running("n5", "web:2", f"web@{OTHER}")]
    others += [running("n6", f"web:1@{OTHER}", f"web@{OTHER}"), running("n7", f"web:1@{DIGEST}", f"web@{DIGEST}")]
    assert list(moved([there, *others])) == []


@pytest.mark.parametrize(
    ("image", "message", "told"),
    [
        (f"r.example/web:1@{DIGEST}", "failed to resolve reference: r.example/web: not found", True),
        (f"r.example/web:1@{DIGEST}", "manifest for it not found: manifest unknown: manifest unknown", True),
        ("r.example/web:1", "manifest unknown", False),
        (f"r.example/web:1@{DIGEST}", "dial tcp: i/o timeout", False),
    ],
)
def test_a_digest_that_the_registry_does_not_have_is_told(image: str, message: str, told: bool) -> None:
    pod = running("n1", image, "")
    pod["status"] = {
        "containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ErrImagePull", "message": message}}}]
    }
    assert ("r.example has no image with this one" in unserved(pod, "")) is told
