"""Logins at registries: one file, root's alone, gone when they are asked for no more, never somebody else's."""

import json
import stat
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import credentials, kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

ASKED: list[dict[str, Any]] = [
    {"registry": "registry.example:5000", "login": {"username": "me", "password": "a:secret"}}
]


class FailedError(Exception):
    pass


def fail(*, msg: str) -> None:
    raise FailedError(msg)


@pytest.fixture
def changes() -> Changes:
    return Changes(SimpleNamespace(check_mode=False, fail_json=fail))  # type: ignore[arg-type] - all it takes


def test_written_for_root_alone_and_out_of_the_diff(changes: Changes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    credentials.converge(changes, str(path), ASKED)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert credentials.logins(str(path)) == {"registry.example:5000": "me:a:secret"}
    assert "secret\\n" not in json.dumps(changes.diff).replace("(secret)", "")
    count = len(changes.diff)
    credentials.converge(changes, str(path), ASKED)
    assert len(changes.diff) == count


def test_gone_when_none_are_asked_for(changes: Changes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    credentials.converge(changes, str(path), ASKED)
    credentials.converge(changes, str(path), [])
    assert not path.exists()


def test_what_somebody_else_wrote_stays(changes: Changes, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"auths": {"x": {"auth": "bWU6eA=="}}}')
    credentials.converge(changes, str(path), [])
    assert credentials.logins(str(path)) == {"x": "me:x"}
    with pytest.raises(FailedError, match="somebody else"):
        credentials.converge(changes, str(path), ASKED)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    """What is run; the registry gives apiserver, refuses etcd, and has pause already."""
    made: list[tuple[tuple[str, ...], dict[str, str]]] = []

    def run(*command: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        made.append((command, environment or {}))
        if "list" in command:
            return subprocess.CompletedProcess(command, 0, "r.example/apiserver:1\nother.example/etcd:3\n", "")
        refused = "inspecti" in command or "etcd" in command[-1]
        return subprocess.CompletedProcess(command, int(refused), "", "x: no basic auth credentials\n")

    monkeypatch.setattr(kubeadm, "run", run)
    return made


def test_images_of_registries_with_a_login_are_pulled_with_it(
    calls: list[tuple[tuple[str, ...], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "logins", lambda: {"r.example": "me:secret"})
    kubeadm.pull_images("init.yaml", "unix:///x")
    pulls = [(command[-1], environment) for command, environment in calls if "pull" in command]
    assert pulls == [("r.example/apiserver:1", {"CRICTL_CREDS": "me:secret"})]
    assert not any("secret" in word for command, _ in calls for word in command)


def test_a_refused_login_is_said(
    calls: list[tuple[tuple[str, ...], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "logins", lambda: {"r.example": "me:x", "other.example": "me:x"})
    with pytest.raises(kubeadm.KubeadmError, match=r"cluster_registry_credentials") as raised:
        kubeadm.pull_images("init.yaml", "unix:///x")
    assert "other.example/etcd:3" in str(raised.value)
    assert calls


def test_without_logins_kubeadm_pulls_by_itself(
    calls: list[tuple[tuple[str, ...], dict[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "logins", dict)
    kubeadm.pull_images("init.yaml", "unix:///x")
    assert calls == []
