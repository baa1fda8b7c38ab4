"""`kubestrap status`: the nodes, their versions and the app's address; changes nothing."""

from bootstrap.commands.cluster import play, validated
from bootstrap.ports import Request, Tools


def status(request: Request, tools: Tools) -> int:
    """Show what is there."""
    return play(request, tools, validated(request, tools, manifests=False, images=False))
