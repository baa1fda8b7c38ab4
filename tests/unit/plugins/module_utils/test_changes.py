"""Files on a host: what they were stays, what is written lasts, and what is not for everybody is not shown."""

import errno
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import changes as changes_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, sha256_of, write_atomically


@pytest.fixture
def changes() -> Changes:
    return Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type] - all it takes


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_link_stays_and_what_it_leads_to_is_written(changes: Changes, tmp_path: Path) -> None:
    real, link = tmp_path / "managed/daemon.json", tmp_path / "daemon.json"
    real.parent.mkdir()
    real.write_text("{}")
    link.symlink_to("managed/daemon.json")
    assert changes.file(str(link), "new", keep=True)
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert not changes.file(str(link), "new", keep=True)
    assert [path.name for path in real.parent.iterdir()] == ["daemon.json"]


def test_a_link_to_a_link_and_to_a_file_that_is_not_there_yet(changes: Changes, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(second)
    second.symlink_to("third")
    changes.file(str(first), "new", keep=True)
    assert first.is_symlink()
    assert second.is_symlink()
    assert (tmp_path / "third").read_text() == "new"


@pytest.mark.parametrize("target", ["/dev/null", "/nowhere/at/all"])
def test_a_link_to_no_file_is_replaced(changes: Changes, tmp_path: Path, target: str) -> None:
    link = tmp_path / "cri-docker.service"
    link.symlink_to(target)
    changes.file(str(link), "[Unit]\n")
    assert not link.is_symlink()
    assert link.read_text() == "[Unit]\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_a_link_of_somebody_else_is_not_followed(changes: Changes, tmp_path: Path) -> None:
    target, link = tmp_path / "shadow", tmp_path / "config"
    target.write_text("untouched")
    link.symlink_to(target)
    os.lchown(link, 1000, 1000)
    changes.file(str(link), "new")
    assert target.read_text() == "untouched"
    assert link.read_text() == "new"


@pytest.mark.parametrize("before", [0o600, 0o640, 0o444, 0o664])
def test_mode_stays_and_what_others_cannot_read_is_in_no_diff(changes: Changes, tmp_path: Path, before: int) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("password of before")
    path.chmod(before)
    changes.file(str(path), "password of after", keep=True)
    assert mode(path) == before
    assert ("password" in str(changes.diff)) == bool(before & 0o004)


def test_a_file_that_is_ours_gets_its_mode_and_still_shows_nothing(changes: Changes, tmp_path: Path) -> None:
    path = tmp_path / "proxy"
    path.write_text("password")
    path.chmod(0o600)
    changes.file(str(path), "no more", mode=0o644)
    assert mode(path) == 0o644
    assert "password" not in str(changes.diff)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root")
def test_owner_stays(changes: Changes, tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    os.chown(path, 1234, 4321)
    changes.file(str(path), "new", keep=True)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 4321)


def test_a_file_that_something_is_mounted_on_is_written_in_place(
    changes: Changes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    path = tmp_path / "daemon.json"
    path.write_text("something longer than what comes")
    inode = path.stat().st_ino
    monkeypatch.setattr(Path, "replace", busy)
    changes.file(str(path), "new", keep=True)
    assert (path.read_text(), path.stat().st_ino) == ("new", inode)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [errno.EROFS, errno.EPERM, errno.ENOSPC])
def test_what_cannot_be_written_is_said_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    said: list[str] = []

    def fail(*, msg: str) -> None:
        said.append(msg)

    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    path = tmp_path / "daemon.json"
    monkeypatch.setattr(Path, "replace", refuse)
    failing = SimpleNamespace(check_mode=False, fail_json=fail)
    with pytest.raises(OSError, match=os.strerror(error)):
        Changes(failing).file(str(path), "new")  # type: ignore[arg-type] - all it takes
    assert said[0].startswith(f"Cannot write {path}: {os.strerror(error)}")
    assert list(tmp_path.iterdir()) == []


def test_content_is_on_the_disk_before_the_name_is_and_the_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a power cut would leave, by the order of what the kernel was asked for."""
    order: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def synced(handle: int) -> None:
        status = os.fstat(handle)
        order.append("directory" if stat.S_ISDIR(status.st_mode) else f"file of {status.st_size}")
        fsync(handle)

    def renamed(self: Path, target: Any) -> Path:
        order.append("rename")
        return replace(self, target)

    monkeypatch.setattr(changes_of.os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(str(tmp_path / "program"), b"1234567", mode=0o755)
    assert order == ["file of 7", "rename", "directory"]
    # A directory made for it has a name, too.
    write_atomically(str(tmp_path / "a/b/mark"), "")
    assert order[3:] == ["file of 0", "rename", "directory", "directory", "directory"]


def test_digest_of_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "program"
    assert sha256_of(path) == ""
    path.write_bytes(b"")
    assert sha256_of(path) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_directory_is_readable_whatever_the_umask(tmp_path: Path) -> None:
    # Hardened hosts give root 027 or 077, and apt reads the keyring as a user of its own.
    before = os.umask(0o077)
    try:
        write_atomically(str(tmp_path / "keyrings/of/key.asc"), "key")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("keyrings", "keyrings/of")]
    assert modes == [0o755, 0o755]
