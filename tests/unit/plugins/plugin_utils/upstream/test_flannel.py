"""flannel's manifest fitted to a cluster."""

import json
from typing import Any

from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.flannel import fit
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import Wishes


def manifest() -> list[dict[str, Any]]:
    container = {"name": "kube-flannel", "image": "ghcr.io/flannel-io/flannel:v1", "args": ["--ip-masq"], "env": []}
    foreign = {"name": "install-cni", "image": "example.org/own:1"}
    daemonset = {"spec": {"template": {"spec": {"containers": [container], "initContainers": [foreign]}}}}
    network = {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
    return [
        {"kind": "ConfigMap", "data": {"net-conf.json": json.dumps(network), "cni-conf.json": "{}"}},
        {"kind": "DaemonSet", **daemonset},
    ]


def test_addresses_images_and_interface_are_ours_and_the_rest_is_flannels() -> None:
    config, daemonset = fit(manifest(), Wishes("mirror.example:5000/flannel-io/", {}, "10.50.0.0/16"))
    network = json.loads(config["data"]["net-conf.json"])
    assert network == {"Network": "10.50.0.0/16", "Backend": {"Type": "vxlan"}}
    pod = daemonset["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "mirror.example:5000/flannel-io/flannel:v1"
    assert pod["initContainers"][0]["image"] == "example.org/own:1"
    assert pod["containers"][0]["args"] == ["--ip-masq", "--iface=$(NODE_ADDRESS)"]
    assert pod["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"


def test_flannel_knows_the_api_without_kube_proxy() -> None:
    fitted = fit(manifest(), Wishes("r", {}, "10.50.0.0/16", "[fd00::1]:6443"))
    environment = fitted[1]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "KUBERNETES_SERVICE_HOST", "value": "fd00::1"} in environment
    assert {"name": "KUBERNETES_SERVICE_PORT", "value": "6443"} in environment


def test_images_have_the_digests_that_are_demanded_of_them() -> None:
    digest = "sha256:" + "ab" * 32
    digests = {"mirror.example/flannel:v1": digest, "ghcr.io/flannel-io/flannel:v1": "sha256:" + "cd" * 32}
    _, daemonset = fit(manifest(), Wishes("mirror.example", digests, "10.50.0.0/16"))
    pod = daemonset["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == f"mirror.example/flannel:v1@{digest}"
    assert pod["initContainers"][0]["image"] == "example.org/own:1"
