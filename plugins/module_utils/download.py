"""Fetch what a host needs by URL, verified, with a message a person can act on when that fails.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import hashlib
import http.client
import platform
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import urlsplit

from ansible_collections.kubestrap.cluster.plugins.module_utils import proxy

if TYPE_CHECKING:
    from http.client import HTTPMessage

ATTEMPTS = 3
PAUSE_SECONDS = 2
# Without a byte.
TIMEOUT_SECONDS = 15
# For all attempts together: the largest file at 1.2 Mbit/s.
DEADLINE_SECONDS = 900
# Bytes. The largest thing we fetch, minikube, has 130 MB.
MOST = 512 * 1024 * 1024
BLOCK = 64 * 1024
PROXY_REFUSES = (
    "the proxy wants a user and a password, or other ones. Write them into its address (cluster_http_proxy, "
    "cluster_https_proxy): http://USER:PASSWORD@NAME:PORT."
)
SCHEMES = ("http", "https")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class DownloadError(Exception):
    """A download did not arrive, or is not what was asked for; the text is the message for the user."""


def architecture() -> str:
    """Return the architecture as download addresses and packages name it: amd64, arm64."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def fetch(url: str, *, sha256: str | None = None, most: int = MOST, seconds: float = DEADLINE_SECONDS) -> bytes:
    """Return what is at a URL.

    Args:
        url: Address, http or https; the proxy of the module applies, or else the host's own settings.
        sha256: Expected digest in hex; None for content that is verified in another way.
        most: How many bytes it may have. Not one more is kept.
        seconds: How long it may take, all attempts together, however slowly the server sends.

    Raises:
        DownloadError: The server cannot be reached, refuses, is too slow, or sends something else or too much.
    """
    if urlsplit(url).scheme not in SCHEMES:
        raise DownloadError(f"{url} is not an address that can be fetched: it begins with neither https: nor http:.")
    content = _within(url, most, seconds)
    if sha256 is not None:
        actual = hashlib.sha256(content).hexdigest()
        if actual != sha256.lower():
            raise DownloadError(
                f"{url} was downloaded ({len(content)} bytes), but its SHA-256 is {actual}, not {sha256.lower()}. "
                "Nothing of it was used. Either the address serves another version, or something on the way changed "
                "it: correct the address or the digest."
            )
    return content


def _within(url: str, most: int, seconds: float) -> bytes:
    # A thread, because nothing else ends a name server, a handshake or a line of headers that comes byte by byte.
    download = _Download(url, most, seconds)
    thread = threading.Thread(target=download.run, daemon=True)
    thread.start()
    thread.join(seconds)
    download.abandoned = thread.is_alive()
    if download.abandoned:
        raise DownloadError(
            f"{url} did not arrive within {seconds:g} s ({download.received} bytes so far). Check the network and the "
            "proxy on the way, or point the address at a mirror that is nearer."
        )
    if download.failure is not None:
        raise download.failure
    return download.content


class _Download:
    """One download with its attempts, on a thread of its own."""

    def __init__(self, url: str, most: int, seconds: float) -> None:
        self.url, self.most = url, most
        self.until = time.monotonic() + seconds
        self.content = b""
        self.received = 0
        self.abandoned = False
        self.failure: Optional[BaseException] = None

    def run(self) -> None:
        try:
            self.content = self._patiently()
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            self.failure = error

    def _patiently(self) -> bytes:
        url = self.url
        cause: Exception | None = None
        opener = urllib.request.build_opener(proxy.handler(), _Redirects())
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE_SECONDS)
            try:
                with opener.open(url, timeout=TIMEOUT_SECONDS) as answer:
                    return self._read(answer)
            except urllib.error.HTTPError as error:
                error.close()
                cause = error
                if error.code == http.client.PROXY_AUTHENTICATION_REQUIRED:
                    raise DownloadError(f"{url} cannot be fetched: {PROXY_REFUSES}") from error
                if error.code < http.client.INTERNAL_SERVER_ERROR:
                    meaning = (
                        "there is no such file there"
                        if error.code == http.client.NOT_FOUND
                        else "the server, or a proxy on the way to it, refuses"
                    )
                    raise DownloadError(f"{url} answers {error.code} {error.reason}: {meaning}.") from error
            except ValueError as error:
                raise DownloadError(f"{url} is not an address that can be fetched: {error}") from error
            except (OSError, http.client.HTTPException) as error:
                cause = error
                if "Tunnel connection failed: 407" in str(error):
                    raise DownloadError(f"{url} cannot be fetched: {PROXY_REFUSES}") from error
        reason = getattr(cause, "reason", cause)
        way = proxy.on_the_way(url)
        raise DownloadError(
            f"{url} cannot be reached from this host{f' through the proxy {way}' if way else ''} ({reason}; tried "
            f"{ATTEMPTS} times). Check the host's network, proxy and DNS, or point the address at a mirror the host "
            "can reach."
        ) from cause

    def _read(self, answer: Any) -> bytes:
        # Python itself says nothing when a body that is read in parts ends early.
        promised = answer.length
        blocks: list[bytes] = []
        self.received = 0
        while not self.abandoned:
            if (promised or 0) > self.most or self.received > self.most:
                raise DownloadError(
                    f"{self.url} is larger than the {self.most} bytes that what is expected there can have. It was "
                    "not used: check the address."
                )
            block = answer.read1(BLOCK)
            if not block:
                break
            blocks.append(block)
            self.received += len(block)
        if promised is not None and self.received < promised:
            raise http.client.IncompleteRead(b"", promised - self.received)
        return b"".join(blocks)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows as urllib does, but not from an encrypted address to an open one, and to no other kind of address."""

    def redirect_request(  # noqa: PLR0917 - the signature it has
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in SCHEMES or (before == "https" and after != "https"):
            raise DownloadError(
                f"{req.full_url} sends this host on to {after}://{urlsplit(newurl).hostname}, and not by https. It "
                "was not followed: give the address where the file really is."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)
