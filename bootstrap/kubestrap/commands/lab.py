"""`kubestrap lab`: throw-away hosts on this machine."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from kubestrap.lab import labs

Report = Callable[[str], None]


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def up(
    *,
    name: str,
    control_planes: int,
    workers: int,
    cluster_network: bool = False,
    system: str,
    variables: Sequence[Path],
    directory: Path | None = None,
    report: Report = _say,
) -> int:
    """Make the lab, or what it lacks; its files go to `.kubestrap/labs/NAME` in the directory (default: here)."""
    shape = labs.Shape(control_planes=control_planes, workers=workers, cluster_network=cluster_network)
    lab = labs.up(
        name=name, shape=shape, system=system, variables=variables, directory=directory or Path.cwd(), report=report
    )
    inventory = lab.inventory
    if inventory.is_relative_to(Path.cwd()):
        inventory = inventory.relative_to(Path.cwd())
    report("")
    report("Go on with:")
    report(f"  kubestrap up -i {inventory}")
    report(f"  kubestrap lab ssh {lab.hosts[0].name} --name {lab.name}")
    report(f"  kubestrap lab down --name {lab.name}")
    return 0


def list_labs(*, report: Report = _say) -> int:
    """Say which labs this machine has, their hosts and the inventory of each."""
    for line in labs.describe():
        report(line)
    return 0


def down(*, name: str, directory: Path | None = None, report: Report = _say) -> int:
    """Remove the lab: hosts, volumes, network, firewall rules, files."""
    labs.down(name=name, directory=directory or Path.cwd(), report=report)
    return 0


def ssh(*, name: str, host: str, command: Sequence[str]) -> int:
    """Log in to a host, or run a command there; return its exit code."""
    return labs.ssh(name=name, host=host, command=command)
