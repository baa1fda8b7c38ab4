"""Taking one context out of a kubeconfig."""

import pathlib
from typing import Any

import yaml


def remove(path: pathlib.Path, context: str) -> bool:
    """Take out a context, its cluster and its user; nobody else's. False when there is no such context.

    The file is removed when nothing is left in it, with its directory when that is empty too.
    """
    if not path.exists():
        return False
    data: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    entry = next((entry for entry in data.get("contexts") or [] if entry["name"] == context), None)
    if entry is None:
        return False
    data["contexts"].remove(entry)
    for kind, key in (("clusters", "cluster"), ("users", "user")):
        # Another context may use them as well.
        if entry["context"][key] not in [other["context"][key] for other in data["contexts"]]:
            data[kind] = [item for item in data.get(kind) or [] if item["name"] != entry["context"][key]]
    if data.get("current-context") == context:
        data["current-context"] = ""
    if not data["contexts"] and not data.get("clusters") and not data.get("users"):
        path.unlink()
        if not any(path.parent.iterdir()):
            path.parent.rmdir()
        return True
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.touch(mode=0o600)
    unfinished.write_text(yaml.safe_dump(data, sort_keys=False))
    unfinished.replace(path)
    return True
