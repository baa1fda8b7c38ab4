"""The HTTP proxy through which a host reaches other places: for downloads, for a service of systemd.

A proxy's address may hold a user and a password. So modules take it as `no_log`, files with one are root's alone, and
services read it from a file, because systemd shows everybody what is in a unit.
Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional
from urllib.parse import unquote, urlsplit

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

# User and password as Go and curl take them (RFC 3986, 3.2.1), but for quotes, which end a word of settings.
_ADDRESS = re.compile(
    r"http://(?:(?:[A-Za-z0-9._~!$&()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)
LAST_PORT = 65535
NO_ADDRESS = "(not an address)"


def address(value: Any) -> str:
    """Return the address of a proxy; the type of a module's parameter.

    Raises:
        ValueError: It is none. What it is instead is not said: there may be a password in it.
    """
    found = _ADDRESS.fullmatch(str(value))
    if str(value) and not (found and _is_place(found["host"], found["port"])):
        raise ValueError(
            "it must be http://name:port or http://user:password@name:port (cluster_http_proxy, cluster_https_proxy), "
            "with %40 for an @, %23 for a #, %2F for a /, %3A for a : and %25 for a % in user or password"
        )
    return str(value)


ARGUMENT = {
    "type": "dict",
    "default": {},
    "options": {
        "http": {"type": address, "default": "", "no_log": True},
        "https": {"type": address, "default": "", "no_log": True},
        "no_proxy": {"type": "list", "elements": "str", "default": []},
    },
}
ENVIRONMENT = "/etc/kubestrap/proxy.env"
# Where a host keeps what every login gets; ours among them.
HOST_ENVIRONMENT = "/etc/environment"
CONNECT_SECONDS = 5
NAMES = ("http_proxy", "https_proxy", "no_proxy")


class Proxy:
    """The proxy of a host, or none."""

    def __init__(self, asked: Optional[dict[str, Any]]) -> None:
        """Take the parameter of a module that is declared as ARGUMENT."""
        asked = asked or {}
        self.addresses: dict[str, str] = {scheme: asked[scheme] for scheme in ("http", "https") if asked.get(scheme)}
        self.no_proxy: list[str] = asked.get("no_proxy") or []

    def __bool__(self) -> bool:
        """Tell whether there is one."""
        return bool(self.addresses)

    @property
    def mode(self) -> int:
        """Return the permissions of a file that holds its addresses: there may be a password in them."""
        return 0o600 if any("@" in address for address in self.addresses.values()) else 0o644

    def use(self) -> None:
        """Let this module and the programs it starts go through it; without one, as the host itself does."""
        if not self:
            return
        for name in NAMES:
            os.environ.pop(name.upper(), None)
            os.environ.pop(name, None)
        os.environ.update({f"{scheme}_proxy": address for scheme, address in self.addresses.items()})
        os.environ["no_proxy"] = ",".join(self.no_proxy)

    def for_service(self, changes: Changes, unit: str) -> bool:
        """Let a service use it from its next start on; return whether that was a change.

        Without one, the unit forgets it; the caller restarts it where `is_left` says so, and calls `forget` then.
        """
        if not self:
            return changes.absent(drop_in(unit))
        modes = {ENVIRONMENT: self.mode}
        files = self._service_files(unit)
        written = [changes.file(path, content, mode=modes.get(path, 0o644)) for path, content in files.items()]
        return any(written)

    def is_new_to(self, unit: str) -> bool:
        """Tell whether a service that runs is to use another proxy than it was told to use by us."""
        if not self:
            return Path(drop_in(unit)).exists() or self.is_left()
        return any(read_text(path) != content for path, content in self._service_files(unit).items())

    def _service_files(self, unit: str) -> dict[str, str]:
        lines = [f'{scheme.upper()}_PROXY="{address}"' for scheme, address in self.addresses.items()]
        lines.append(f'NO_PROXY="{",".join(self.no_proxy)}"')
        # In this order: a unit that names a file which is not there does not start.
        return {
            ENVIRONMENT: "".join(f"{line}\n" for line in lines),
            drop_in(unit): f"[Service]\nEnvironmentFile={ENVIRONMENT}\n",
        }

    def is_left(self) -> bool:
        """Tell whether services may still run with a proxy that is asked for no more."""
        return not self and Path(ENVIRONMENT).exists()

    def forget(self, changes: Changes) -> None:
        """Remove what services read; last, so that a run that was cut goes on from there."""
        if not self:
            changes.absent(ENVIRONMENT)

    def problem(self, urls: Iterable[str] = ()) -> str:
        """Return why the proxy cannot be used from this host, empty when it answers.

        Args:
            urls: What will be fetched: without a proxy of ours, those that the host itself has on the way there count.
        """
        own = [] if self else [address for address in (_address_for(url) for url in urls) if address]
        for address in dict.fromkeys([*self.addresses.values(), *own]):
            place = shown(address)
            host, _, port = place.rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
            except OSError as error:
                whose = "" if self else f", which this host has in its own settings ({_where(address)}),"
                return f"The proxy {place}{whose} does not answer this host ({error})."
        return ""


def handler() -> urllib.request.ProxyHandler:
    """Return what leads a download through the proxy in use: the module's, or that of the host's own settings."""
    addresses = urllib.request.getproxies()
    no_proxy = [entry.strip() for entry in addresses.pop("no", "").split(",") if entry.strip()]
    return _Handler({scheme: addresses[scheme] for scheme in ("http", "https") if addresses.get(scheme)}, no_proxy)


def on_the_way(url: str) -> str:
    """Return host:port of the proxy through which a URL is fetched now, empty when there is none."""
    address = _address_for(url)
    return shown(address) if address else ""


def open_directly(request: urllib.request.Request | str, *, timeout: float, context: ssl.SSLContext) -> Any:
    """Ask something on this cluster's own hosts, whatever proxy the host has for the rest of the world.

    Raises:
        OSError: No answer within so many seconds, or one that is an error.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    return opener.open(request, timeout=timeout)


def drop_in(unit: str) -> str:
    """Return the path of what adds the proxy to a unit."""
    return f"/etc/systemd/system/{unit}.d/kubestrap-proxy.conf"


def shown(address: str) -> str:
    """Return host:port of a proxy's address, which is what messages name: the rest may be a secret."""
    scheme, _, rest = address.rpartition("://")
    # A person's own setting may be anything; what is before the last @ is never shown.
    found = re.fullmatch(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?/?", rest.rpartition("@")[2])
    return f"{found[1]}:{found[2] or {'https': 443}.get(scheme, 80)}" if found else NO_ADDRESS


def is_direct(host: str, no_proxy: Iterable[str], port: int | str = "") -> bool:
    """Tell whether a host is reached without the proxy, by the rules of Go's programs: Docker, containerd, kubeadm.

    Args:
        host: Name or address, without brackets or with.
        no_proxy: The entries of the list. Source of their meaning: golang.org/x/net/http/httpproxy.
        port: Where it is asked; some entries are about one port.
    """
    host = host.lower().strip("[]")
    address = _ip(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_goes_around(entry.strip().lower(), host, address, str(port)) for entry in no_proxy)


def without(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment without proxies, for programs that only talk to the cluster."""
    return {name: value for name, value in environment.items() if name.lower() not in NAMES}


def _address_for(url: str) -> str:
    used = handler()
    assert isinstance(used, _Handler)  # noqa: S101 - what handler() makes
    return "" if _goes_directly(url, used.no_proxy) else used.addresses.get(urlsplit(url).scheme, "")


def _where(address: str) -> str:
    """Return where the host's own settings say so: the file, or the variable alone."""
    names = [name for name in os.environ if name.lower() in NAMES and os.environ[name] == address]
    try:
        in_file = address in Path(HOST_ENVIRONMENT).read_text(encoding="utf-8", errors="replace")
    except OSError:
        in_file = False
    return f"{' and '.join(names) or 'its environment'}{f' in {HOST_ENVIRONMENT}' if in_file else ''}"


def _goes_around(entry: str, host: str, address: Any, port: str) -> bool:
    if entry == "*":
        return True
    if "/" in entry:
        return address is not None and _holds(entry, address)
    found = re.fullmatch(r"\[(.*)\]:(\d*)|([^:]*):(\d*)", entry)
    name, wanted_port = (found[1] or found[3] or "", found[2] or found[4] or "") if found else (entry, "")
    if not name or wanted_port not in {"", port}:
        return False
    of_entry = _ip(name)
    if of_entry is not None or address is not None:
        return bool(of_entry == address)
    # A domain means all below it, and itself unless it starts with a dot.
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _holds(entry: str, address: Any) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _ip(text: str) -> Any:
    """Return an address, an IPv4 one for what IPv6 writes for it; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_place(host: str, port: Optional[str]) -> bool:
    good_host = not host.startswith("[") or (":" in host and _ip(host.strip("[]")) is not None)
    return good_host and (port is None or 0 < int(port) <= LAST_PORT)


def _goes_directly(url: str, no_proxy: list[str]) -> bool:
    parts = urlsplit(url)
    return is_direct(parts.hostname or "", no_proxy, parts.port or {"https": 443}.get(parts.scheme, 80))


class _Handler(urllib.request.ProxyHandler):
    """urllib's own, by the rules of Go for what is reached directly; urllib's are others."""

    def __init__(self, addresses: dict[str, str], no_proxy: list[str]) -> None:
        super().__init__(addresses)
        self.addresses = addresses
        self.no_proxy = no_proxy

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:  # noqa: A002, ARG002 - its names
        # Without an answer the request goes on, to wherever it says by now.
        if _goes_directly(req.full_url, self.no_proxy):
            return
        place = shown(proxy)
        if place == NO_ADDRESS:
            raise urllib.error.URLError("it must be http://name:port or http://user:password@name:port")
        login, at, _ = proxy.rpartition("://")[2].rpartition("@")
        if at:
            user, _, password = login.partition(":")
            encoded = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode()
            req.add_header("Proxy-authorization", f"Basic {encoded}")
        req.set_proxy(place, "http")
