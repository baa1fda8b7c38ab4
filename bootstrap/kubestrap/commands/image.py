"""`kubestrap image push`: images of this machine on every node, no registry."""

from pathlib import Path

from kubestrap.commands.cluster import app_images, play, validated
from kubestrap.errors import InventoryError
from kubestrap.ports import Request, Tools


def push(request: Request, tools: Tools) -> int:
    """Bring images to every node; the ones named, else those of the app."""
    cluster = validated(request, tools, manifests=not request.images, images=True)
    if not (request.images or cluster.value("cluster_app_images") or app_images(tools, cluster)):
        raise InventoryError(
            "no image is named; write it after `image push`, set cluster_app_images, or give a container "
            "in cluster_app_manifests imagePullPolicy: Never"
        )
    # Archives named on the command line are looked for here, not beside the inventory.
    images = [str(Path(name).absolute()) if name.endswith(".tar") else name for name in request.images]
    only = {"cluster_app_images": images, "cluster_app_manifests": []} if images else None
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster, variables=only)
