"""local-path's manifest fitted to a cluster."""

import yaml
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.local_path import fit
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import Wishes

DIGEST = "sha256:" + "ab" * 32


def test_class_of_volumes_is_the_default_and_its_helper_has_a_version() -> None:
    helper = {"kind": "Pod", "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"helperPod.yaml": yaml.safe_dump(helper)}}
    storage_class = {"kind": "StorageClass", "metadata": {"name": "local-path"}}
    config, storage_class = fit([config, storage_class], Wishes("mirror.example", {}))
    assert storage_class["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    (container,) = yaml.safe_load(config["data"]["helperPod.yaml"])["spec"]["containers"]
    assert container["image"] == "mirror.example/library/busybox:1.37.0"


def test_the_helper_that_makes_directories_has_its_digest_too() -> None:
    helper = {"kind": "Pod", "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
    config = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"helperPod.yaml": yaml.safe_dump(helper)}}
    (config,) = fit([config], Wishes("docker.io", {"busybox:1.37.0": DIGEST}))
    (container,) = yaml.safe_load(config["data"]["helperPod.yaml"])["spec"]["containers"]
    assert container["image"] == f"docker.io/library/busybox:1.37.0@{DIGEST}"
