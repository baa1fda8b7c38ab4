"""What about a machine works today and breaks a node later: files that win over ours, swap that comes back, and others.

Each rule is a function of what was read, so that it can be tried without a host. Runs on the hosts: standard library
only, Python 3.9.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import json
import re
import secrets
import socket
import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import is_loopback
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import ended

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# In the order in which a file of one wins over a file of the same name in the next (sysctl.d(5)).
SYSCTL_DIRECTORIES = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
SYSCTL_FILE = "/etc/sysctl.d/99-kubestrap.conf"
CNI_DIRECTORY = "/etc/cni/net.d"
FLANNEL_CONFIGURATION = "10-flannel.conflist"
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system")
BOOT_SCRIPTS = ("/etc/rc.local", "/etc/crontab", "/var/spool/cron/crontabs/root")
# Where people put the scripts that their units run.
OWN_PROGRAMS = ("/usr/local", "/opt", "/root", "/home", "/srv", "/etc")
SCRIPT_BYTES = 100_000
# Turning it on, not asking what is on.
SWAPON = r"\bswapon\b(?!\s+(?:-s\b|--show|--summary))"
# The C library asks no more than three, and the kubelet says so again and again.
MOST_NAMESERVERS = 3
ANSWER_SECONDS = 1.5
TIME_SERVICES = {
    "systemd-timesyn": "systemd-timesyncd",
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "ntpsec": "ntpsec",
    "openntpd": "openntpd",
}
RULES_SECONDS = 10


class Finding(NamedTuple):
    """Something to say about a machine; nothing here stops a run but what is said to."""

    id: str
    evidence: str
    fix: str
    blocker: bool = False


def sysctl_files() -> dict[str, str]:
    """Return the files of kernel settings in the order in which they are applied, each with its content."""
    by_name: dict[str, Path] = {}
    for directory in reversed(SYSCTL_DIRECTORIES):
        with contextlib.suppress(OSError):
            by_name.update({path.name: path for path in Path(directory).glob("*.conf")})
    return {str(by_name[name]): read_text(str(by_name[name])) or "" for name in sorted(by_name)}


def overridden_sysctls(files: Mapping[str, str], wanted: Mapping[str, str]) -> list[Finding]:
    """Name the files that set something else after ours, and so win at the next boot.

    Args:
        files: Files in the order in which they are applied.
        wanted: Settings by name, with dots.
    """
    last: dict[str, tuple[str, str]] = {}
    # What is not there yet will be.
    names = sorted({*files, SYSCTL_FILE}, key=lambda path: Path(path).name)
    for path in names[names.index(SYSCTL_FILE) + 1 :]:
        for line in files[path].splitlines():
            name, equals, value = line.strip().partition("=")
            name = name.strip().lstrip("-").replace("/", ".")
            if equals and name in wanted and line.strip()[:1] not in {"#", ";"}:
                last[name] = path, value.strip()
    return [
        Finding(
            "sysctl-overridden",
            f"{path} sets {name} = {value} and is read after {SYSCTL_FILE}, so that is what holds after a reboot; "
            f"Kubernetes needs {wanted[name]}.",
            f"Take the line out of {path}.",
        )
        for name, (path, value) in sorted(last.items())
        if value != wanted[name]
    ]


def cni_files() -> list[str]:
    """Return the names of the files that configure pod networks."""
    try:
        return [path.name for path in Path(CNI_DIRECTORY).iterdir()]
    except OSError:
        return []


def foreign_cni(names: Iterable[str], *, in_cluster: bool) -> list[Finding]:
    """Name configurations of other pod networks: a container runtime takes the first by name, whoever wrote it.

    Args:
        names: Files of the directory of configurations.
        in_cluster: The host is a node already: without flannel's own, one of them is what its pods run in.
    """
    known = sorted(name for name in names if name.endswith((".conf", ".conflist", ".json")))
    foreign = [name for name in known if name != FLANNEL_CONFIGURATION]
    # A later one is used as well, until flannel has written its own: by the pods that start first, such as DNS.
    if FLANNEL_CONFIGURATION in known:
        foreign = [name for name in foreign if name < FLANNEL_CONFIGURATION]
    if not foreign:
        return []
    if in_cluster and FLANNEL_CONFIGURATION not in known:
        return [
            Finding(
                "cni-foreign",
                f"This node's pods are connected by {CNI_DIRECTORY}/{foreign[0]}, which is not flannel's, and the "
                "inventory says flannel; two beside each other break both.",
                "Set cluster_pod_network to none: it stays as it is. It cannot be exchanged under running pods.",
                blocker=True,
            )
        ]
    moved = f"{CNI_DIRECTORY.rpartition('/')[0]}/net.d.before-kubernetes"
    files = " ".join(f"{CNI_DIRECTORY}/{name}" for name in foreign)
    return [
        Finding(
            "cni-foreign",
            f"{CNI_DIRECTORY} has {', '.join(foreign)}: pods would be put into that network, not into flannel's.",
            f"If nothing on this host needs it (podman may): `mkdir -p {moved}; mv {files} {moved}/`. Or set "
            "cluster_pod_network: none to keep it as the network of the cluster.",
            blocker=True,
        )
    ]


def swap_units(units: Mapping[str, str], scripts: Mapping[str, str]) -> list[Finding]:
    """Name what turns swap on at boot by itself, beside what the system itself keeps off.

    Args:
        units: Unit files, path to content.
        scripts: What else runs at boot.
    """
    runs = re.compile(rf"^\s*[^#\n]*{SWAPON}", re.MULTILINE)
    found = [
        (path, f"`systemctl disable --now {Path(path).name}`")
        for path, text in units.items()
        if _unit_swaps(path, text)
    ]
    found += [(path, "taking the line out") for path, text in scripts.items() if runs.search(text)]
    return [
        Finding(
            "swap-comes-back",
            f"{path} turns swap on when the host starts, and then kubelet does not.",
            f"Keep it off: {how}.",
        )
        for path, how in found
    ]


def _unit_swaps(path: str, text: str) -> bool:
    """Tell whether a unit turns swap on past swap.target, which is kept off."""
    if path.endswith(".swap"):
        wanted = re.findall(r"^\s*(?:WantedBy|RequiredBy)\s*=(.*)", text, re.MULTILINE)
        return any(target != "swap.target" for line in wanted for target in line.split())
    return bool(re.search(rf"^\s*ExecStart\w*\s*=.*{SWAPON}", text, re.MULTILINE))


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


def nameservers(path: str, servers: list[str], silent: Iterable[str]) -> list[Finding]:
    """Judge the name servers of a resolv.conf.

    Args:
        path: The file.
        servers: Those it names, in its order.
        silent: Those of the ones in use that do not answer.
    """
    found = []
    if len(servers) > MOST_NAMESERVERS:
        found.append(
            Finding(
                "resolver-too-many",
                f"{path} names {len(servers)} name servers; programs ask the first {MOST_NAMESERVERS} only "
                f"({', '.join(servers[:MOST_NAMESERVERS])}).",
                f"Leave {MOST_NAMESERVERS} of them that answer.",
            )
        )
    used = servers[:MOST_NAMESERVERS]
    dumb = [server for server in used if server in set(silent)]
    if dumb:
        all_of_them = len(dumb) == len(used)
        found.append(
            Finding(
                "resolver-silent",
                f"{', '.join(dumb)} in {path} {'does' if len(dumb) == 1 else 'do'} not answer"
                + (": no name can be looked up here or in pods." if all_of_them else ": each look-up waits for it."),
                "Take it out, or let this host reach it (UDP and TCP port 53).",
            )
        )
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


def clock_service(programs: Iterable[str]) -> Optional[str]:
    """Return the time service among the programs that run, by the name of its package; None when there is none.

    Args:
        programs: Names as the kernel shows them, cut after 15 characters.
    """
    return next((name for program in programs for known, name in TIME_SERVICES.items() if program == known), None)


def unsynchronised(service: Optional[str]) -> Finding:
    """Say that nothing keeps the clock right, and what to do about it."""
    if service is None:
        return Finding(
            "clock-unsynchronised",
            "No time service keeps the host's clock right.",
            "Install one, before the hosts drift apart: systemd-timesyncd or chrony.",
        )
    return Finding(
        "clock-unsynchronised",
        f"{service} runs, but has not synchronised the host's clock: it reaches no time server.",
        "Let this host reach one (UDP port 123), or name one in its configuration that it reaches.",
    )


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
