"""Which hosts a run is for, which it only asks, and whether it makes sense without those that are lost."""

from collections.abc import Container, Sequence

from kubestrap.errors import UsageError
from kubestrap.model.cluster import Cluster, Host, limit_hosts
from kubestrap.model.verb import Verb


def chosen(cluster: Cluster, limit: str) -> tuple[Host, ...]:
    """Return the hosts that `--limit` leaves.

    Raises:
        UsageError: When a part of it matches no host.
    """
    if not limit:
        return cluster.hosts
    hosts, unknown = limit_hosts(cluster, limit)
    if unknown or not hosts:
        known = ", ".join(host.name for host in cluster.hosts)
        wrong = ", ".join(unknown) or limit
        raise UsageError(f"--limit {wrong} matches no host of the cluster; there are: {known}")
    return hosts


def only_asked(verb: Verb, cluster: Cluster, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Return the control planes that a run which is limited to workers asks: one must know the cluster."""
    alone = verb.asks_control_planes and all(host.role == "worker" for host in hosts)
    return cluster.control_planes if alone else ()


def cannot_succeed(verb: Verb, hosts: Sequence[Host], asked: Sequence[Host], lost: Container[str]) -> bool:
    """Tell whether the work makes no sense without the hosts that are out of reach.

    One control plane is enough to ask; the playbook sees whether those that answer have a cluster that works.
    """
    if all(host.name in lost for host in hosts):
        return True
    planes = [host for host in (*hosts, *asked) if host.role == "control_plane"]
    return verb.needs_control_plane and bool(planes) and all(host.name in lost for host in planes)
