"""Upstream's manifests of add-ons fitted to a cluster."""

from typing import Any

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.action.addon_manifests import (
    HELPER_IMAGE,
    fit,
    kustomize,
    pool,
    relocated,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference

from tests.conftest import ROOT

LABEL = "kubestrap/addon"
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def workload(kind: str, image: str) -> dict[str, Any]:
    container = {"name": "main", "image": image, "args": ["--port=1"]}
    spec = {"template": {"spec": {"containers": [container]}}}
    return {"kind": kind, "metadata": {"name": "main"}, "spec": spec}


def test_kustomizations_are_followed() -> None:
    service = {"kind": "Service", "metadata": {"name": "main"}, "spec": {"ports": []}}
    kustomizations = [
        {"kind": "Kustomization", "commonLabels": {"k8s-app": "metrics-server"}},
        {
            "kind": "Component",
            "images": [{"name": "staging.example/m", "newName": "registry.k8s.io/ms/m", "newTag": "v9"}],
        },
    ]
    objects = [workload("Deployment", "staging.example/m:master"), service, *kustomizations]
    deployment, service = fit("metrics-server", objects, "mirror.example:5000", {})
    assert deployment["spec"]["selector"]["matchLabels"] == {"k8s-app": "metrics-server"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"k8s-app": "metrics-server"}
    assert service["spec"]["selector"] == {"k8s-app": "metrics-server"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror.example:5000/ms/m:v9"
    assert container["args"] == ["--port=1", "--kubelet-insecure-tls"]


def test_objects_say_which_addon_they_are_of_and_pods_do_not() -> None:
    (daemonset,) = fit("metallb", [workload("DaemonSet", "quay.io/metallb/speaker:v1")], "quay.io", {})
    assert daemonset["metadata"]["labels"] == {LABEL: "metallb"}
    assert "metadata" not in daemonset["spec"]["template"]
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["args"] == ["--port=1", "--ignore-exclude-lb"]


def test_class_of_volumes_is_the_default_and_its_helper_has_a_version() -> None:
    helper = {"kind": "Pod", "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"helperPod.yaml": yaml.safe_dump(helper)}}
    storage_class = {"kind": "StorageClass", "metadata": {"name": "local-path"}}
    config, storage_class = fit("local-path", [config, storage_class], "mirror.example", {})
    assert storage_class["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    (container,) = yaml.safe_load(config["data"]["helperPod.yaml"])["spec"]["containers"]
    assert container["image"] == "mirror.example/library/busybox:1.37.0"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("busybox", "m:5000/library/busybox"),
        ("rancher/thing:v1", "m:5000/rancher/thing:v1"),
        ("quay.io/metallb/speaker:v1", "m:5000/metallb/speaker:v1"),
        ("localhost:5000/speaker:v1", "m:5000/speaker:v1"),
        (f"quay.io/metallb/speaker:v1@{DIGEST}", f"m:5000/metallb/speaker:v1@{DIGEST}"),
        (f"quay.io:443/speaker@{DIGEST}", f"m:5000/speaker@{DIGEST}"),
    ],
)
def test_only_the_registry_of_an_image_changes(image: str, expected: str) -> None:
    assert relocated(image, "m:5000/") == expected


def image_of(obj: dict[str, Any]) -> str:
    return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])


def test_an_image_has_the_digest_that_is_demanded_of_its_name_in_the_registry_it_comes_from() -> None:
    digests = {"quay.io/metallb/speaker:v1": DIGEST, "mirror.example/metallb/speaker:v1": OTHER}
    for registry, digest in (("quay.io", DIGEST), ("mirror.example", OTHER)):
        (daemonset,) = fit("metallb", [workload("DaemonSet", "quay.io/metallb/speaker:v1")], registry, digests)
        assert image_of(daemonset) == f"{registry}/metallb/speaker:v1@{digest}"
    (daemonset,) = fit("metallb", [workload("DaemonSet", "quay.io/metallb/speaker:v1")], "third.example", digests)
    assert image_of(daemonset) == "third.example/metallb/speaker:v1"


def test_the_helper_that_makes_directories_has_its_digest_too() -> None:
    helper = {"kind": "Pod", "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"helperPod.yaml": yaml.safe_dump(helper)}}
    (config,) = fit("local-path", [config], "docker.io", {"busybox:1.37.0": DIGEST})
    (container,) = yaml.safe_load(config["data"]["helperPod.yaml"])["spec"]["containers"]
    assert container["image"] == f"docker.io/library/busybox:1.37.0@{DIGEST}"


@pytest.mark.parametrize(
    ("image", "new", "expected"),
    [
        ("localhost:5000/m", {"newTag": "v9"}, "localhost:5000/m:v9"),
        ("m:v1", {"newName": "host:5000/n"}, "host:5000/n:v1"),
        (f"m:v1@{DIGEST}", {"newName": "n"}, f"n:v1@{DIGEST}"),
        (f"m:v1@{DIGEST}", {"newTag": "v2"}, "m:v2"),
        ("m:v1", {"digest": DIGEST}, f"m:v1@{DIGEST}"),
        (f"other@{DIGEST}", {"newTag": "v2"}, f"other@{DIGEST}"),
    ],
)
def test_kustomizations_rename_images_with_ports_and_digests(image: str, new: dict[str, str], expected: str) -> None:
    name = "localhost:5000/m" if image.startswith("localhost") else "m"
    said = {"kind": "Component", "images": [{"name": name, **new}]}
    (deployment,) = kustomize([workload("Deployment", image), said])
    assert image_of(deployment) == expected


def test_pins_of_the_defaults_are_for_the_images_that_are_used() -> None:
    defaults = yaml.safe_load((ROOT / "roles/cluster/defaults/main.yml").read_text())["cluster_image_digests"]
    assert relocated(HELPER_IMAGE, "docker.io") in defaults
    assert all(reference(name).tag and not reference(name).digest for name in defaults)


def test_pool_is_announced() -> None:
    addresses, announcement = pool(["192.0.2.1-192.0.2.9"])
    assert addresses["spec"] == {"addresses": ["192.0.2.1-192.0.2.9"]}
    assert announcement["spec"]["ipAddressPools"] == [addresses["metadata"]["name"]]
