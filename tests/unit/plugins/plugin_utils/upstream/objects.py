"""Objects to fit."""

from typing import Any


def workload(kind: str, image: str) -> dict[str, Any]:
    container = {"name": "main", "image": image, "args": ["--port=1"]}
    spec = {"template": {"spec": {"containers": [container]}}}
    return {"kind": kind, "metadata": {"name": "main"}, "spec": spec}


def image_of(obj: dict[str, Any]) -> str:
    return str(obj["spec"]["template"]["spec"]["containers"][0]["image"])
