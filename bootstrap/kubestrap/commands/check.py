"""`kubestrap check`: every precondition on every host at once; changes nothing."""

from kubestrap.commands.cluster import play, validated
from kubestrap.ports import Request, Tools


def check(request: Request, tools: Tools) -> int:
    """Report what stands in the way of `up`."""
    cluster = validated(request, tools, manifests=True, images=True)
    return play(request, tools, cluster, variables={"__cluster_findings_are_shown": True})
