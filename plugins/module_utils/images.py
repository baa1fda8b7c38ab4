"""When two images are the same: by what is in them, whichever program describes them."""

from __future__ import annotations

import re
from typing import Any

# What the configuration of an image may say about the containers made from it: OCI's image-spec (config.md), and what
# Docker adds (healthcheck, and the two that only a build reads). What else Docker shows there is left over from the
# container of the build, and some versions hide it.
SETTINGS = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "OnBuild",
    "Shell",
)
Content = dict[str, Any]


def content(description: dict[str, Any]) -> Content:
    """Return what makes two images the same.

    IDs do not: that of one image differs between Docker's two stores of images.

    Args:
        description: What `docker image inspect` says of an image, or the image's own configuration.
    """
    config = description.get("Config") or description.get("config") or {}
    health = config.get("Healthcheck") or {}
    settings = {**config, "Healthcheck": {key: value for key, value in health.items() if value}}
    layers = (description.get("RootFS") or {}).get("Layers") or (description.get("rootfs") or {}).get("diff_ids")
    return {
        "created": _moment(description.get("Created") or description.get("created") or ""),
        # Docker fills in an operating system that the image does not name.
        "platform": [
            description.get("Os") or description.get("os") or "linux",
            description.get("Architecture") or description.get("architecture") or "",
            description.get("Variant") or description.get("variant") or "",
        ],
        "layers": layers or [],
        # Programs differ in how they write that there is nothing: left out, null, empty.
        "config": {key: settings[key] for key in SETTINGS if settings.get(key)},
    }


def differences(one: Content, other: Content) -> list[str]:
    """Return the names of what differs between two contents."""
    names = [key for key in one if key != "config" and one[key] != other[key]]
    return names + [key for key in SETTINGS if one["config"].get(key) != other["config"].get(key)]


def _moment(text: str) -> str:
    """Return a time as Go prints it: no zeros at the end of its fraction; nothing for the year one."""
    moment = re.sub(r"(\.\d*?)0+(?=\D|$)", r"\1", text).replace(".Z", "Z").replace(".+", "+").replace(".-", "-")
    return "" if moment == "0001-01-01T00:00:00Z" else moment
