"""`kubestrap deploy`: only the app: its images on every node, its manifests, a verdict."""

from collections.abc import Callable, Mapping

from kubestrap.model.cluster import Cluster
from kubestrap.model.run import Request
from kubestrap.model.verb import Verb


def _refuse(_request: Request, cluster: Cluster, _images: Callable[[], Mapping[str, str]]) -> str:
    if cluster.value("cluster_app_manifests"):
        return ""
    return "the inventory names no app; set cluster_app_manifests to its manifests"


VERB = Verb(
    name="deploy",
    help="deploy only the app and wait for its answer",
    examples="""\
examples:
  docker build -t shop:2 . && kubestrap deploy    the manifests name shop:2
  kubestrap deploy -i prod.yml""",
    manifests=True,
    images=True,
    lock=True,
    refuse=_refuse,
)
