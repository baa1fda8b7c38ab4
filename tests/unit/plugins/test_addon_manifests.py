"""Upstream's manifests of add-ons fitted to a cluster."""

from typing import Any

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.action.addon_manifests import fit, pool, relocated

LABEL = "kubestrap/addon"


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
    deployment, service = fit("metrics-server", objects, "mirror.example:5000")
    assert deployment["spec"]["selector"]["matchLabels"] == {"k8s-app": "metrics-server"}
    assert deployment["spec"]["template"]["metadata"]["labels"] == {"k8s-app": "metrics-server"}
    assert service["spec"]["selector"] == {"k8s-app": "metrics-server"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror.example:5000/ms/m:v9"
    assert container["args"] == ["--port=1", "--kubelet-insecure-tls"]


def test_objects_say_which_addon_they_are_of_and_pods_do_not() -> None:
    (daemonset,) = fit("metallb", [workload("DaemonSet", "quay.io/metallb/speaker:v1")], "quay.io")
    assert daemonset["metadata"]["labels"] == {LABEL: "metallb"}
    assert "metadata" not in daemonset["spec"]["template"]
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["args"] == ["--port=1", "--ignore-exclude-lb"]


def test_class_of_volumes_is_the_default_and_its_helper_has_a_version() -> None:
    helper = {"kind": "Pod", "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"helperPod.yaml": yaml.safe_dump(helper)}}
    storage_class = {"kind": "StorageClass", "metadata": {"name": "local-path"}}
    config, storage_class = fit("local-path", [config, storage_class], "mirror.example")
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
    ],
)
def test_only_the_registry_of_an_image_changes(image: str, expected: str) -> None:
    assert relocated(image, "m:5000/") == expected


def test_pool_is_announced() -> None:
    addresses, announcement = pool(["192.0.2.1-192.0.2.9"])
    assert addresses["spec"] == {"addresses": ["192.0.2.1-192.0.2.9"]}
    assert announcement["spec"]["ipAddressPools"] == [addresses["metadata"]["name"]]
