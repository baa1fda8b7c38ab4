"""Package repositories: what of a key reaches apt, and what happens when the repository is away."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import download
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import (
    add_repository,
    refresh_repository,
)

from tests.unit.plugins.module_utils.packages.test_openpgp import (
    ED25519_UNTIL_2030,
    OWNER,
    OWNER_FINGERPRINT,
    STRANGER,
    armoured,
    packets,
    signature,
)

EXPIRED = armoured(
    *packets(OWNER)[:3], signature(bytes.fromhex(OWNER_FINGERPRINT[-16:]), 2**31, 1), *packets(OWNER)[3:]
)


class FailedError(Exception):
    """The module ended with this message."""


class Module:
    """What is used of a module."""

    check_mode = False

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def fail_json(self, msg: str) -> None:
        raise FailedError(msg)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.fixture
def changes(module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changes:
    monkeypatch.setattr(apt, "KEYRINGS", str(tmp_path / "keyrings"))
    monkeypatch.setattr(apt, "SOURCES", str(tmp_path / "sources"))
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return Changes(module)  # type: ignore[arg-type] - all it takes


@pytest.fixture
def served() -> Iterator[SimpleNamespace]:
    """A server whose answer the test says: `content`, `status`, and its `url`."""
    answer = SimpleNamespace(content=OWNER, status=200, url="")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        answer.url = f"http://127.0.0.1:{server.server_port}/"
        yield answer
        server.shutdown()


def add(changes: Changes, url: str, *, needed: bool = False) -> tuple[str, bool]:
    return add_repository(
        changes,
        name="kubernetes",
        url=url,
        suite="/",
        key_url=f"{url}Release.key",
        key_fingerprint=" ".join(OWNER_FINGERPRINT.lower()),
        needed=needed,
    )


def key_file() -> Path:
    return Path(apt.KEYRINGS, "kubernetes.asc")


def test_the_keyring_is_made_from_what_was_checked(changes: Changes, served: SimpleNamespace) -> None:
    served.content = "Schlüssel des Spiegels\n".encode() + OWNER + b"and more words\n"
    source, changed = add(changes, served.url, needed=True)
    assert key_file().read_bytes() == OWNER
    assert f"URIs: {served.url}\n" in Path(source).read_text()
    assert changed
    assert add(changes, served.url, needed=True) == (source, False)


@pytest.mark.parametrize(
    "content", [OWNER + STRANGER, STRANGER, STRANGER + OWNER, armoured(*packets(OWNER), b"\xc6\x00")]
)
@pytest.mark.parametrize("needed", [True, False])
def test_a_key_that_is_not_the_pinned_one_is_refused_before_anything_is_written(
    changes: Changes, served: SimpleNamespace, tmp_path: Path, content: bytes, *, needed: bool
) -> None:
    served.content = content
    with pytest.raises(FailedError):
        add(changes, served.url, needed=needed)
    assert list(tmp_path.iterdir()) == []
    # Nor does a host that has the right one go on with a stranger.
    key_file().parent.mkdir()
    key_file().write_bytes(OWNER)
    with pytest.raises(FailedError):
        add(changes, served.url, needed=needed)
    assert key_file().read_bytes() == OWNER


AWAY: dict[str, dict[str, Any]] = {
    "closed port": {"url": "http://127.0.0.1:1/"},
    "no such file": {"status": 404},
    "forbidden": {"status": 403},
    "out of order": {"status": 503},
    "somebody else's page": {"content": b"<html>Please log in</html>"},
    "expired key": {"content": EXPIRED},
}


@pytest.mark.parametrize("answer", AWAY.values(), ids=AWAY)
def test_a_repository_that_is_away_is_a_warning_where_nothing_is_missing(
    changes: Changes, module: Module, served: SimpleNamespace, answer: dict[str, Any]
) -> None:
    source, _ = add(changes, served.url, needed=True)
    before = Path(source).read_text(), len(changes.diff)
    vars(served).update(answer)
    assert add(changes, served.url) == (source, False)
    assert (Path(source).read_text(), len(changes.diff)) == before
    assert "the run goes on without the repository" in module.warnings[0]
    assert [finding.id for finding in changes.findings] == ["repository-away"]


@pytest.mark.parametrize("answer", AWAY.values(), ids=AWAY)
def test_a_repository_that_is_away_ends_the_run_where_something_is_missing(
    changes: Changes, served: SimpleNamespace, answer: dict[str, Any]
) -> None:
    add(changes, served.url, needed=True)
    vars(served).update(answer)
    with pytest.raises(FailedError):
        add(changes, served.url, needed=True)


@pytest.mark.parametrize("present", [None, b"", STRANGER, OWNER + STRANGER, ED25519_UNTIL_2030])
def test_without_the_pinned_key_on_disk_a_repository_that_is_away_ends_the_run(
    changes: Changes, present: bytes | None
) -> None:
    if present is not None:
        key_file().parent.mkdir()
        key_file().write_bytes(present)
    with pytest.raises(FailedError, match="cannot be reached"):
        add(changes, "http://127.0.0.1:1/")


def test_a_key_file_that_was_written_as_served_becomes_the_key_alone(changes: Changes) -> None:
    key_file().parent.mkdir()
    key_file().write_bytes(OWNER.replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: GnuPG v2\n\n"))
    add(changes, "http://127.0.0.1:1/")
    assert key_file().read_bytes() == OWNER


def test_lists_that_cannot_be_read_end_the_run_only_when_they_are_needed(
    changes: Changes, module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "update", lambda _, *, source: f"E: {source} is not signed")
    with pytest.raises(FailedError, match="E: here is not signed"):
        refresh_repository(changes, "here", "http://mirror.example/", needed=True)
    refresh_repository(changes, "here", "http://mirror.example/", needed=False)
    assert "E: here is not signed" in module.warnings[0]
