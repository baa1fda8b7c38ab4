"""local-path makes volumes of directories on the nodes."""

from __future__ import annotations

from ansible_collections.kubestrap.cluster.plugins.module_utils import kubernetes_yaml
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import (
    Objects,
    Wishes,
    as_addon,
    containers,
    wished_image,
)

# Upstream names no version of the image that makes and removes directories; it needs a shell, mkdir and rm.
HELPER_IMAGE = "docker.io/library/busybox:1.37.0"


def fit(objects: Objects, wishes: Wishes) -> Objects:
    """Return the objects of local-path for this cluster: its class of volumes is the default one."""
    objects = as_addon("local-path", objects, wishes)
    for obj in objects:
        if obj["kind"] == "StorageClass":
            annotations = obj["metadata"].setdefault("annotations", {})
            annotations["storageclass.kubernetes.io/is-default-class"] = "true"
        if obj["kind"] == "ConfigMap" and "helperPod.yaml" in obj.get("data", {}):
            helper = kubernetes_yaml.load(obj["data"]["helperPod.yaml"])
            for container in containers(helper):
                container["image"] = wished_image(HELPER_IMAGE, wishes)
            obj["data"]["helperPod.yaml"] = kubernetes_yaml.dump(helper)
    return objects
