"""What a package manager is asked for; one module beside this one for each kind, and a row of systems.py that names it.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional, Protocol

from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
    from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy


class Package(NamedTuple):
    """An installed package: its version, and whether it is protected from upgrades."""

    version: str
    held: bool


class Source(NamedTuple):
    """Where a package repository is described: file of its key, file that names it, and the content of that."""

    key: str
    path: str
    content: str


class Manager(Protocol):
    """A module of this package; its functions say more."""

    NAME: str
    REFRESH: str
    """What a person types to refresh the lists of packages."""
    SOURCES: str
    LOCK_SECONDS: int

    def installed(self, module: AnsibleModule, names: Iterable[str], /) -> dict[str, Package]:
        """Return those of the packages that are installed."""

    def available_versions(self, module: AnsibleModule, name: str, /) -> list[str]:
        """Return the versions that could be installed, newest first."""

    def candidate(self, module: AnsibleModule, name: str, /) -> Optional[str]:
        """Return the version that would be installed."""

    def available(self, module: AnsibleModule, name: str, /) -> Optional[str]:
        """Return the version that would be installed, after a refresh if need be; end the module without one."""

    def upstream_version(self, version: str, /) -> tuple[int, ...]:
        """Return the numbers of what was packaged."""

    def update(self, module: AnsibleModule, *, source: Optional[str] = None) -> str:
        """Refresh the lists of packages; return what went wrong."""

    def install(self, module: AnsibleModule, wanted: Sequence[str], /, *, change_version: bool = False) -> None:
        """Install packages in one transaction, removing none."""

    def exactly(self, name: str, version: str, /) -> str:
        """Return how `install` is told which version of a package."""

    def hold(self, module: AnsibleModule, names: Iterable[str], /) -> None:
        """Protect packages from upgrades."""

    def busy(self) -> dict[str, str]:
        """Return who works with the packages at the moment, and what at."""

    def pins(self, name: str, /, *, any_source: bool = False) -> str:
        """Return what a person wrote that forbids a package."""

    def excluded(self, module: AnsibleModule, names: Iterable[str], /) -> dict[str, list[str]]:
        """Return installed packages that go with none of these."""

    def simulate(self, module: AnsibleModule, wanted: Sequence[str], /) -> tuple[list[str], str]:
        """Return what would be removed to install packages, and why they could not be."""

    def unreachable_sources(self, module: AnsibleModule, /) -> tuple[int, dict[str, str]]:
        """Return how many sources there are, and what is wrong with which."""

    def source(self, *, name: str, url: str, suite: str, components: str) -> Source:
        """Return how a repository is described."""

    def disable_other_sources(self, changes: Changes, ours: str, url: str, /) -> None:
        """Take other descriptions of the repository of Kubernetes out of the way."""

    def use_proxy(self, changes: Changes, proxy: Proxy, /) -> None:
        """Go through a proxy from now on, or through none."""


def add(manager: Manager, changes: Changes, missing: Sequence[str]) -> None:
    """Install the packages a host lacks, told as one change; none is fine."""
    if missing:
        changes.act(
            f"packages {' '.join(missing)}",
            lambda: manager.install(changes.module, missing),
            before="not installed\n",
            after="installed\n",
            was=[Before("packages", name, None) for name in missing],
        )
