"""Fetch what a host needs by URL, verified, with a message a person can act on when that fails.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import hashlib
import http.client
import platform
import time
import urllib.error
import urllib.request

ATTEMPTS = 3
PAUSE_SECONDS = 2
TIMEOUT_SECONDS = 15
PROXY_REFUSES = (
    "the proxy wants a user and a password, or other ones. Write them into its address (cluster_http_proxy, "
    "cluster_https_proxy): http://USER:PASSWORD@NAME:PORT."
)
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class DownloadError(Exception):
    """A download did not arrive, or is not what was asked for; the text is the message for the user."""


def architecture() -> str:
    """Return the architecture as download addresses and packages name it: amd64, arm64."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def fetch(url: str, *, sha256: str | None = None) -> bytes:
    """Return what is at a URL.

    Args:
        url: Address; the proxy of the module applies, or else the host's own settings.
        sha256: Expected digest in hex; None for content that is verified in another way.

    Raises:
        DownloadError: The server cannot be reached, refuses, or sends something else.
    """
    content = _fetch_patiently(url)
    if sha256 is not None:
        actual = hashlib.sha256(content).hexdigest()
        if actual != sha256.lower():
            raise DownloadError(
                f"{url} was downloaded ({len(content)} bytes), but its SHA-256 is {actual}, not {sha256.lower()}. "
                "Nothing of it was used. Either the address serves another version, or something on the way changed "
                "it: correct the address or the digest."
            )
    return content


def _fetch_patiently(url: str) -> bytes:
    cause: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE_SECONDS)
        try:
            # The scheme is the operator's choice: mirrors of a site are often plain HTTP, and content is verified.
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
                return bytes(answer.read())
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
    raise DownloadError(
        f"{url} cannot be reached from this host ({reason}; tried {ATTEMPTS} times). "
        "Check the host's network, proxy and DNS, or point the address at a mirror the host can reach."
    ) from cause
