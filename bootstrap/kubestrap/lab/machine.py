"""What this machine lets a lab do. Looked up, never assumed: laptops, servers and small virtual machines differ."""

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubestrap.lab import engine

CAP_SYS_RESOURCE = 24

# What a handful of systemd hosts with kubelets on one kernel needs; the defaults are for one machine.
KERNEL_LIMITS = {"fs.inotify.max_user_instances": 8192, "fs.inotify.max_user_watches": 1048576}


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a lab host has to live with on this machine.

    Attributes:
        cgroup_version: 1 or 2, as the engine says.
        may_raise_limits: Whether CAP_SYS_RESOURCE can be had. Without it, `--privileged` containers do not start.
        nameservers: Addresses a host can really ask, none of them loopback. Empty when only loopback ones are known.
    """

    cgroup_version: int
    may_raise_limits: bool
    nameservers: tuple[str, ...]


def look() -> Machine:
    """Look at this machine and its engine."""
    status = Path("/proc/self/status")
    resolvers = [Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")]
    return Machine(
        cgroup_version=int(engine.docker("info", "--format", "{{.CgroupVersion}}") or 1),
        may_raise_limits=may_raise_limits(status.read_text()) if status.exists() else True,
        nameservers=nameservers([path.read_text() for path in resolvers if path.exists()]),
    )


def may_raise_limits(status: str) -> bool:
    """Whether CAP_SYS_RESOURCE is in the bounding set of a /proc/PID/status."""
    found = re.search(r"^CapBnd:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is None or bool(int(found[1], 16) >> CAP_SYS_RESOURCE & 1)


def nameservers(files: Sequence[str]) -> tuple[str, ...]:
    """The nameservers of the first resolv.conf that names one which is not on the loopback interface.

    With a loopback nameserver (the engine's own 127.0.0.11, systemd-resolved's 127.0.0.53) CoreDNS asks itself.
    """
    for text in files:
        addresses = re.findall(r"^nameserver\s+([0-9A-Fa-f.:]+)", text, re.MULTILINE)
        real = tuple(address for address in addresses if not ipaddress.ip_address(address).is_loopback)
        if real:
            return real
    return ()


def raise_kernel_limits(report: Callable[[str], None]) -> None:
    """Raise what is lower than a lab needs; say so. Without root, say what is too low."""
    for name, wanted in KERNEL_LIMITS.items():
        path = Path("/proc/sys") / name.replace(".", "/")
        if not path.exists() or int(path.read_text()) >= wanted:
            continue
        if os.geteuid() == 0:
            path.write_text(str(wanted))
            report(f"Set {name} to {wanted} on this machine")
        else:
            report(f"Note: {name} is low for a lab; as root: sysctl -w {name}={wanted}")


def routes() -> list[str]:
    """Destinations of this machine's IPv4 routes, without the default route."""
    try:
        answer = subprocess.run(
            ["ip", "-4", "-json", "route"], capture_output=True, text=True, check=True, timeout=30
        ).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return []  # Not a Linux machine: the engine's own networks are what counts there.
    return [route["dst"] for route in json.loads(answer or "[]") if route["dst"] != "default"]
