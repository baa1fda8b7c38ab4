"""Downloads, from a real server on the loopback address."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import download

CONTENT = b"an archive"


class Handler(http.server.BaseHTTPRequestHandler):
    failures = 0

    def do_GET(self) -> None:
        if self.path == "/flaky" and Handler.failures > 0:
            Handler.failures -= 1
            self.send_error(503)
        elif self.path in {"/file", "/flaky"}:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(CONTENT)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever).start()
        yield f"http://127.0.0.1:{http_server.server_port}"
        http_server.shutdown()


def test_right_content_arrives(server: str) -> None:
    assert download.fetch(f"{server}/file", sha256=hashlib.sha256(CONTENT).hexdigest().upper()) == CONTENT


def test_other_content_is_refused_with_both_digests(server: str) -> None:
    with pytest.raises(download.DownloadError, match="0000") as raised:
        download.fetch(f"{server}/file", sha256="0" * 64)
    assert hashlib.sha256(CONTENT).hexdigest() in str(raised.value)


def test_missing_file_is_told_at_once(server: str) -> None:
    with pytest.raises(download.DownloadError, match="404"):
        download.fetch(f"{server}/nothing")


def test_server_that_stumbles_is_asked_again(server: str) -> None:
    Handler.failures = 2
    assert download.fetch(f"{server}/flaky") == CONTENT


def test_unreachable_server_is_named(server: str) -> None:
    port = server.rsplit(":", 1)[1]
    url = f"http://127.0.0.1:{'1' if port != '1' else '2'}/file"
    with pytest.raises(download.DownloadError, match="cannot be reached") as raised:
        download.fetch(url)
    assert url in str(raised.value)


def test_what_is_no_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(download.DownloadError, match="not an address"):
        download.fetch(tmp_path.name)
