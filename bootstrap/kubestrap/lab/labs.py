"""Labs: made, extended, repaired, listed and removed. The engine's labels say what there is, never a file of ours."""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from kubestrap.errors import StepFailedError, UsageError
from kubestrap.lab import engine, hosts, image, machine, network
from kubestrap.lab.hosts import Host

MOST_CONTROL_PLANES = 9
MOST_WORKERS = 50
LONGEST_NAME = 40

Report = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many hosts of each kind, and whether they have a second network for the cluster."""

    control_planes: int
    workers: int
    cluster_network: bool = False


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A lab that is up.

    Attributes:
        name: Its name.
        inventory: Its inventory, ready for `kubestrap up`.
        hosts: Its hosts, control planes first.
        changed: Whether anything had to be done.
    """

    name: str
    inventory: Path
    hosts: tuple[Host, ...]
    changed: bool


def up(*, name: str, shape: Shape, system: str, variables: Sequence[Path], directory: Path, report: Report) -> Lab:
    """Make the lab, or what it lacks of this shape. What is there and works stays as it is."""
    _check(name, shape, variables)
    if system not in image.SUITES:
        raise UsageError(f"--os {system}: a lab knows {' and '.join(image.SUITES)}.")
    started = time.monotonic()
    engine.ensure_running(report)
    files = directory.resolve() / ".kubestrap/labs" / name
    _refuse_other_directory(name, files)
    machine.raise_kernel_limits(report)
    facts = machine.look()

    subnets, changed = _ensure_networks(name, files, cluster_network=shape.cluster_network)
    there = {host.name: host for host in hosts.existing(name).get(name, [])}
    wanted = {host.name: host for host in plan(name, shape, subnets[0])}
    whole = [in_both_networks(host, subnets) for host in sorted({**wanted, **there}.values(), key=hosts.order)]
    if stays := sorted(there.keys() - wanted.keys()):
        report(f"Hosts are only added, so {', '.join(stays)} stays too")
    if all(host.usable for host in whole):
        host_image = whole[0].image
    else:
        host_image = image.ensure(system, facts, report)
        if not facts.nameservers:
            report("Note: this machine knows loopback nameservers only, and pods cannot ask those")
    changed |= network.contain(_networks(name)[: len(subnets)], host_image, report)
    public_key = _ensure_key(files, name)

    def bring_up(host: Host) -> bool:
        begun = time.monotonic()
        connected = host.usable and hosts.connect(host, there[host.name], lab=name)
        if not host.usable:
            hosts.create(host, lab=name, directory=files, image=host_image, machine=facts, public_key=public_key)
        elif host.state == "exited":
            engine.docker("start", host.name)
        hosts.wait(host.name)
        if not host.usable:
            hosts.check_units(host.name)
        authorized = hosts.authorize(host.name, public_key)
        if host.state != "running":
            done = "started again" if host.usable else "ready"
            report(f"{host.name} {done} at {host.address} in {time.monotonic() - begun:.0f} s")
        return authorized or connected or host.state != "running"

    with ThreadPoolExecutor(max_workers=8) as pool:
        changed |= any([*pool.map(bring_up, whole)])
        keys = [*pool.map(lambda host: hosts.host_key(host.name), whole)]
    changed |= _write_files(name, whole, keys, files, variables)
    seconds = f"{time.monotonic() - started:.0f} s"
    report(
        f"Lab {name} is ready after {seconds}" if changed else f"Lab {name} is up already; nothing changed ({seconds})"
    )
    return Lab(name=name, inventory=files / "inventory.yml", hosts=tuple(whole), changed=changed)


def down(*, name: str, directory: Path, report: Report) -> None:
    """Remove the lab; nothing of it is left, even when the directory with its files is gone."""
    _check_name(name)
    engine.ensure_running(report)
    started = time.monotonic()
    files = _directories().get(name, directory.resolve() / ".kubestrap/labs" / name)
    mark = [f"label={hosts.LAB_LABEL}={name}"]
    containers = hosts.existing(name).get(name, [])
    volumes = [volume["Name"] for volume in engine.inspect("volume", mark)]
    networks = engine.inspect("network", mark)
    if not (containers or volumes or networks or files.exists()):
        raise UsageError(f"There is no lab {name}. {_what_there_is()}")
    hosts.remove([host.name for host in containers])
    if volumes:
        engine.docker("volume", "rm", "--force", *volumes)
    for one in _networks(name):
        network.release(one, containers[0].image if containers else None)
    for found in networks:
        engine.docker("network", "rm", found["Id"])
    shutil.rmtree(files, ignore_errors=True)
    for parent in (files.parent, files.parent.parent):
        # Runs and other labs keep them.
        with contextlib.suppress(OSError):
            parent.rmdir()
    report(f"Lab {name} is gone: {len(containers)} hosts, after {time.monotonic() - started:.0f} s")


def describe() -> list[str]:
    """The labs of this machine, a few lines each."""
    if not engine.is_running():
        return ["No lab: no container engine is running."]
    labs = hosts.existing()
    directories = _directories()
    if not directories:
        return ["No lab. Make one: kubestrap lab up"]
    lines = []
    for name, directory in sorted(directories.items()):
        file = directory / "inventory.yml"
        lines.append(f"{name}  {file if file.exists() else f'(not ready: kubestrap lab up --name {name})'}")
        lines += [f"  {host.name:<20} {host.group:<14} {host.address:<16} {host.state}" for host in labs.get(name, [])]
    return lines


def ssh(*, name: str, host: str, command: Sequence[str]) -> int:
    """Log in to a host of the lab (`demo-cp1`, or `cp1` for short), or run a command there; return its exit code."""
    _check_name(name)
    engine.ensure_running(lambda _: None)
    directory = _directories().get(name)
    if directory is None:
        raise UsageError(f"There is no lab {name}. {_what_there_is()}")
    members = {member.name: member for member in hosts.existing(name).get(name, [])}
    found = members.get(host) or members.get(f"{name}-{host}")
    if found is None:
        raise UsageError(f"Lab {name} has no host {host}. It has {', '.join(members) or 'none'}.")
    if found.state != "running" or not (directory / "key").exists():
        raise UsageError(f"{found.name} cannot be logged in to as it is. Bring it back: kubestrap lab up --name {name}")
    options = ["-i", str(directory / "key"), *shlex.split(ssh_arguments(directory))]
    # The remote shell joins its words with blanks, so each is quoted for it.
    remote = [shlex.join(command)] if command else []
    # No deadline: a person is at the other end.
    return subprocess.run(["ssh", *options, f"root@{found.address}", *remote], check=False).returncode


def plan(name: str, shape: Shape, subnet: IPv4Network) -> list[Host]:
    """The hosts of a lab. A host's address follows from its name, so that it stays when others come."""
    planes = range(1, shape.control_planes + 1)
    workers = range(1, shape.workers + 1)
    return [
        *(Host(name=f"{name}-cp{n}", group="control_plane", address=str(subnet[10 + n])) for n in planes),
        *(Host(name=f"{name}-worker{n}", group="workers", address=str(subnet[100 + n])) for n in workers),
    ]


def in_both_networks(host: Host, subnets: Sequence[IPv4Network]) -> Host:
    """The host with its address in the second network, if there is one; the last number is that of its first."""
    for subnet in subnets[1:]:
        host = replace(host, cluster_address=str(subnet[int(host.address.rpartition(".")[2])]))
    return host


def ssh_arguments(files: Path) -> str:
    """Options for ssh, as Ansible and a shell take them: this key, these host keys, no others."""
    known_hosts = str(files / "known_hosts")
    if " " in known_hosts:
        known_hosts = f'"{known_hosts}"'
    words = [f"UserKnownHostsFile={known_hosts}", "StrictHostKeyChecking=yes", "IdentitiesOnly=yes"]
    return " ".join(f"-o {shlex.quote(word)}" for word in words)


def inventory(name: str, members: Sequence[Host], files: Path) -> str:
    """The inventory of a lab, as a person would write it."""
    quoted = "'{}'".format
    escape = "''"
    lines = [
        "---",
        f"# Written by `kubestrap lab up --name {name}`. Variables of your own go to group_vars/all/ beside this file.",
        "all:",
        "  vars:",
        f"    cluster_name: {quoted(name)}",
        "    # The disk is this machine's; kubelet of these hosts counts gigabytes, not percent.",
        "    cluster_accepted_findings: [disk-low]",
        "    ansible_user: root",
        f"    ansible_ssh_private_key_file: {quoted(str(files / 'key').replace(chr(39), escape))}",
        f"    ansible_ssh_common_args: {quoted(ssh_arguments(files).replace(chr(39), escape))}",
    ]
    planes = [host.cluster_address or host.address for host in members if host.group == "control_plane"]
    if len(planes) > 1:
        # Hosts have numbers from 11 on.
        address = IPv4Network(f"{planes[0]}/24", strict=False)[9]
        lines.append(f"    cluster_api_virtual_address: {address}")
    for group in ("control_plane", "workers"):
        own = [host for host in members if host.group == group]
        lines += [f"{group}:", "  hosts:" if own else "  hosts: {}"]
        for host in own:
            second = f", cluster_node_address: {host.cluster_address}" if host.cluster_address else ""
            lines.append(f"    {host.name}: {{ansible_host: {host.address}{second}}}")
    return "\n".join(lines) + "\n"


def _check(name: str, shape: Shape, variables: Sequence[Path]) -> None:
    _check_name(name)
    if not 1 <= shape.control_planes <= MOST_CONTROL_PLANES:
        raise UsageError(f"--control-planes {shape.control_planes}: a lab has 1 to {MOST_CONTROL_PLANES}.")
    if not 0 <= shape.workers <= MOST_WORKERS:
        raise UsageError(f"--workers {shape.workers}: a lab has 0 to {MOST_WORKERS}.")
    for path in variables:
        if not path.is_file():
            raise UsageError(f"--vars {path}: there is no such file.")
        if path.suffix not in {".yml", ".yaml", ".json"}:
            raise UsageError(
                f"--vars {path}: Ansible reads variables from .yml, .yaml and .json files only; rename it."
            )
    names = [path.name for path in variables]
    for path in variables:
        if names.count(path.name) > 1:
            raise UsageError(f"--vars: two files are called {path.name}; both would become the same file of the lab.")


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME or not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name):
        raise UsageError(
            f"--name {name}: names of hosts start with it, so it takes lower-case letters, digits and '-' "
            f"(first a letter, last no '-'), {LONGEST_NAME} at most."
        )


def _directories() -> dict[str, Path]:
    """Where each lab's files are, by its name; from the labels on whatever is left of it."""
    found = {}
    mark = [f"label={hosts.LAB_LABEL}"]
    for kind in ("network", "volume", "container"):
        for thing in engine.inspect(kind, mark):
            marks = thing["Config"]["Labels"] if kind == "container" else thing["Labels"]
            found[marks[hosts.LAB_LABEL]] = Path(marks[hosts.DIRECTORY_LABEL])
    return found


def _what_there_is() -> str:
    names = sorted(_directories())
    return f"This machine has {', '.join(names)}." if names else "This machine has none. Make one: kubestrap lab up"


def _networks(name: str) -> tuple[str, str]:
    """The network every lab has, and the second one of some."""
    return name, network.cluster_network(name)


def _ensure_networks(name: str, files: Path, *, cluster_network: bool) -> tuple[list[IPv4Network], bool]:
    """Subnets of the lab's networks, and whether one had to be made. A second network stays when there is one."""
    subnets, changed = [], False
    for one, needed in zip(_networks(name), (True, cluster_network), strict=True):
        subnet = network.subnet_of(one)
        if subnet is None and needed:
            network.create(one, hosts.labels(name, files))
            changed = True
            subnet = network.subnet_of(one)
            if subnet is None:
                raise StepFailedError(f"The network {network.name_of(one)} was made and is gone again.")
        subnets += [subnet] if subnet else []
    return subnets, changed


def _write_files(
    name: str, members: Sequence[Host], keys: Sequence[str], files: Path, variables: Sequence[Path]
) -> bool:
    """Write known host keys, inventory and variables: whether a file was another."""
    known = "".join(f"{host.name},{host.address} {key}\n" for host, key in zip(members, keys, strict=True))
    texts = {files / "known_hosts": known, files / "inventory.yml": inventory(name, members, files)}
    texts |= {files / "group_vars/all" / path.name: path.read_text() for path in variables}
    written = [_write(path, text) for path, text in texts.items()]
    return any(written)


def _refuse_other_directory(name: str, files: Path) -> None:
    other = _directories().get(name, files)
    if other != files:
        raise UsageError(
            f"There is a lab {name} already; its files are in {other}. Take another --name, "
            f"or remove that one: kubestrap lab down --name {name}"
        )


def _ensure_key(files: Path, name: str) -> str:
    """The lab's public key; made when there is none."""
    files.mkdir(parents=True, exist_ok=True)
    files.chmod(0o700)
    key = files / "key"
    if not key.exists():
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"kubestrap lab {name}", "-f", str(key)]
        try:
            subprocess.run(words, check=True, capture_output=True, timeout=60)
        except FileNotFoundError:
            raise UsageError("A lab needs ssh and ssh-keygen on this machine (package openssh-client).") from None
    return key.with_suffix(".pub").read_text()


def _write(path: Path, text: str) -> bool:
    """Write a file that only its owner reads: whether it was another."""
    if path.exists() and path.read_text() == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(text)
    os.replace(unfinished, path)  # noqa: PTH105
    return True
