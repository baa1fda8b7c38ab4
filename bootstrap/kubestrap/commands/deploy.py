"""`kubestrap deploy`: only the app: its images on every node, its manifests, a verdict."""

from kubestrap.commands.cluster import play, validated
from kubestrap.errors import InventoryError
from kubestrap.ports import Request, Tools


def deploy(request: Request, tools: Tools) -> int:
    """Bring the app of the inventory to a cluster that is up."""
    cluster = validated(request, tools, manifests=True, images=True)
    if not cluster.value("cluster_app_manifests"):
        raise InventoryError("the inventory names no app; set cluster_app_manifests to its manifests")
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster)
