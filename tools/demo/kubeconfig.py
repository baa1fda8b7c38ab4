"""Taking the demo's context out of a kubeconfig."""

import json
import shlex
import subprocess
from typing import Any


def options(command: str) -> list[str]:
    """Return what follows `kubectl` in the words a summary has for it: `--context NAME`, perhaps with a file before."""
    words = shlex.split(command)
    return words[words.index("kubectl") + 1 :]


def remove(command: str, kubectl: str) -> str:
    """Take out a context, its cluster and its user; return its name, empty when it is not one that kubestrap made.

    Args:
        command: The words that begin a kubectl command for it, from the summary of the run that made it.
        kubectl: Path of a kubectl.
    """
    *file, _, context = options(command)

    def config(*arguments: str) -> str:
        words = [kubectl, *file, "config", *arguments]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    data: dict[str, Any] = json.loads(config("view", "--raw", "-o", "json"))
    contexts = {one["name"]: one["context"] for one in data["contexts"] or []}
    clusters = {one["name"]: one["cluster"] for one in data["clusters"] or []}
    ours = contexts.pop(context, {})
    marks = clusters.get(ours.get("cluster"), {}).get("extensions") or []
    if not any(mark["name"] == "kubestrap" for mark in marks):
        return ""
    config("delete-context", context)
    for kind in ("cluster", "user"):
        # Another context may use them as well.
        if ours[kind] not in [other.get(kind) for other in contexts.values()]:
            config(f"delete-{kind}", ours[kind])
    if data["current-context"] == context:
        config("unset", "current-context")
    return context
