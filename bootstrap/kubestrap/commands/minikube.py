"""`kubestrap minikube`: a cluster that minikube keeps on one machine, with the app of the inventory."""

from kubestrap.commands.cluster import play, validated
from kubestrap.ports import Request, Tools


def up(request: Request, tools: Tools) -> int:
    """Converge; a second call changes nothing."""
    cluster = validated(request, tools, manifests=True, images=True, minikube=True)
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster)


def down(request: Request, tools: Tools) -> int:
    """Delete the cluster; what was on the machine before stays."""
    cluster = validated(request, tools, manifests=False, images=False, minikube=True)
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster)
