"""What a host is, as a value that can be written as JSON: everything that the rules beside this file judge.

Looking changes nothing. Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import ctypes
import json
import os
import platform
import re
import secrets
import socket
import ssl
import struct
import subprocess
import time
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice, living_cluster, network
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import in_container, read_os_release
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import CONTROL_PLANE_PARTS
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import server_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import (
    is_loopback,
    is_taken,
    own_addresses,
    parse_listeners,
    parse_nameservers,
    parse_routes,
    why_unreachable,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import ended
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import open_directly

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SYSTEMD = Path("/run/systemd/system")
KUBELET_CONF = Path("/etc/kubernetes/kubelet.conf")
ADMIN_CONF = Path("/etc/kubernetes/admin.conf")
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
MANIFESTS = Path("/etc/kubernetes/manifests")
CONTROL_PLANE_PORTS = {
    6443: "the Kubernetes API",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
    2379: "etcd",
    2380: "etcd",
}
NODE_PORTS = {10250: "kubelet"}
OTHER_DISTRIBUTIONS = {
    "/var/lib/rancher/k3s": "k3s",
    "/var/lib/rancher/rke2": "RKE2",
    "/var/lib/k0s": "k0s",
    "/var/snap/microk8s": "MicroK8s",
}
# In the order in which a file of one wins over a file of the same name in the next (sysctl.d(5)).
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
CNI_DIRECTORY = "/etc/cni/net.d"
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
BOOT_SCRIPTS = ("/etc/rc.local", "/etc/crontab", "/var/spool/cron/crontabs/root")
# Where people put the scripts that their units run.
OWN_PROGRAMS = ("/usr/local", "/opt", "/root", "/home", "/srv", "/etc")
SCRIPT_BYTES = 100_000
# The C library asks no more than three, and the kubelet says so again and again.
MOST_NAMESERVERS = 3
ANSWER_SECONDS = 1.5
RULES_SECONDS = 10
TIME_ERROR = 5


@dataclass(frozen=True)
class View:
    """A host; by default one about which there is nothing to say.

    Attributes:
        disk_free: GiB of /var; disk_percent is the same as a share.
        routes: Network and interface of each, the default route left out.
        joined: The host is a node. control_plane: it runs an API server. parts: it has the manifest of any part of a
            control plane. static_pods: it has any manifest.
        cluster: What it says of its cluster (living_cluster.look).
        api_ready: Its own API server says that it is ready; None when there is none.
        api_server: host:port that its kubelet knows; node_ip: the address that it was told to use.
        held: What is gone for good when it leaves its cluster (advice.worth).
        distributions: Other distributions of Kubernetes, path to name.
        bridge_used: Containers of somebody use a bridge of an old pod network.
        resolver: The file whose name servers count; silent: those of them that do not answer.
        sysctl_files: In the order in which they are applied. scripts: what runs at boot beside units.
        clock_offset: Seconds by which the host's clock is ahead of the operator's.
        clock_free: The kernel says that nothing keeps its clock.
        programs: Names of processes as the kernel shows them, cut after 15 characters.
        ports: Port and program of those who listen where Kubernetes wants to; the name is empty when unknown.
    """

    system: dict[str, str] = field(default_factory=lambda: {"ID": "debian", "VERSION_ID": "13"})
    processor: str = "x86_64"
    systemd: bool = True
    container: bool = False
    cpus: int = 2
    memory_mib: int = 4096
    disk_free: float = 50.0
    disk_percent: float = 50.0
    swaps: list[str] = field(default_factory=list)
    hostname: str = "h1"
    default_address: str = "192.0.2.1"
    addresses: list[str] = field(default_factory=lambda: ["192.0.2.1"])
    routes: list[list[str]] = field(default_factory=lambda: [["192.0.2.0/24", "eth0"]])
    joined: bool = False
    control_plane: bool = False
    parts: bool = False
    static_pods: bool = False
    cluster: Optional[dict[str, Any]] = None
    api_ready: Optional[bool] = None
    api_server: str = ""
    node_ip: str = ""
    held: list[str] = field(default_factory=list)
    distributions: dict[str, str] = field(default_factory=dict)
    bridge_used: bool = False
    control_plane_problem: str = ""
    resolver: str = "/etc/resolv.conf"
    nameservers: list[str] = field(default_factory=lambda: ["192.0.2.53"])
    silent: list[str] = field(default_factory=list)
    sysctl_files: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    scripts: dict[str, str] = field(default_factory=dict)
    cni_files: list[str] = field(default_factory=list)
    clock_offset: int = 0
    clock_free: bool = False
    programs: list[str] = field(default_factory=list)
    kernel: str = "6.12.0"
    cgroup_version: int = 2
    missing_features: list[str] = field(default_factory=list)
    ports: list[tuple[int, str]] = field(default_factory=list)
    virtual_address_answers: bool = False
    firewalls: list[str] = field(default_factory=list)


def look(params: Mapping[str, Any]) -> View:
    """Look at this host.

    Args:
        params: The parameters of the module preflight.
    """
    processes = running()
    programs = sorted(set(processes.values()))
    default_address, addresses = network.default_address(), sorted(own_addresses())
    joined, control_plane = KUBELET_CONF.exists(), (MANIFESTS / "kube-apiserver.yaml").exists()
    api_ready: Optional[bool] = None
    if control_plane:
        endpoint = server_of(read_text(str(ADMIN_CONF)) or "")
        address = params["node_address"] or default_address
        api_ready = api_is_ready(address, int(endpoint.rpartition(":")[2] or 6443))
    memory = re.search(r"MemTotal:\s+(\d+) kB", read_text("/proc/meminfo") or "")
    disk = os.statvfs("/var")
    node_ip = re.search(r"--node-ip=([^\s\"]+)", read_text(KUBELET_FLAGS) or "")
    control = params["control_plane_address"]
    resolver, nameservers = name_resolution()
    units = own_units()
    virtual = params["virtual_address"] if params["control_plane"] else ""
    reference = params["reference_time"]
    release = platform.release()
    return View(
        system=read_os_release(),
        processor=platform.machine(),
        systemd=SYSTEMD.is_dir(),
        container=in_container(),
        cpus=len(os.sched_getaffinity(0)),
        memory_mib=int(memory[1]) // 1024 if memory else 0,
        disk_free=disk.f_bavail * disk.f_frsize / 2**30,
        disk_percent=100 * disk.f_bavail / max(disk.f_blocks, 1),
        swaps=[line.split()[0] for line in (read_text("/proc/swaps") or "").splitlines()[1:]],
        hostname=socket.gethostname(),
        default_address=default_address,
        addresses=addresses,
        routes=[[str(route.network), route.interface] for route in parse_routes(read_text("/proc/net/route") or "")],
        joined=joined,
        control_plane=control_plane,
        # One that lost a manifest is a control plane all the same, and beside it no cluster is made.
        parts=any((MANIFESTS / f"{part}.yaml").exists() for part in CONTROL_PLANE_PARTS),
        static_pods=any(MANIFESTS.glob("*.yaml")),
        cluster=living_cluster.look(is_control_plane=control_plane, api_ready=bool(api_ready)),
        api_ready=api_ready,
        api_server=server_of(read_text(str(KUBELET_CONF)) or ""),
        node_ip=node_ip[1] if node_ip else "",
        held=advice.worth(running=programs),
        distributions={path: name for path, name in OTHER_DISTRIBUTIONS.items() if Path(path).exists()},
        bridge_used=not joined and advice.bridge_is_used(),
        control_plane_problem=why_unreachable(control, 6443) if control else "",
        resolver=resolver,
        nameservers=nameservers,
        silent=silent_nameservers(nameservers),
        sysctl_files=sysctl_files(),
        units=units,
        scripts=boot_scripts(units),
        cni_files=cni_files(),
        # Rounded, and the way here took a moment.
        clock_offset=round(time.time() - reference) if reference else 0,
        clock_free=clock_is_free(),
        programs=programs,
        kernel=release,
        cgroup_version=2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        missing_features=missing_features(release),
        ports=listening({**NODE_PORTS, **(CONTROL_PLANE_PORTS if params["control_plane"] else {})}, processes),
        # Where there is a cluster already it is ours, or that of a control plane that is not looked at now.
        virtual_address_answers=bool(virtual and not joined and virtual not in addresses and is_taken(virtual)),
        firewalls=firewalls(programs),
    )


def api_is_ready(address: str, port: int) -> bool:
    """Tell whether the API server of this host says that it is ready, which anybody may ask."""
    # What it says is not trusted with anything, so who says it is not checked.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001 - there is no public name
    try:
        with open_directly(f"https://{address}:{port}/readyz", timeout=5, context=context) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def name_resolution() -> tuple[str, list[str]]:
    """Return the file whose name servers count, and these: those behind systemd-resolved, when it is asked."""
    upstream, path = "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf"
    servers = parse_nameservers(read_text(path) or "")
    behind = parse_nameservers(read_text(upstream) or "")
    if any(map(is_loopback, servers)) and behind and not any(map(is_loopback, behind)):
        return upstream, behind
    return path, servers


def clock_is_free() -> bool:
    """Tell whether the kernel says that nothing keeps its clock synchronised."""
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.adjtimex(ctypes.create_string_buffer(512)) == TIME_ERROR)
    except (OSError, AttributeError):
        return False


def missing_features(release: str) -> list[str]:
    """Return what Kubernetes needs and this kernel has neither built in nor as a module."""
    modules = Path("/lib/modules", release)
    known = (read_text(f"{modules}/modules.dep") or "") + (read_text(f"{modules}/modules.builtin") or "")
    present = {
        "overlay": "\toverlay\n" in (read_text("/proc/filesystems") or ""),
        "br_netfilter": Path("/proc/sys/net/bridge").is_dir(),
    }
    return [name for name, there in present.items() if not there and f"/{name}.ko" not in known]


def listening(ports: Iterable[int], processes: Mapping[str, str]) -> list[tuple[int, str]]:
    """Return those of the ports on which somebody listens, each with the program's name; empty when nobody has it.

    Args:
        ports: The ports.
        processes: Names of processes by ID.
    """
    sockets = {
        **parse_listeners(read_text("/proc/net/tcp6") or ""),
        **parse_listeners(read_text("/proc/net/tcp") or ""),
    }
    return [(port, _owner(sockets[port], processes)) for port in sorted(set(ports) & sockets.keys())]


def _owner(inode: str, before: Mapping[str, str]) -> str:
    link = f"socket:[{inode}]"
    # Those that have just started are not among the processes of the first look.
    for processes in (before, running()):
        for pid, name in processes.items():
            if link in _open_files(pid):
                return name
    return ""


def running() -> dict[str, str]:
    """Return the names of all processes by ID."""
    names = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            # The process may end meanwhile.
            with contextlib.suppress(OSError):
                name = (read_text(f"/proc/{entry.name}/comm") or "").strip()
                if name:
                    names[entry.name] = name
    return names


def _open_files(pid: str) -> set[str]:
    try:
        entries = list(Path("/proc", pid, "fd").iterdir())
    except OSError:  # The process ended meanwhile.
        return set()
    found = set()
    for entry in entries:
        with contextlib.suppress(OSError):  # The file was closed meanwhile.
            found.add(str(entry.readlink()))
    return found


def firewalls(programs: Iterable[str]) -> list[str]:
    """Return what filters packets on this host, in words."""
    ufw = re.search(r"^ENABLED=yes", read_text("/etc/ufw/ufw.conf") or "", re.MULTILINE | re.IGNORECASE)
    active = [*(["ufw"] if ufw else []), *(["firewalld"] if "firewalld" in programs else [])]
    # What these two have in the kernel is theirs.
    return active or [f"{chain} drops what it does not accept" for chain in foreign_chains()]


def sysctl_files() -> dict[str, str]:
    """Return the files of kernel settings in the order in which they are applied, each with its content."""
    by_name: dict[str, Path] = {}
    for directory in reversed(SYSCTL_DIRECTORIES):
        with contextlib.suppress(OSError):
            by_name.update({path.name: path for path in Path(directory).glob("*.conf")})
    return {str(by_name[name]): read_text(str(by_name[name])) or "" for name in sorted(by_name)}


def cni_files() -> list[str]:
    """Return the names of the files that configure pod networks."""
    try:
        return [path.name for path in Path(CNI_DIRECTORY).iterdir()]
    except OSError:
        return []


def own_units() -> dict[str, str]:
    """Return the unit files that do not come with the system."""
    found = {}
    for directory in UNIT_DIRECTORIES:
        with contextlib.suppress(OSError):
            for path in (path for kind in ("service", "swap") for path in Path(directory).glob(f"*.{kind}")):
                with contextlib.suppress(OSError):
                    found[str(path)] = read_text(str(path)) or ""
    return found


def boot_scripts(units: Mapping[str, str]) -> dict[str, str]:
    """Return what else runs at boot, and the scripts that unit files of the host's own run."""
    ours = re.compile(rf"^\s*ExecStart\w*\s*=.*?((?:{'|'.join(OWN_PROGRAMS)})/[^\s\"';]+)", re.MULTILINE)
    found = {}
    for path in dict.fromkeys([*BOOT_SCRIPTS, *(path for text in units.values() for path in ours.findall(text))]):
        with contextlib.suppress(OSError, ValueError):
            with Path(path).open("rb") as file:
                start = file.read(SCRIPT_BYTES)
            # A program is no text, and what it does cannot be read.
            if not start.startswith(b"\x7fELF"):
                found[path] = start.decode(errors="replace")
    return found


def silent_nameservers(servers: list[str]) -> list[str]:
    """Ask each of the name servers that are used one question, all at once; return those without any answer."""
    used = [server for server in servers[:MOST_NAMESERVERS] if not is_loopback(server)]
    if not used:
        return []
    with concurrent.futures.ThreadPoolExecutor(len(used)) as pool:
        return [server for server, answered in zip(used, pool.map(answers, used)) if not answered]


def answers(server: str) -> bool:
    """Tell whether something says anything on the port of DNS, be it a refusal."""
    identifier = secrets.randbits(16)
    # Where the root's name servers are: what every resolver knows, and no secret of anybody.
    question = struct.pack("!HHHHHH", identifier, 0x0100, 1, 0, 0, 0) + b"\0" + struct.pack("!HH", 2, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    # Datagrams get lost without a fault.
    for _attempt in range(2):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.settimeout(ANSWER_SECONDS)
            udp.connect((server, 53))
            udp.send(question)
            if udp.recv(512)[:2] == question[:2]:
                return True
    return False


def dropping_chains(ruleset: str) -> list[str]:
    """Return the chains of nftables that drop what none of their rules accepts on its way through or into the host.

    Args:
        ruleset: What `nft --json list ruleset` prints; that of iptables is part of it.
    """
    try:
        entries = json.loads(ruleset)["nftables"]
    except (ValueError, KeyError, TypeError):
        return []
    chains = [
        entry["chain"]
        for entry in entries
        if entry.get("chain", {}).get("hook") in {"forward", "input"} and entry["chain"].get("policy") == "drop"
    ]
    # Docker's own, and those the pod network has its rules in, let the pods through.
    through = {
        (rule["family"], rule["table"], rule["chain"])
        for rule in (entry.get("rule", {}) for entry in entries)
        if rule and re.search(r'"target": "(DOCKER|FLANNEL-FWD|KUBE-FORWARD|ufw|FORWARD_)', json.dumps(rule))
    }
    return [
        f"{chain['family']} {chain['table']} {chain['name']}"
        for chain in chains
        if (chain["family"], chain["table"], chain["name"]) not in through
    ]


def dropping_policy(rules: str) -> list[str]:
    """Return the same for what `iptables -S` prints, where there is no nft."""
    return [
        f"iptables {chain}"
        for chain in ("INPUT", "FORWARD")
        if f"-P {chain} DROP" in rules.splitlines()
        and not re.search(rf"^-A {chain} .*-j (DOCKER|FLANNEL-FWD|KUBE-FORWARD|ufw|FORWARD_)", rules, re.MULTILINE)
    ]


def foreign_chains() -> list[str]:
    """Look for such chains on this host; none where neither program is there or answers."""
    ruleset = _said_by("nft", "--json", "list", "ruleset")
    return dropping_chains(ruleset) if ruleset is not None else dropping_policy(_said_by("iptables", "-S") or "")


def _said_by(*command: str) -> Optional[str]:
    try:
        # Not on everybody's path.
        where = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
        done = ended(command, seconds=RULES_SECONDS, environment=where)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
