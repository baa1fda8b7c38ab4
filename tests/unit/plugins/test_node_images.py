"""Two images are the same when their content is, whatever describes them."""

from typing import Any

from ansible_collections.kubestrap.cluster.plugins.action.node_images import RUNTIMES, _content

LAYERS = ["sha256:1", "sha256:2"]
DOCKER = {
    "Id": "sha256:9",
    "Created": "2026-11-24T11:46:12.5Z",
    "Config": {"Entrypoint": ["java"], "Cmd": None, "Env": ["A=b"], "Labels": {}},
    "RootFS": {"Type": "layers", "Layers": LAYERS},
}
# What crictl says of an image in containerd: the image's own configuration, as the specification of OCI writes it.
OCI = {
    "created": "2026-11-24T11:46:12.5Z",
    "config": {"Entrypoint": ["java"], "Env": ["A=b"]},
    "rootfs": {"type": "layers", "diff_ids": LAYERS},
}


def found(runtime: str, answer: Any) -> Any:
    """The image in the answer of a runtime."""
    for key in RUNTIMES[runtime].image:
        answer = answer[key]
    return answer


def test_an_image_is_the_same_in_docker_and_in_containerd() -> None:
    docker = found("docker", [DOCKER])
    containerd = found("containerd", {"status": {"id": "sha256:9"}, "info": {"imageSpec": OCI}})
    assert _content(docker) == _content(containerd)


def test_another_layer_or_another_command_makes_another_image() -> None:
    assert _content(OCI) != _content({**OCI, "rootfs": {"diff_ids": LAYERS[:1]}})
    assert _content(OCI) != _content({**OCI, "config": {**OCI["config"], "Cmd": ["-v"]}})
