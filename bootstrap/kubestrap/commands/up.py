"""`kubestrap up`: from the hosts as they are to the cluster and the app of the inventory."""

from kubestrap.commands.cluster import play, validated
from kubestrap.ports import Request, Tools


def up(request: Request, tools: Tools) -> int:
    """Converge; a second call changes nothing."""
    cluster = validated(request, tools, manifests=True, images=True)
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster)
