"""What is wrong with a machine today, or will be after its next reboot.

Each rule is a function of what was seen, so that it can be tried without a host. Runs on the hosts: standard library
only, Python 3.9.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.download import ARCHITECTURES
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import (
    BLOCKER,
    WARNING,
    Finding,
    blocker,
    warning,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View

# kubeadm's own limits.
CONTROL_PLANE_CPUS = 2
CONTROL_PLANE_MIB = 1700
# kubeadm dates certificates back by five minutes: with a larger difference they are "not yet valid".
CLOCK_SECONDS = 120
# Below this kubelet evicts pods and deletes images, where images and pods share a file system (imagefs.available).
DISK_PERCENT = 15
DISK_GIB = 8
SYSCTL_FILE = "/etc/sysctl.d/99-kubestrap.conf"
# Turning it on, not asking what is on.
SWAPON = r"\bswapon\b(?!\s+(?:-s\b|--show|--summary))"
TIME_SERVICES = {
    "systemd-timesyn": "systemd-timesyncd",
    "chronyd": "chrony",
    "ntpd": "ntpd",
    "ntpsec": "ntpsec",
    "openntpd": "openntpd",
}


def judge(view: View, params: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what is wrong with this machine.

    Args:
        view: The host.
        params: The parameters of the module preflight.
    """
    yield from system(view, params["systems"])
    if params["control_plane"]:
        yield from size(view)
    yield from disk(view)
    yield from swap(view)
    yield from overridden_sysctls(view.sysctl_files, {name: str(value) for name, value in params["sysctls"].items()})
    yield from swap_units(view.units, view.scripts)
    yield from clock(view)
    yield from kernel(view)


def system(view: View, systems: Mapping[str, list[str]]) -> Iterator[Finding]:
    """Yield that kubestrap does not know this system, processor or way of starting.

    Args:
        view: The host.
        systems: Versions that are known to work, by distribution.
    """
    name, version = view.system.get("ID", "unknown"), view.system.get("VERSION_ID", "")
    pretty = view.system.get("PRETTY_NAME", name)
    known = ", ".join(f"{system} {' and '.join(versions)}" for system, versions in systems.items())
    if name not in systems:
        yield blocker("os-unsupported", f"This host runs {pretty}.", f"Use one of: {known}.")
    elif version not in systems[name]:
        yield warning("os-unproved", f"This host runs {pretty}.", f"It may work. Known to work: {known}.")
    if view.processor not in ARCHITECTURES:
        yield blocker(
            "architecture-unsupported",
            f"The processor is {view.processor}.",
            "Kubernetes is installed on amd64 (x86_64) and arm64 (aarch64) hosts.",
        )
    if not view.systemd:
        yield blocker("systemd-missing", "systemd does not run this host.", "Use a system that systemd starts.")


def size(view: View) -> Iterator[Finding]:
    """Yield that a control plane is too small."""
    if view.cpus < CONTROL_PLANE_CPUS:
        yield blocker(
            "cpu-low",
            f"The host has {view.cpus} CPU; a control plane needs {CONTROL_PLANE_CPUS}.",
            "Give the machine another CPU, or make it a worker.",
        )
    if view.memory_mib < CONTROL_PLANE_MIB:
        yield blocker(
            "memory-low",
            f"The host has {view.memory_mib} MiB of memory; a control plane needs {CONTROL_PLANE_MIB}.",
            "Give the machine more memory, or make it a worker.",
        )


def disk(view: View) -> Iterator[Finding]:
    """Yield that there is no room for images; on a node, what is there already is needed no more."""
    if view.disk_percent < DISK_PERCENT or view.disk_free < DISK_GIB:
        yield Finding(
            "disk-low",
            BLOCKER if view.disk_percent < DISK_PERCENT and not view.joined else WARNING,
            f"/var has {view.disk_free:.1f} GiB free, {view.disk_percent:.0f} % of its file system.",
            f"Make room: below {DISK_PERCENT} % kubelet deletes images and evicts pods, and images need about "
            f"{DISK_GIB} GiB.",
        )


def swap(view: View) -> Iterator[Finding]:
    """Yield that swap is on."""
    areas = ", ".join(view.swaps)
    if areas and view.container:
        # Turning it off would be a decision about somebody else's machine.
        yield warning(
            "swap-on",
            f"The machine this container runs on has swap on ({areas}).",
            "Nothing to do: kubelet is told to accept it, and pods do not use it.",
        )
    elif areas:
        yield warning(
            "swap-on",
            f"Swap is on ({areas}); kubelet refuses to start with it.",
            "Nothing to do: it is turned off, and kept off after a reboot, when the host is prepared.",
        )


def clock(view: View) -> Iterator[Finding]:
    """Yield that the clock is wrong, or that nothing keeps it right."""
    service, offset = clock_service(view.programs), view.clock_offset
    if abs(offset) > CLOCK_SECONDS:
        direction = "ahead of" if offset > 0 else "behind"
        yield blocker(
            "clock-skew",
            f"The host's clock is {abs(offset)} seconds {direction} yours: certificates made here would not be valid "
            "there.",
            f"Set it right: `date -s`, and see why {service} does not keep it so."
            if service
            else "Set it right and keep it right: install systemd-timesyncd, or chrony.",
        )
    elif view.clock_free and not view.container:
        yield unsynchronised(service)


def kernel(view: View) -> Iterator[Finding]:
    """Yield what the kernel lacks."""
    if view.cgroup_version == 1:
        yield warning(
            "cgroup-v1",
            "The host uses version 1 of control groups, which Kubernetes is about to give up.",
            "Nothing to do now: kubelet is told to accept it. Later: boot with systemd.unified_cgroup_hierarchy=1.",
        )
    if view.missing_features:
        lacks = " and no ".join(view.missing_features)
        yield blocker(
            "kernel-feature-missing",
            f"The kernel {view.kernel} has no {lacks}, neither built in nor as a module.",
            "Install the distribution's ordinary kernel (linux-image-amd64, linux-image-generic) and reboot.",
        )


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
        warning(
            "sysctl-overridden",
            f"{path} sets {name} = {value} and is read after {SYSCTL_FILE}, so that is what holds after a reboot; "
            f"Kubernetes needs {wanted[name]}.",
            f"Take the line out of {path}.",
        )
        for name, (path, value) in sorted(last.items())
        if value != wanted[name]
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
        warning(
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


def clock_service(programs: Iterable[str]) -> Optional[str]:
    """Return the time service among the programs that run, by the name of its package; None when there is none.

    Args:
        programs: Names as the kernel shows them, cut after 15 characters.
    """
    return next((name for program in programs for known, name in TIME_SERVICES.items() if program == known), None)


def unsynchronised(service: Optional[str]) -> Finding:
    """Say that nothing keeps the clock right, and what to do about it."""
    if service is None:
        return warning(
            "clock-unsynchronised",
            "No time service keeps the host's clock right.",
            "Install one, before the hosts drift apart: systemd-timesyncd or chrony.",
        )
    return warning(
        "clock-unsynchronised",
        f"{service} runs, but has not synchronised the host's clock: it reaches no time server.",
        "Let this host reach one (UDP port 123), or name one in its configuration that it reaches.",
    )
