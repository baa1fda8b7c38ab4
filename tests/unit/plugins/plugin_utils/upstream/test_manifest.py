"""What is done to every project's manifest."""

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.local_path import HELPER_IMAGE
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.upstream.manifest import kustomize, relocated

from tests.conftest import ROOT
from tests.unit.plugins.plugin_utils.upstream.objects import image_of, workload

DIGEST = "sha256:" + "ab" * 32


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
