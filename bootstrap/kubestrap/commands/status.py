"""`kubestrap status`: the nodes, their versions and the app's address; changes nothing."""

from kubestrap.commands.cluster import play, validated
from kubestrap.ports import Request, Tools


def status(request: Request, tools: Tools) -> int:
    """Show what is there."""
    return play(request, tools, validated(request, tools, manifests=False, images=False))
