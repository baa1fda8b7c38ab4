"""The proxy of a host: what is written where, what goes around it, and that its password stays where it is."""

import base64
import http.server
import ssl
import stat
import threading
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import download, proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy, is_direct, shown

ASKED: dict[str, Any] = {
    "http": "http://me:secret@proxy.example:3128",
    "https": "http://proxy.example:3128",
    "no_proxy": ["localhost", "10.0.0.0/8", ".svc", "::1", "mirror.example"],
}


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Changes:
    monkeypatch.setattr(apt, "PROXY", str(tmp_path / "apt"))
    monkeypatch.setattr(proxy, "ENVIRONMENT", str(tmp_path / "proxy.env"))
    monkeypatch.setattr(proxy, "drop_in", lambda unit: str(tmp_path / f"{unit}.conf"))
    return Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type] - all it takes


def test_apt_gets_addresses_and_the_names_it_understands(changes: Changes) -> None:
    apt.use_proxy(changes, Proxy(ASKED))
    assert Path(apt.PROXY).read_text().splitlines() == [
        'Acquire::http::Proxy "http://me:secret@proxy.example:3128";',
        'Acquire::https::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::localhost "DIRECT";',
        'Acquire::http::Proxy::mirror.example "DIRECT";',
        'Acquire::https::Proxy::localhost "DIRECT";',
        'Acquire::https::Proxy::mirror.example "DIRECT";',
    ]


def test_a_service_reads_the_list_as_a_whole_from_a_file_that_is_no_part_of_the_unit(changes: Changes) -> None:
    assert Proxy(ASKED).for_service(changes, "docker.service")
    assert "secret" not in Path(proxy.drop_in("docker.service")).read_text()
    assert Path(proxy.ENVIRONMENT).read_text().splitlines() == [
        'HTTP_PROXY="http://me:secret@proxy.example:3128"',
        'HTTPS_PROXY="http://proxy.example:3128"',
        'NO_PROXY="localhost,10.0.0.0/8,.svc,::1,mirror.example"',
    ]
    assert not Proxy(ASKED).for_service(changes, "docker.service")


@pytest.mark.parametrize(("http", "mode"), [(ASKED["http"], 0o600), ("http://proxy.example:3128", 0o644)])
def test_files_with_a_password_are_roots_alone(changes: Changes, http: str, mode: int) -> None:
    asked = Proxy({**ASKED, "http": http})
    apt.use_proxy(changes, asked)
    asked.for_service(changes, "docker.service")
    assert {stat.S_IMODE(Path(path).stat().st_mode) for path in (apt.PROXY, proxy.ENVIRONMENT)} == {mode}


def test_without_a_proxy_nothing_is_left_and_the_last_file_goes_last(changes: Changes) -> None:
    with_proxy, without = Proxy(ASKED), Proxy({})
    apt.use_proxy(changes, with_proxy)
    with_proxy.for_service(changes, "docker.service")
    assert not with_proxy.is_left()
    apt.use_proxy(changes, without)
    assert without.for_service(changes, "docker.service")
    # Here a service is restarted; a run that is cut before has to know that in the next one.
    assert without.is_left()
    without.forget(changes)
    assert not without.is_left()
    assert list(Path(apt.PROXY).parent.iterdir()) == []
    count = len(changes.diff)
    apt.use_proxy(changes, without)
    without.for_service(changes, "docker.service")
    without.forget(changes)
    assert len(changes.diff) == count


# What Go's own code (golang.org/x/net/http/httpproxy) answers, asked once: does this list lead around the proxy?
GO = [
    ("localhost:80", "", True),
    ("LOCALHOST:80", "", False),
    ("127.0.0.1:80", "", True),
    ("127.1.2.3:443", "", True),
    ("::1:443", "", True),
    ("10.1.2.3:443", "", False),
    ("any.example:443", "*", True),
    ("10.1.2.3:443", "*", True),
    ("10.1.2.3:443", "10.0.0.0/8", True),
    ("11.1.2.3:443", "10.0.0.0/8", False),
    ("10.1.2.3:443", "10.9.9.9/8", True),
    ("::ffff:10.1.2.3:443", "10.0.0.0/8", True),
    ("fd00::5:443", "fd00::/8", True),
    ("10.1.2.3:443", "10.1.2.3", True),
    ("10.1.2.3:443", "10.1.2.3:443", True),
    ("10.1.2.3:443", "10.1.2.3:80", False),
    ("fd00::5:443", "fd00::5", True),
    ("fd00::5:443", "[fd00::5]:443", True),
    ("fd00::5:443", "[fd00::5]:80", False),
    ("fd00::5:443", "[fd00::5]", False),
    ("foo.example:443", "foo.example", True),
    ("bar.foo.example:443", "foo.example", True),
    ("barfoo.example:443", "foo.example", False),
    ("FOO.Example:443", "foo.EXAMPLE", True),
    ("foo.example:443", ".foo.example", False),
    ("bar.foo.example:443", ".foo.example", True),
    ("foo.example:443", "*.foo.example", False),
    ("bar.foo.example:443", "*.foo.example", True),
    ("bar.foo.example:443", "*foo.example", False),
    ("foo.example:443", "foo.example:443", True),
    ("foo.example:80", "foo.example:443", False),
    ("bar.foo.example:443", ".foo.example:443", True),
    ("foo.example:443", "foo.example:", True),
    ("foo.example:443", ":443", False),
    ("foo.example:443", "other, foo.example ,x", True),
    ("foo.example:443", "", False),
    ("10.1.2.3:443", "3", False),
    ("10.1.2.3:443", ".3", False),
    ("kube-dns.kube-system.svc:443", ".svc", True),
    ("svc:443", ".svc", False),
    ("foo.example:443", "10.0.0.0/33", False),
]


@pytest.mark.parametrize(("place", "entries", "expected"), GO)
def test_what_goes_around_the_proxy_by_the_rules_of_go(place: str, entries: str, *, expected: bool) -> None:
    host, _, port = place.rpartition(":")
    # Go compares "localhost" as it was written; nobody means another host by LOCALHOST.
    assert is_direct(host, entries.split(","), port) is (expected or host == "LOCALHOST")


def test_what_goes_around_the_proxy_of_a_cluster() -> None:
    direct = ["localhost", "10.20.30.40", "kube-dns.kube-system.svc", "a.MIRROR.example"]
    others = ["11.20.30.40", "notmirror.example", "registry.k8s.io"]
    assert [host for host in [*direct, *others] if is_direct(host, ASKED["no_proxy"])] == direct


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://me:secret@proxy.example:3128", "proxy.example:3128"),
        ("http://proxy.example/", "proxy.example:80"),
        ("https://[fd00::1]", "[fd00::1]:443"),
        ("http://svc:secretpart#rest@proxy:3128", "proxy:3128"),
        ("http://svc:secretpart#rest", "(not an address)"),
        ("me:secret", "(not an address)"),
        ("proxy:3128", "proxy:3128"),
    ],
)
def test_messages_name_only_the_place(address: str, expected: str) -> None:
    assert shown(address) == expected


def test_a_proxy_that_does_not_answer_is_named_without_its_password() -> None:
    problem = Proxy({"http": "http://me:secret@127.0.0.1:1"}).problem()
    assert "127.0.0.1:1" in problem
    assert "secret" not in problem


def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.setenv(name, "")


def test_a_dead_proxy_of_the_hosts_own_settings_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_settings(monkeypatch)
    address = "http://me:secret@127.0.0.1:1"
    (tmp_path / "environment").write_text(f'https_proxy="{address}"\n')
    monkeypatch.setattr(proxy, "HOST_ENVIRONMENT", str(tmp_path / "environment"))
    monkeypatch.setenv("https_proxy", address)
    monkeypatch.setenv("no_proxy", "10.0.0.0/8,.near.example")
    problem = Proxy({}).problem(["https://pkgs.example/"])
    assert "127.0.0.1:1, which this host has in its own settings (https_proxy in" in problem
    assert "secret" not in problem
    # What is fetched without it does not need it.
    for url in ("http://pkgs.example/", "https://10.1.2.3/", "https://a.near.example/"):
        assert Proxy({}).problem([url]) == ""
    # One that is asked for is used instead.
    assert "own settings" not in Proxy({"http": "http://127.0.0.1:2"}).problem(["https://pkgs.example/"])


def test_what_is_on_the_cluster_is_asked_without_a_proxy(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with pytest.raises(urllib.error.HTTPError, match="407"):
        proxy.open_directly(f"http://{place}/readyz", timeout=5, context=ssl.create_default_context())


def test_no_program_of_the_cluster_sees_a_proxy() -> None:
    environment = {"PATH": "/bin", "HTTP_PROXY": "http://p", "https_proxy": "http://p", "No_Proxy": "x"}
    assert proxy.without(environment) == {"PATH": "/bin"}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if "Basic bWU6c2VjcmV0" in self.headers.get("Proxy-Authorization", ""):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.path.encode())
        else:
            self.send_error(407)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A proxy that demands a password; what it is asked for is its answer."""
    without_settings(monkeypatch)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_downloads_go_through_it_with_its_password(place: str) -> None:
    Proxy({"http": f"http://me:secret@{place}"}).use()
    assert download.fetch("http://upstream.example/file") == b"http://upstream.example/file"


def test_a_tunnel_goes_through_it_with_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Tunnel(http.server.BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append(f"{self.path} {self.headers.get('Proxy-Authorization')}")
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(download, "PAUSE_SECONDS", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Tunnel) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("https_proxy", f"http://me:p%40ss:w@127.0.0.1:{server.server_port}")
        monkeypatch.setenv("no_proxy", ".upstream.example,upstream.example:80")
        with pytest.raises(download.DownloadError, match="403"):
            download.fetch("https://upstream.example/file")
        server.shutdown()
    # Neither entry of the list is about this name and port.
    assert set(asked) == {f"upstream.example:443 Basic {base64.b64encode(b'me:p@ss:w').decode()}"}


def test_a_wrong_password_is_said_at_once(place: str) -> None:
    Proxy({"http": f"http://me:wrong@{place}"}).use()
    with pytest.raises(download.DownloadError, match="the proxy wants a user and a password"):
        download.fetch("http://upstream.example/file")


def test_downloads_go_around_it_where_a_network_says_so(place: str) -> None:
    Proxy({"http": "http://127.0.0.1:1", "no_proxy": ["127.0.0.0/8"]}).use()
    # Asked directly it is a server like any other.
    with pytest.raises(download.DownloadError, match="password"):
        download.fetch(f"http://{place}/file")
