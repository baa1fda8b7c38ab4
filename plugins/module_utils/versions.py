"""What differs between minors of Kubernetes, and which version follows which. One row for a minor more.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import NamedTuple


class Minor(NamedTuple):
    """A minor of Kubernetes.

    Attributes:
        pause: Tag of the image that kubeadm expects for the network of pods.
        guesses_https: Whether the kubelet takes an address without a scheme, where `kubectl exec` goes, for HTTPS.
    """

    pause: str
    guesses_https: bool = True


MINORS = {
    35: Minor("3.10.1", guesses_https=False),
    36: Minor("3.10.2"),
    37: Minor("3.10.2"),
}
# What kubeadm reads, in all of them.
KUBEADM_API = "kubeadm.k8s.io/v1beta4"
# Upgrades go one minor at a time (Kubernetes' version skew policy).
STEP = 1


def row(minor: int) -> Minor:
    """Return what is known of a minor; of one that is not known, what is known of the nearest."""
    return MINORS[min(max(minor, min(MINORS)), max(MINORS))]


def minor_of(version: str) -> str:
    """Return the minor of a version: 1.36 for v1.36.4."""
    return ".".join(version.removeprefix("v").split(".")[:2])


def is_version(present: str, wanted: str) -> bool:
    """Tell whether a version is the wanted one, or one of the wanted minor."""
    wanted = wanted.removeprefix("v")
    return present == wanted or (wanted.count(".") == 1 and present.startswith(f"{wanted}."))


def in_steps(present: str, wanted: str) -> str:
    """Return what is special about a change of version, as the end of a sentence; empty for an ordinary upgrade."""
    try:
        before, after = ([int(part) for part in one.removeprefix("v").split(".")] for one in (present, wanted))
    except ValueError:
        return ""
    if after < before[: len(after)]:
        return ", which is older: a cluster does not go back"
    if after[1] - before[1] > STEP:
        return f", which leaves out {before[0]}.{before[1] + 1}: minors are taken one at a time"
    return ""
