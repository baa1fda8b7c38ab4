"""Downloads, from a real server on the loopback address."""

import hashlib
import http.server
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import ClassVar

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import download

CONTENT = b"an archive"


class Handler(http.server.BaseHTTPRequestHandler):
    failures = 0
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        Handler.asked.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path in {"/large", "/cut"}:
            self.send_response(200)
            if self.path == "/cut":
                self.send_header("Content-Length", "4000")
            self.end_headers()
            self.wfile.write(b"x" * 2000)
        elif self.path == "/flaky" and Handler.failures > 0:
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
        threading.Thread(target=http_server.serve_forever, args=(0.02,)).start()
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


def test_not_one_byte_more_than_expected_is_taken(server: str) -> None:
    assert len(download.fetch(f"{server}/large", most=2000)) == 2000
    with pytest.raises(download.DownloadError, match="larger than the 1999 bytes"):
        download.fetch(f"{server}/large", most=1999)
    with pytest.raises(download.DownloadError, match="larger than the 3999 bytes"):
        download.fetch(f"{server}/cut", most=3999)


def test_a_body_that_ends_early_is_not_taken_for_all_of_it(server: str) -> None:
    with pytest.raises(download.DownloadError, match="2000 more expected"):
        download.fetch(f"{server}/cut")


@pytest.fixture(params=["a line of headers", "a body", "nothing"])
def drip(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server that keeps the connection alive for ever and gets nowhere: a byte every tenth of a second."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    first = {"a line of headers": b"HTTP/1.0 200 OK\r\nX: ", "a body": b"HTTP/1.0 200 OK\r\n\r\n", "nothing": b""}
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            connection.recv(4096)
            connection.sendall(first[request.param])
            while not stop.wait(0.1):
                if request.param != "nothing":
                    connection.sendall(b"x")

    def accept(listener: socket.socket) -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        stop.set()


def test_slow_drip(drip: str) -> None:
    begun = time.monotonic()
    with pytest.raises(download.DownloadError, match=r"did not arrive within 0\.7 s"):
        download.fetch(drip, seconds=0.7)
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "//127.0.0.1/x", "data:,x", ""])
def test_only_http_is_fetched(url: str) -> None:
    with pytest.raises(download.DownloadError, match="not an address"):
        download.fetch(url)


def test_redirects_are_followed_on_the_same_footing(server: str) -> None:
    assert download.fetch(f"{server}/to/{server}/file") == CONTENT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://mirror.example/x", "http://mirror.example/x"),
        ("http://mirror.example/x", "file:///etc/shadow"),
        ("http://mirror.example/x", "ftp://mirror.example/x"),
    ],
)
def test_redirects_to_less_are_refused(before: str, after: str) -> None:
    request = urllib.request.Request(before)  # noqa: S310 - not opened
    with pytest.raises(download.DownloadError, match="was not followed"):
        download._Redirects().redirect_request(request, None, 302, "Found", Message(), after)


def test_a_redirect_to_a_file_of_the_host_is_refused(server: str) -> None:
    with pytest.raises(download.DownloadError, match="not allowed"):
        download.fetch(f"{server}/to/file:///etc/hostname")


def test_a_proxy_of_the_host_that_is_no_address_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)
    monkeypatch.setenv("http_proxy", "http://svc:secretpart")
    with pytest.raises(download.DownloadError, match="it must be http://name:port") as told:
        download.fetch("http://upstream.example/file")
    assert "secretpart" not in str(told.value)
