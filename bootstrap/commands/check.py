"""`kubestrap check`: every precondition on every host at once; changes nothing."""

from bootstrap.commands.cluster import play, validated
from bootstrap.ports import Request, Tools


def check(request: Request, tools: Tools) -> int:
    """Report what stands in the way of `up`."""
    return play(request, tools, validated(request, tools, manifests=True, images=True))
