import io
import tarfile

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.apt import upstream_version
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError
from ansible_collections.kubestrap.cluster.plugins.modules.docker_runtime import (
    extract_binary,
    merged_settings,
    only_reload,
)


def test_fresh_host_gets_what_kubernetes_needs() -> None:
    assert merged_settings({}, {}) == {
        "exec-opts": ["native.cgroupdriver=systemd"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "100m", "max-file": "3"},
    }


def test_settings_of_the_host_stay() -> None:
    present = {
        "exec-opts": ["isolation=default"],
        "log-driver": "json-file",
        "log-opts": {"max-size": "5m"},
        "dns": ["1"],
    }
    settings = merged_settings(present, {})
    assert settings["exec-opts"] == ["isolation=default", "native.cgroupdriver=systemd"]
    assert settings["log-opts"] == {"max-size": "5m", "max-file": "3"}
    assert settings["dns"] == ["1"]


def test_what_breaks_kubernetes_is_replaced() -> None:
    present = {
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "log-driver": "syslog",
        "log-opts": {"syslog-address": "x"},
    }
    settings = merged_settings(present, {})
    assert settings["exec-opts"] == ["native.cgroupdriver=systemd"]
    assert settings["log-driver"] == "json-file"
    assert "syslog-address" not in settings["log-opts"]


def test_user_has_the_last_word_and_lists_are_replaced() -> None:
    settings = merged_settings({"mtu": 1500}, {"mtu": 1400, "log-opts": {"max-file": "9"}, "exec-opts": ["a=b"]})
    assert settings["mtu"] == 1400
    assert settings["log-opts"] == {"max-size": "100m", "max-file": "9"}
    assert settings["exec-opts"] == ["a=b"]


def test_merging_again_changes_nothing() -> None:
    wanted = {"registry-mirrors": ["https://mirror.example"], "runtimes": {"x": {"path": "/x"}}}
    once = merged_settings({"log-driver": "local", "runtimes": {"y": {"path": "/y"}}}, wanted)
    assert merged_settings(once, wanted) == once
    assert set(once["runtimes"]) == {"x", "y"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"registry-mirrors": ["m"]}, True),
        ({"debug": True}, {}, True),
        ({}, {"registry-mirrors": ["m"], "mtu": 1400}, False),
        ({"a": 1}, {"a": 1}, False),
    ],
)
def test_reload_is_enough_for_some_settings_only(
    before: dict[str, object], after: dict[str, object], *, expected: bool
) -> None:
    assert only_reload(before, after) is expected


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("path", ["cri-dockerd/cri-dockerd", "./cri-dockerd", "a/b/cri-dockerd"])
def test_binary_is_found_wherever_the_archive_has_it(path: str) -> None:
    assert extract_binary(archive(path, b"binary"), "cri-dockerd") == b"binary"


@pytest.mark.parametrize(
    ("content", "told"), [(b"<html>", "no tar archive"), (archive("README", b"text"), "holds no file cri-dockerd")]
)
def test_archive_of_something_else_is_told(content: bytes, told: str) -> None:
    with pytest.raises(DownloadError, match=told):
        extract_binary(content, "cri-dockerd")


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("26.1.5+dfsg1-9+deb13u1+b1", (26, 1, 5)),
        ("20.10.24+dfsg1-1+deb12u1+b2", (20, 10, 24)),
        ("5:28.5.2-1~debian.13~trixie", (28, 5, 2)),
        ("28.2.2-0ubuntu1~24.04.1", (28, 2, 2)),
    ],
)
def test_numbers_of_a_package_version(version: str, numbers: tuple[int, ...]) -> None:
    assert upstream_version(version) == numbers
