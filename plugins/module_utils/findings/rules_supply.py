"""What is wrong with where a host gets things from. Runs on the hosts: standard library only, Python 3.9."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import (
    BLOCKER,
    WARNING,
    Finding,
    blocker,
    warning,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def proxy(problem: str, *, ours: bool, joined: bool) -> Iterator[Finding]:
    """Yield that a proxy does not answer.

    Args:
        problem: What is wrong with it; empty when nothing is.
        ours: It is the inventory's, not one that the host has of its own.
        joined: The host is a node, where nothing need be fetched.
    """
    if problem:
        yield Finding(
            "proxy-unreachable",
            WARNING if joined else BLOCKER,
            problem,
            "Correct cluster_http_proxy or cluster_https_proxy, or let this host through to it."
            if ours
            else "Correct or remove it there, or set cluster_http_proxy and cluster_https_proxy, which are used "
            "instead; or let this host through to it.",
        )


def repository(problem: str) -> Finding:
    """Return that the package repository of Kubernetes is not what it should be, and why."""
    return blocker(
        "repository-unusable",
        problem,
        "Correct cluster_kubernetes_repository or cluster_kubernetes_repository_key_fingerprint.",
    )


def mirrors(registries: Iterable[str]) -> Iterator[Finding]:
    """Yield those registries of which mirrors are asked for, and Docker has none."""
    beyond = [registry for registry in registries if registry != "docker.io"]
    if beyond:
        yield warning(
            "mirror-ignored",
            f"Docker has mirrors of docker.io only, and cluster_registry_mirrors names {', '.join(beyond)}.",
            "Give the mirror's own address instead (cluster_image_registry, cluster_flannel_image_registry, the "
            "app's manifests), or use containerd.",
        )
