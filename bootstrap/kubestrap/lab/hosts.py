"""One host of a lab: a container that runs systemd and sshd."""

import io
import json
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from kubestrap.errors import StepFailedError
from kubestrap.lab import engine, network
from kubestrap.lab.machine import Machine

LAB_LABEL = "kubestrap.lab"
GROUP_LABEL = "kubestrap.lab.group"
DIRECTORY_LABEL = "kubestrap.lab.directory"

BOOT_SECONDS = 180
# All hosts live on the disk of this machine, and most of it may be in use: kubelet must count what is free, not the
# share of a disk that is not the host's. By its defaults it evicts pods and deletes images on any disk 85 % full.
_KUBELET = (
    'KUBELET_EXTRA_ARGS="--eviction-hard=memory.available<100Mi,nodefs.available<1Gi,imagefs.available<1Gi '
    '--image-gc-high-threshold=100"\n'
)
_KUBELET_UNIT = "[Service]\nEnvironmentFile=/usr/local/lib/lab/kubelet\n"


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host as it should be, or as the engine has it.

    Attributes:
        name: Name of the host and of its container.
        group: Its inventory group.
        address: Its IPv4 address.
        cluster_address: Its IPv4 address in the lab's second network; empty when it has none there.
        state: What the engine calls it: `running`, `exited`...; empty for a host that does not exist yet.
        image: The engine's ID of the image it was made from; empty for a host that does not exist yet.
    """

    name: str
    group: str
    address: str
    cluster_address: str = ""
    state: str = ""
    image: str = ""

    @property
    def usable(self) -> bool:
        """Whether it was made completely, so that it only has to run."""
        return self.state in {"running", "exited"}


def labels(lab: str, directory: Path) -> list[str]:
    """Options that mark a container, volume or network as part of a lab."""
    return ["--label", f"{LAB_LABEL}={lab}", "--label", f"{DIRECTORY_LABEL}={directory}"]


def privileges(machine: Machine) -> list[str]:
    """Options that make a container as free as a machine, as far as this machine lets it be."""
    if machine.may_raise_limits:
        options = ["--privileged"]
    else:
        # What --privileged means, without the capability that cannot be had.
        options = ["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE"]
        for profile in ("seccomp", "apparmor", "systempaths"):
            options += ["--security-opt", f"{profile}=unconfined"]
        options += ["--device-cgroup-rule", "a *:* rwm", "--device", "/dev/kmsg"]
    options.append("--cgroupns=private")
    if machine.cgroup_version == 1:
        # systemd from 256 on wants to be asked for version 1.
        options += ["--env", "SYSTEMD_PROC_CMDLINE=SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]
    return options


def create(host: Host, *, lab: str, directory: Path, image: str, machine: Machine, public_key: str) -> None:
    """Make the host anew and start it."""
    remove([host.name])
    volume = f"{host.name}-var"
    engine.docker("volume", "create", *labels(lab, directory), volume)
    engine.docker(
        *("create", "--name", host.name, "--hostname", host.name, *labels(lab, directory)),
        *("--label", f"{GROUP_LABEL}={host.group}"),
        *("--network", network.name_of(lab), "--ip", host.address, "--stop-signal", "SIGRTMIN+3"),
        *privileges(machine),
        *("--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp"),  # noqa: S108
        *("--volume", f"{volume}:/var", image),
    )
    resolver = "".join(f"nameserver {address}\n" for address in machine.nameservers)
    files = {
        "root/.ssh/authorized_keys": (public_key, 0o600),
        "usr/local/lib/lab/resolv.conf": (resolver, 0o644),
        "usr/local/lib/lab/kubelet": (_KUBELET, 0o644),
        "etc/systemd/system/kubelet.service.d/20-lab.conf": (_KUBELET_UNIT, 0o644),
    }
    engine.docker("cp", "-", f"{host.name}:/", stdin=_archive(files))
    connect(host, lab=lab)
    engine.docker("start", host.name)


def connect(host: Host, there: Host | None = None, *, lab: str) -> bool:
    """Put the host into the lab's second network, if it is to be there and is not: whether that was done."""
    if host.cluster_address == (there.cluster_address if there else ""):
        return False
    second = network.name_of(network.cluster_network(lab))
    engine.docker("network", "connect", "--ip", host.cluster_address, second, host.name)
    return True


def authorize(name: str, public_key: str) -> bool:
    """Let a running host accept the lab's key: whether it did not."""
    script = 'grep -qxF "$(cat)" /root/.ssh/authorized_keys'
    command = ["exec", "-i", name, "sh", "-c"]
    try:
        engine.docker(*command, script, stdin=public_key.encode())
    except StepFailedError:
        engine.docker(*command, "cat >> /root/.ssh/authorized_keys", stdin=public_key.encode())
        return True
    return False


def wait(name: str) -> None:
    """Wait until the host has booted.

    Raises:
        StepFailedError: it does not get there, or has units that failed.
    """
    deadline = time.monotonic() + BOOT_SECONDS
    while not engine.succeeds("exec", name, "systemctl", "is-active", "--quiet", "multi-user.target"):
        if time.monotonic() > deadline or not _is_running(name):
            log = engine.docker("logs", "--tail", "5", name)
            raise StepFailedError(f"{name} did not boot within {BOOT_SECONDS} s.", details=log.splitlines())
        time.sleep(0.2)


def check_units(name: str) -> None:
    """Refuse a new host on which a unit failed: nothing that comes later would be worth looking at."""
    failed = engine.docker("exec", name, "systemctl", "list-units", "--failed", "--plain", "--no-legend")
    if failed:
        raise StepFailedError(f"{name} booted, but units failed.", details=failed.splitlines())


def host_key(name: str) -> str:
    """The host's public key, asked for past the network."""
    words = engine.docker("exec", name, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").split()
    return " ".join(words[:2])


def existing(lab: str | None = None) -> dict[str, list[Host]]:
    """Hosts that the engine has, by lab: of this lab, or of all."""
    found: dict[str, list[Host]] = {}
    for container in engine.inspect("container", [f"label={LAB_LABEL}{'=' + lab if lab else ''}"]):
        marks = container["Config"]["Labels"]
        addresses = {
            name: (found.get("IPAMConfig") or {}).get("IPv4Address", "")
            for name, found in container["NetworkSettings"]["Networks"].items()
        }
        host = Host(
            name=container["Name"].removeprefix("/"),
            group=marks[GROUP_LABEL],
            address=addresses.get(network.name_of(marks[LAB_LABEL]), ""),
            cluster_address=addresses.get(network.name_of(network.cluster_network(marks[LAB_LABEL])), ""),
            state=container["State"]["Status"],
            image=container["Image"],
        )
        found.setdefault(marks[LAB_LABEL], []).append(host)
    return {name: sorted(hosts, key=order) for name, hosts in found.items()}


def order(host: Host) -> tuple[str, int, str]:
    """Sort key: control planes first, then by number."""
    return host.group, len(host.name), host.name


def remove(names: list[str]) -> None:
    """Remove hosts with everything on them; those that do not exist are fine."""
    if names:
        engine.succeeds("rm", "--force", "--volumes", *names)
        engine.succeeds("volume", "rm", "--force", *(f"{name}-var" for name in names))


def _is_running(name: str) -> bool:
    return bool(json.loads(engine.docker("inspect", "--format", "{{json .State.Running}}", name)))


def _archive(files: dict[str, tuple[str, int]]) -> bytes:
    """An archive of root's files: text and mode by path."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (text, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode, entry.mtime = len(text.encode()), mode, int(time.time())
            archive.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()
