"""Two images are the same when all that is in them is, whatever describes them."""

import copy
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import content, differences

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
