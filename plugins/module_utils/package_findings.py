"""What would keep packages from being installed that a host lacks, found by looking: nothing on the host changes.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice, proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import (
    BLOCKER,
    WARNING,
    Finding,
    blocker,
    warning,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ansible.module_utils.basic import AnsibleModule


def busy(module: AnsibleModule) -> Iterator[Finding]:
    """Find who else works with the packages at the moment."""
    manager = systems.manager(module)
    for who, what in manager.busy().items():
        yield warning(
            "package-manager-busy",
            f"{who} {what}.",
            f"Nothing to do: what needs packages waits for it, up to {manager.LOCK_SECONDS // 60} minutes.",
        )


def packages(
    module: AnsibleModule, missing: Sequence[str], *, known: Collection[str] = (), exact: Collection[str] = ()
) -> Iterator[Finding]:
    """Find what speaks against installing these packages, which the host lacks.

    Args:
        module: The running module.
        missing: The packages.
        known: Packages that exclude them and are told elsewhere.
        exact: Those of them that are asked for by version, which preferences do not forbid.
    """
    if not missing:
        return
    yield from _forbidden(module, [name for name in missing if name not in exact])
    yield from _excluded(module, missing, known)
    yield from _sources(module)


def _forbidden(module: AnsibleModule, names: Sequence[str]) -> Iterator[Finding]:
    manager = systems.manager(module)
    for name in names:
        if manager.candidate(module, name):
            continue
        # Before the first refresh nobody knows which sources have it.
        if where := manager.pins(name, any_source=not manager.available_versions(module, name)):
            yield blocker(
                "package-pinned",
                f"{manager.NAME} may not install {name}: {where}.",
                "Raise that priority, or remove the entry, when nobody wants it to be so.",
            )


def _excluded(module: AnsibleModule, missing: Sequence[str], known: Collection[str]) -> Iterator[Finding]:
    manager = systems.manager(module)
    going = {name: ", ".join(names) for name, names in manager.excluded(module, missing).items()}
    # Says more, but knows nothing before the first refresh of the lists, nor what is in a repository to come.
    available = [name for name in missing if manager.candidate(module, name)]
    removed, trouble = manager.simulate(module, available) if available else ([], "")
    going.update({name: ", ".join(available) for name in removed if name not in going})
    if trouble and not going:
        yield warning(
            "packages-uninstallable",
            f"{manager.NAME} would not install {', '.join(available)}. It says:\n{trouble}",
            f"Correct what it names; when it is about versions, `{manager.REFRESH}` may be all that is missing.",
        )
    for package, names in going.items():
        if package not in known:
            yield blocker(
                "package-conflict",
                f"The host has the package {package}, which cannot be installed beside {names}: {manager.NAME} would "
                "remove it.",
                advice.remove_packages(
                    "It is not removed. To keep it, take another container runtime for this host "
                    "(cluster_container_runtime) if that is what it excludes, or another host."
                ),
            )


def _sources(module: AnsibleModule) -> Iterator[Finding]:
    manager = systems.manager(module)
    count, failed = manager.unreachable_sources(module)
    if not failed:
        return
    said = "\n".join(f"{url}: {reason}" for url, reason in failed.items())
    way = next(filter(None, map(proxy.on_the_way, failed)), "")
    yield Finding(
        "package-sources-unreachable",
        # A host may have sources that have nothing to do with this.
        BLOCKER if len(failed) == count else WARNING,
        f"{manager.NAME} cannot read {'any' if len(failed) == count else 'some'} of its sources"
        f"{f' (the proxy of this host is {way})' if way else ''}. It says:\n{said}",
        f"Correct the sources ({manager.SOURCES}), the proxy they are read through, or what that proxy allows.",
    )
