"""The hosts of an inventory and what they are for, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

Role = Literal["control_plane", "worker"]

CONTROL_PLANE_GROUP = "control_plane"
WORKERS_GROUP = "workers"
MINIKUBE_GROUP = "minikube"
"""Also what minikube itself calls its cluster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What Ansible makes of the inventory: hosts, groups and the variables of each host."""

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    sources: tuple[Path, ...] = ()
    directories: Mapping[str, Path] = field(default_factory=dict)
    """What Ansible calls inventory_dir, of each host; the directory of the first source where it is not named."""

    @property
    def directory(self) -> Path:
        """Where relative paths in the inventory start: beside the first source, whichever one holds the variable."""
        if not self.sources:
            return Path.cwd()
        first = self.sources[0]
        return first if first.is_dir() else first.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One machine."""

    name: str
    role: Role
    variables: Mapping[str, Any] = field(default_factory=dict)
    directory: Path = Path()
    """Of the inventory that names it: inventory_dir in its variables."""

    @property
    def address(self) -> str:
        """Name or address under which SSH reaches it."""
        return str(self.variables.get("ansible_host") or self.variables.get("ansible_ssh_host") or self.name)

    @property
    def port(self) -> str:
        """SSH port as written; empty when it is left to SSH."""
        return str(self.variables.get("ansible_port") or self.variables.get("ansible_ssh_port") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The machines that are, or are to be, one cluster."""

    name: str
    hosts: tuple[Host, ...]
    directory: Path = Path()
    others: tuple[str, ...] = ()
    """Hosts of the inventory that belong to neither group: left alone."""

    @property
    def control_planes(self) -> tuple[Host, ...]:
        """Hosts that run the control plane, in the order of the inventory."""
        return tuple(host for host in self.hosts if host.role == "control_plane")

    @property
    def workers(self) -> tuple[Host, ...]:
        """Hosts that run apps only."""
        return tuple(host for host in self.hosts if host.role == "worker")

    def value(self, variable: str, default: Any = None) -> Any:
        """A variable of the whole cluster: as the first control plane has it."""
        return self.control_planes[0].variables.get(variable, default)


def cluster_from(inventory: Inventory, *, default_name: str) -> Cluster:
    """Turn a validated inventory into the cluster it describes."""
    control_planes = inventory.groups.get(CONTROL_PLANE_GROUP, ())
    workers = inventory.groups.get(WORKERS_GROUP, ())
    roles: tuple[tuple[Role, Sequence[str]], ...] = (("control_plane", control_planes), ("worker", workers))
    hosts = tuple(
        Host(
            name=name,
            role=role,
            variables=inventory.variables.get(name, {}),
            directory=inventory.directories.get(name, inventory.directory),
        )
        for role, names in roles
        for name in names
    )
    named = {host.name for host in hosts}
    name = hosts[0].variables.get("cluster_name", default_name) if hosts else default_name
    others = tuple(sorted(set(inventory.variables) - named))
    return Cluster(name=str(name), hosts=hosts, directory=inventory.directory, others=others)


def minikube_from(inventory: Inventory) -> Cluster:
    """Turn a validated inventory into the cluster of one machine that minikube makes."""
    (name,) = inventory.groups[MINIKUBE_GROUP]
    host = Host(name=name, role="control_plane", variables=inventory.variables.get(name, {}))
    others = tuple(sorted(set(inventory.variables) - {name}))
    return Cluster(name=MINIKUBE_GROUP, hosts=(host,), directory=inventory.directory, others=others)


def limit_hosts(cluster: Cluster, pattern: str) -> tuple[tuple[Host, ...], tuple[str, ...]]:
    """Resolve `--limit`: names, groups and globs between commas, `!` to leave out.

    Returns:
        The hosts meant, and the parts of the pattern that match nothing.
    """
    groups = {
        "all": cluster.hosts,
        CONTROL_PLANE_GROUP: cluster.control_planes,
        WORKERS_GROUP: cluster.workers,
    }
    wanted: set[str] = set()
    excluded: set[str] = set()
    unknown: list[str] = []
    parts = [part.strip() for part in pattern.replace(":", ",").split(",") if part.strip()]
    for part in parts:
        bare = part.removeprefix("!")
        matching = groups.get(bare) or [host for host in cluster.hosts if fnmatchcase(host.name, bare)]
        if not matching:
            unknown.append(bare)
        (excluded if part.startswith("!") else wanted).update(host.name for host in matching)
    if all(part.startswith("!") for part in parts):
        wanted = {host.name for host in cluster.hosts}
    chosen = wanted - excluded
    return tuple(host for host in cluster.hosts if host.name in chosen), tuple(unknown)
