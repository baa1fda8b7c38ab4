import io
import os
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import systemd
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.apt import upstream_version
from ansible_collections.kubestrap.cluster.plugins.modules import docker_runtime
from ansible_collections.kubestrap.cluster.plugins.modules.containerd_runtime import ContainerdRuntime
from ansible_collections.kubestrap.cluster.plugins.modules.docker_runtime import (
    DockerRuntime,
    extract_binary,
    is_in_place,
)


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


def test_a_program_that_a_power_cut_left_empty_is_not_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docker_runtime.docker, "CRI_DOCKERD_HOME", tmp_path)
    binary = tmp_path / "new" / "cri-dockerd"
    older = tmp_path / "older" / "cri-dockerd"
    assert not is_in_place(binary)
    docker_runtime._place(older, b"older")
    docker_runtime._place(binary, b"program")
    assert is_in_place(binary)
    assert not older.parent.exists()
    assert os.access(binary, os.X_OK)
    for content in (b"", b"progra", b"program.", b"\0" * 7):
        binary.write_bytes(content)
        assert not is_in_place(binary)
        docker_runtime._place(binary, b"program")
    binary.unlink()
    assert not is_in_place(binary)
    # One that an earlier version placed has nothing beside it to compare with.
    binary.write_bytes(b"program")
    for beside in ("", "\n"):
        docker_runtime._digest_beside(binary).write_text(beside)
        assert not is_in_place(binary)
    docker_runtime._digest_beside(binary).unlink()
    assert not is_in_place(binary)


@pytest.mark.parametrize(("secrets", "mode"), [(True, 0o600), (False, 0o640)])
def test_settings_with_a_secret_are_read_by_root_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secrets: bool, mode: int
) -> None:
    for name in ("DAEMON_JSON", "LAST_ASKED"):
        monkeypatch.setattr(docker_runtime, name, str(tmp_path / name))
    monkeypatch.setattr(docker_runtime.docker, "LAST_ASKED", str(tmp_path / "LAST_ASKED"))
    (tmp_path / "DAEMON_JSON").write_text("{}")
    (tmp_path / "DAEMON_JSON").chmod(0o640)
    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type] - all it takes
    runtime.settings, runtime.has_secrets = {"log-opts": {"splunk-token": "abcd"}}, secrets
    runtime._write_settings({}, runtime.settings)
    assert stat.S_IMODE((tmp_path / "DAEMON_JSON").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "LAST_ASKED").stat().st_mode) == 0o600


def test_containers_that_a_restart_ended_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    mine, gone = (
        docker_runtime.docker.Container(name, name, "image", removed=name == "gone") for name in ("mine", "gone")
    )
    found = iter([[mine, gone], []])
    monkeypatch.setattr(docker_runtime.docker, "survives_restart", lambda _: False)
    monkeypatch.setattr(docker_runtime.docker, "own_containers", lambda _: next(found))
    monkeypatch.setattr(docker_runtime.systemd, "restart", lambda *_, **__: None)
    monkeypatch.setattr(docker_runtime, "execute", lambda *_: (1, "", "no such image\n"))
    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.module = SimpleNamespace(check_mode=False, warn=lambda _: None)
    runtime.changes = Changes(runtime.module)
    runtime._restart("new settings")
    assert [finding.id for finding in runtime.changes.findings] == ["container-stopped", "container-gone"]


def test_docker_that_does_not_say_what_it_runs_is_not_restarted() -> None:
    asked: list[list[str]] = []

    class Module:
        check_mode = False

        def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
            asked.append(command[3:])  # behind `timeout`
            return 1, "", "Cannot connect to the Docker daemon"

        def fail_json(self, *, msg: str) -> None:
            raise SystemExit(msg)

    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.module = Module()
    runtime.changes = Changes(runtime.module)
    with pytest.raises(SystemExit, match="Cannot connect to the Docker daemon"):
        runtime._restart("its proxy is another")
    assert {words[0] for words in asked} == {"docker"}


def test_settings_of_a_shape_that_docker_does_not_take_are_refused_also_before_there_is_a_docker() -> None:
    def fail(msg: str) -> None:
        raise SystemExit(msg)

    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.module = SimpleNamespace(fail_json=fail)
    runtime.settings = {"registry-mirrors": "https://mirror.example"}
    with pytest.raises(SystemExit, match=r"cluster_docker_settings.*registry-mirrors.*a list"):
        runtime._understood_settings(validate=False)


@pytest.mark.parametrize(
    ("socket", "expected"),
    [
        ("inactive", ["stop cri-docker.service", "start cri-docker.socket", "start cri-docker.service"]),
        ("active", ["restart cri-docker.service"]),
    ],
)
def test_cri_dockerd_that_opens_its_socket_by_itself_is_stopped_before_ours_starts(
    socket: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(docker_runtime.look, "own_units", dict)

    class Module:
        check_mode = False

        def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
            asked.append(" ".join(command[-2:]))
            return 0, "", ""

    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.module = Module()
    runtime.changes = Changes(runtime.module)
    active = {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"}
    runtime.units = {docker_runtime.DOCKER: active, "cri-docker.service": active}
    runtime.units["cri-docker.socket"] = {**active, "ActiveState": socket}
    runtime.started = runtime.started_cri = SimpleNamespace(differs=lambda *_: False, note=lambda: None)
    runtime.proxy = SimpleNamespace(is_left=lambda: False, forget=lambda _: None)
    runtime._services({}, {}, proxy_changed=False, replaced=True)
    assert asked == expected


def test_another_unit_of_cri_dockerd_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    directory = docker_runtime.UNITS
    units = {
        f"{directory}/cri-docker.service": "ExecStart=/usr/local/lib/cri-dockerd/1/cri-dockerd",
        f"{directory}/cri-dockerd.service": "[Service]\nExecStart=/usr/local/bin/cri-dockerd --network-plugin=cni",
        f"{directory}/cri-old.service": "[Service]\nExecStart=/opt/cri-dockerd",
        f"{directory}/watch.service": "[Service]\nExecStart=/opt/watch\n# cri-dockerd",
    }
    states = {"cri-dockerd.service": {"ActiveState": "active"}, "cri-old.service": {"ActiveState": "inactive"}}
    monkeypatch.setattr(docker_runtime.look, "own_units", lambda: units)
    monkeypatch.setattr(docker_runtime.systemd, "show", lambda _module, names: {one: states[one] for one in names})
    monkeypatch.setattr(docker_runtime, "run", lambda _module, command, **_: asked.append(" ".join(command)))
    runtime: Any = DockerRuntime.__new__(DockerRuntime)
    runtime.module = SimpleNamespace(check_mode=False)
    runtime.changes = Changes(runtime.module)
    runtime._stop_others()
    assert asked == ["systemctl disable --now --quiet cri-dockerd.service"]


class Unit:
    """A file that a unit was started with, and the note of it; `Proxy` and `StartedWith` as far as they matter."""

    def __init__(self) -> None:
        self.file, self.noted = "proxy", "proxy"

    def is_left(self) -> bool:
        return self.file == "proxy"

    def differs(self, *_: str) -> bool:
        return self.noted != self.file

    def forget(self, _: Any) -> None:
        self.file = "none"

    def note(self) -> None:
        self.noted = self.file


@pytest.mark.parametrize("kind", [DockerRuntime, ContainerdRuntime])
def test_a_proxy_that_goes_restarts_the_runtime_once(monkeypatch: pytest.MonkeyPatch, kind: type) -> None:
    restarts = []
    for name in ("enable", "start"):
        monkeypatch.setattr(systemd, name, lambda *_: None)
    monkeypatch.setattr(systemd, "restart", lambda *_, reason, **__: restarts.append(reason))
    unit = Unit()
    state = {"ActiveState": "active", "NeedDaemonReload": "no"}
    for _ in range(2):
        runtime = kind.__new__(kind)
        runtime.module = SimpleNamespace(check_mode=False)
        runtime.changes, runtime.proxy, runtime.started = {}, unit, unit
        if kind is DockerRuntime:
            runtime.started_cri = SimpleNamespace(differs=lambda *_: False, note=lambda: None)
            runtime.units = dict.fromkeys((docker_runtime.DOCKER, "cri-docker.socket", "cri-docker.service"), state)
            monkeypatch.setattr(runtime, "_restart", restarts.append)
            monkeypatch.setattr(runtime, "_stop_others", lambda: None)
            runtime._services({}, {}, proxy_changed=False, replaced=False)
        else:
            runtime.unit = state
            monkeypatch.setattr(runtime, "_prove", lambda: None)
            runtime._service(proxy_changed=False)
    assert restarts == ["its proxy is another"]
