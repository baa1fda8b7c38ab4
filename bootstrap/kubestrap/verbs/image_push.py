"""`kubestrap image push`: images of this machine on every node, no registry."""

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubestrap.model.cluster import Cluster
from kubestrap.model.run import Request
from kubestrap.model.verb import Verb


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="name, or archive.tar (default: the app's)")


def _refuse(request: Request, cluster: Cluster, images: Callable[[], Mapping[str, str]]) -> str:
    if request.images or cluster.value("cluster_app_images") or images():
        return ""
    return (
        "no image is named; write it after `image push`, set cluster_app_images, or give a container "
        "in cluster_app_manifests imagePullPolicy: Never"
    )


def _variables(request: Request) -> Mapping[str, Any]:
    # Archives named on the command line are looked for here, not beside the inventory.
    images = [str(Path(name).absolute()) if name.endswith(".tar") else name for name in request.images]
    return {"cluster_app_images": images, "cluster_app_manifests": []} if images else {}


VERB = Verb(
    name="image push",
    help="bring images of this machine to every node, without a registry",
    examples="""\
examples:
  kubestrap image push shop:2
  kubestrap image push                 the images of the app
  kubestrap image push shop-2.tar      made by `docker save -o shop-2.tar shop:2`""",
    arguments=_arguments,
    manifests=True,
    images=True,
    lock=True,
    refuse=_refuse,
    variables=_variables,
)
