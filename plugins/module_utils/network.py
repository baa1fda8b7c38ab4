"""What a host knows of its networks, and reaches in them.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import time
from typing import NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text

# A machine of the same network answers in milliseconds.
ARP_SECONDS = 0.5
ARP_COMPLETE = 0x2
REACH_SECONDS = 3


class Route(NamedTuple):
    """One entry of the kernel's table of IPv4 routes."""

    network: ipaddress.IPv4Network
    interface: str


def parse_routes(text: str) -> list[Route]:
    """Return the routes in the text of /proc/net/route, the default route left out."""
    routes = []
    for line in text.splitlines()[1:]:
        interface, destination, _, _, _, _, _, mask = line.split()[:8]
        if int(mask, 16) == 0:
            continue
        address, netmask = (".".join(str(byte) for byte in bytes.fromhex(word)[::-1]) for word in (destination, mask))
        routes.append(Route(ipaddress.IPv4Network(f"{address}/{netmask}", strict=False), interface))
    return routes


def network_of(address: str, routes: list[Route]) -> str:
    """Return the network of a host's address; the address alone where the host has no route to neighbours."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    around = [route.network for route in routes if parsed in route.network]
    return str(max(around, key=lambda network: network.prefixlen)) if around else address


def parse_listeners(text: str) -> dict[int, str]:
    """Return the inodes of listening sockets by port, from the text of /proc/net/tcp or tcp6."""
    listeners = {}
    for line in text.splitlines()[1:]:
        words = line.split()
        if words[3] == "0A":
            listeners[int(words[1].rsplit(":", 1)[1], 16)] = words[9]
    return listeners


def parse_nameservers(text: str) -> list[str]:
    """Return the addresses in the text of a resolv.conf."""
    return re.findall(r"^\s*nameserver\s+(\S+)", text, re.MULTILINE)


def is_loopback(address: str) -> bool:
    """Tell whether an address is the host itself."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return False


def source_address(destination: str) -> str:
    """Return the own address the kernel would send from; empty without a route. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((destination, 9))
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
        return address


def default_address() -> str:
    """Return the address of this host on its default route, empty when it has none."""
    return source_address("192.0.2.1")


def why_unreachable(address: str, port: int) -> str:
    """Return why packets to an address do not get there; empty when they do, even if nothing listens yet."""
    try:
        socket.create_connection((address, port), timeout=REACH_SECONDS).close()
    except ConnectionRefusedError:
        return ""
    except OSError as error:
        return str(error)
    return ""


def own_addresses() -> set[str]:
    """Return the addresses of the host, loopback and those of pod networks left out."""
    local: set[str] = set()
    previous = ""
    for line in (read_text("/proc/net/fib_trie") or "").splitlines():
        if "/32 host LOCAL" in line:
            local.add(previous)
        previous = line.split()[-1] if line.strip() else ""
    for line in (read_text("/proc/net/if_inet6") or "").splitlines():
        words = line.split()
        local.add(str(ipaddress.IPv6Address(int(words[0], 16))))
    return {
        address for address in local
        if not is_loopback(address) and not ipaddress.ip_address(address).is_link_local
    }  # fmt: skip


def is_taken(address: str) -> bool:
    """Tell whether some machine of the network has an address: it answers to ARP, whatever its firewall says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            # One packet to a port nobody listens on: the kernel must find the machine to send it.
            udp.sendto(b"", (address, 9))
        except OSError:
            return False
    deadline = time.monotonic() + ARP_SECONDS
    while time.monotonic() < deadline:
        for line in (read_text("/proc/net/arp") or "").splitlines()[1:]:
            words = line.split()
            if words[0] == address and int(words[2], 16) & ARP_COMPLETE:
                return True
        time.sleep(0.05)
    return False
