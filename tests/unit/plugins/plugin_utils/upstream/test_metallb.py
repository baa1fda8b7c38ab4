"""MetalLB's manifest fitted to a cluster."""

from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import Wishes
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.metallb import fit, pool

from tests.unit.plugins.plugin_utils.upstream.objects import image_of, workload

LABEL = "kubestrap/addon"
DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def test_objects_say_which_addon_they_are_of_and_pods_do_not() -> None:
    (daemonset,) = fit([workload("DaemonSet", "quay.io/metallb/speaker:v1")], Wishes("quay.io", {}))
    assert daemonset["metadata"]["labels"] == {LABEL: "metallb"}
    assert "metadata" not in daemonset["spec"]["template"]
    assert daemonset["spec"]["template"]["spec"]["containers"][0]["args"] == ["--port=1", "--ignore-exclude-lb"]


def test_an_image_has_the_digest_that_is_demanded_of_its_name_in_the_registry_it_comes_from() -> None:
    digests = {"quay.io/metallb/speaker:v1": DIGEST, "mirror.example/metallb/speaker:v1": OTHER}
    for registry, digest in (("quay.io", DIGEST), ("mirror.example", OTHER)):
        (daemonset,) = fit([workload("DaemonSet", "quay.io/metallb/speaker:v1")], Wishes(registry, digests))
        assert image_of(daemonset) == f"{registry}/metallb/speaker:v1@{digest}"
    (daemonset,) = fit([workload("DaemonSet", "quay.io/metallb/speaker:v1")], Wishes("third.example", digests))
    assert image_of(daemonset) == "third.example/metallb/speaker:v1"


def test_pool_is_announced() -> None:
    addresses, announcement = pool(["192.0.2.1-192.0.2.9"])
    assert addresses["spec"] == {"addresses": ["192.0.2.1-192.0.2.9"]}
    assert announcement["spec"]["ipAddressPools"] == [addresses["metadata"]["name"]]
