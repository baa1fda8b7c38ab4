"""`kubestrap image push`: images of this machine on every node, no registry."""

from pathlib import Path

from bootstrap.commands.cluster import play, validated
from bootstrap.errors import InventoryError
from bootstrap.ports import Request, Tools


def push(request: Request, tools: Tools) -> int:
    """Bring images to every node; the ones named, else those of the inventory."""
    cluster = validated(request, tools, manifests=False, images=True)
    if not request.images and not cluster.value("cluster_app_images"):
        raise InventoryError("no image is named; write it after `image push`, or set cluster_app_images")
    # Archives named on the command line are looked for here, not beside the inventory.
    images = [str(Path(name).absolute()) if name.endswith(".tar") else name for name in request.images]
    with tools.state.lock(cluster.name):
        return play(request, tools, cluster, variables={"cluster_app_images": images} if images else None)
