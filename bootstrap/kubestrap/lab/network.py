"""The networks of a lab: bridges of its own that let no cluster address out of this machine.

Every lab has one network, called as the lab. A lab may have a second one for the traffic of the cluster.
"""

import contextlib
import hashlib
import ipaddress
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator

from kubestrap.errors import StepFailedError
from kubestrap.lab import engine, machine

# The default Service and pod ranges of a cluster. A packet to a Service without endpoints leaves its host; beyond this
# machine somebody else may use that address.
CLUSTER_RANGES = ("10.96.0.0/12", "10.244.0.0/16")

POOLS = ("10.200.0.0/16", "172.30.0.0/16", "192.168.128.0/17")


def cluster_network(lab: str) -> str:
    """The second network of a lab. No lab can have this name, because of the dot.

    The engine takes the default route from the network whose name comes first: that is the lab's own.
    """
    return f"{lab}.cluster"


def name_of(network: str) -> str:
    """Name that the engine has for a network."""
    return f"kubestrap-{network}"


def bridge_of(network: str) -> str:
    """Name of the bridge interface of a network: known from its name alone, and short enough for the kernel."""
    return "ks-" + hashlib.sha256(network.encode()).hexdigest()[:10]


def free_subnets(taken: Iterable[str]) -> Iterator[ipaddress.IPv4Network]:
    """Subnets of 254 addresses that overlap neither those taken nor a cluster's default ranges."""
    used = [ipaddress.ip_network(text, strict=False) for text in (*taken, *CLUSTER_RANGES)]
    used_4 = [network for network in used if isinstance(network, ipaddress.IPv4Network)]
    for pool in POOLS:
        for subnet in ipaddress.IPv4Network(pool).subnets(new_prefix=24):
            if not any(subnet.overlaps(other) for other in used_4):
                yield subnet


def create(network: str, labels: list[str]) -> None:
    """Make a network on the first free subnet."""
    taken = machine.routes()
    for other in engine.inspect("network"):
        taken += [config["Subnet"] for config in other["IPAM"]["Config"] or () if "Subnet" in config]
    for subnet in free_subnets(taken):
        try:
            engine.docker(
                *("network", "create", "--driver", "bridge", "--subnet", str(subnet), "--gateway", str(subnet[1])),
                *("--opt", f"com.docker.network.bridge.name={bridge_of(network)}", *labels, name_of(network)),
            )
        except StepFailedError as error:
            if "overlap" not in error.message:  # Somebody took it in this very moment.
                raise
        else:
            return
    raise StepFailedError("No free subnet for a lab: remove labs (kubestrap lab list) or unused Docker networks.")


def subnet_of(network: str) -> ipaddress.IPv4Network | None:
    """Subnet of a network, None when there is no such network."""
    for found in engine.inspect("network", [f"name=^{re.escape(name_of(network))}$"]):
        return ipaddress.IPv4Network(found["IPAM"]["Config"][0]["Subnet"])
    return None


def contain(networks: Iterable[str], image: str, report: Callable[[str], None]) -> bool:
    """Keep cluster addresses inside: whether a rule was missing and is there now."""
    changed = False
    for rule in (rule for network in networks for rule in _rules(network)):
        try:
            if not _iptables(["-C", "DOCKER-USER", *rule], image)[0]:
                _iptables(["-I", "DOCKER-USER", *rule], image, check=True)
                changed = True
        except StepFailedError as error:
            report(f"Note: packets to {' and '.join(CLUSTER_RANGES)} may leave this machine: {error.message}")
            break
    return changed


def release(network: str, image: str | None) -> None:
    """Remove the rules of a network's bridge."""
    _, listing = _iptables(["-S", "DOCKER-USER"], image)
    for line in listing.splitlines():
        words = shlex.split(line)
        if words[:1] == ["-A"] and bridge_of(network) in words:
            with contextlib.suppress(StepFailedError):
                _iptables(["-D", *words[1:]], image)


def _rules(network: str) -> list[list[str]]:
    bridge = bridge_of(network)
    # From host to host is not out: networks without encapsulation send pod addresses over the bridge.
    return [["-i", bridge, "!", "-o", bridge, "-d", target, "-j", "DROP"] for target in CLUSTER_RANGES]


def _iptables(arguments: list[str], image: str | None, *, check: bool = False) -> tuple[bool, str]:
    """Run iptables where the engine's bridges are; without root that takes a container."""
    command = ["iptables", "--wait", *arguments]
    if os.geteuid() != 0:
        if image is None:
            return False, ""
        command = ["docker", "run", "--rm", "--network", "host", "--cap-add", "NET_ADMIN", image, *command]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except FileNotFoundError:
        raise StepFailedError("there is no iptables on this machine") from None
    if check and result.returncode:
        raise StepFailedError(f"iptables failed: {result.stderr.strip()}")
    return result.returncode == 0, result.stdout
