"""Advice that destroys, in one place: after what keeps, with what is lost, and only where nothing of worth goes.

Advice is an action: people run what a program with root on their machines tells them to run. A message of ours with a
command that deletes is made here, or is on the short list of tests/content/test_advice.py with the reason.

Runs on the hosts and on the operator's machine: standard library only, Python 3.9.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CA_KEY = "/etc/kubernetes/pki/ca.key"
ETCD_DATA = "/var/lib/etcd"
PODS = "/var/lib/kubelet/pods"
BRIDGE = "/sys/class/net/cni0/brif"


def worth(root: str = "/", running: Iterable[str] = ()) -> list[str]:
    """Return what a host holds that is gone for good when it leaves its cluster, in words; empty is a proof.

    What cannot be looked at counts as there.

    Args:
        root: Where the host's file system is.
        running: Names of its processes, as the kernel shows them.
    """
    found = []
    if _may_hold(Path(root, CA_KEY.lstrip("/"))):
        found.append(f"the key of a cluster's CA ({CA_KEY})")
    if _may_hold(Path(root, ETCD_DATA.lstrip("/"))):
        found.append(f"the data of a cluster ({ETCD_DATA})")
    # Pods leave their directory when they end; those of a kubelet that does not run may be in there still.
    if _may_hold(Path(root, PODS.lstrip("/"))) or "kubelet" in running:
        found.append(f"pods ({PODS})" if "kubelet" in running else f"data of pods ({PODS})")
    return found


def bridge_is_used() -> bool:
    """Tell whether anything is plugged into the bridge of a pod network; what cannot be looked at counts as used."""
    return _may_hold(Path(BRIDGE))


def _may_hold(path: Path) -> bool:
    try:
        return any(path.iterdir()) if path.is_dir() else path.exists()
    except OSError:
        return True


def leave_cluster(keep: str, held: Sequence[str] | None) -> str:
    """Return what to do with a host that is in a cluster it should not be in.

    Args:
        keep: What loses nothing, whole sentences.
        held: What `worth` found on it; None when nobody looked.
    """
    if held is None:
        return f"{keep} Remove nothing from this host before you know what it holds."
    if held:
        return (
            f"{keep} This host holds {' and '.join(held)}: use another host for this cluster, or move that away first."
        )
    return (
        f"{keep} Or take the host out of its cluster: `kubeadm reset` on it. Lost is its membership; it holds no key "
        "of a CA, no data of a cluster and no pods."
    )


def another_host(keep: str) -> str:
    """Return what to do where something was asked for that cannot be changed on a node that lives.

    Args:
        keep: What loses nothing, whole sentences.
    """
    return (
        f"{keep} To have it changed, give the cluster another host that is made so, and take this one out when its "
        "pods have moved there (`kubectl drain`)."
    )


def take_out_node(name: str, *, control_plane: bool, ready: bool) -> str:
    """Return what to do about a node that is in the cluster and not in the inventory."""
    keep = "Put its host back into the inventory, if it is to stay."
    if control_plane:
        return (
            f"{keep} It is a control plane and a member of etcd: docs/high-availability.md says how one is taken out."
        )
    if ready:
        return (
            f"{keep} If it is to go: `kubectl drain {name} --ignore-daemonsets` starts its pods on other nodes, and "
            "stops where a pod keeps data on that host only, because that would be lost. Then `systemctl disable --now "
            f"kubelet` on the host, and `kubectl delete node {name}`. Files on the host stay as they are."
        )
    return (
        f"{keep} Its kubelet does not report; it comes back by itself when the host does. If the host is gone for "
        f"good: `kubectl delete node {name}`. Lost is the entry, and what its pods kept on that host only."
    )


def old_pod_network(interfaces: Sequence[str], *, used: bool) -> str:
    """Return what to do about the pod network that a former cluster left on a host that is no node.

    Args:
        interfaces: Its interfaces.
        used: Whether anything is plugged into its bridge.
    """
    if used:
        return (
            "Containers are plugged into it, so it is in use: find out whose they are (`ip link show master cni0`, "
            "`crictl ps`), or use another host."
        )
    links = "; ".join(f"ip link delete {name}" for name in interfaces)
    return (
        "Nothing is plugged into it. Move its settings aside and take the empty interfaces away: `mv /etc/cni/net.d "
        f"/etc/cni/net.d.old; mv /var/lib/cni /var/lib/cni.old; {links}`. Lost are only the interfaces."
    )


def remove_packages(keep: str) -> str:
    """Return what to do about packages that exclude those which are needed.

    Args:
        keep: What loses nothing, whole sentences.
    """
    return f"{keep} Or remove it yourself, when nobody needs it: what runs on it stops, and no package brings it back."


def other_distribution(name: str) -> str:
    """Return what to do about a cluster of another distribution on the host."""
    return (
        "Use another host. This one is free when what runs there has moved away and it was removed with the program "
        f"that {name} has for that, which deletes that cluster's data."
    )
