"""Files that look like manifests and are for another program first: what they are, and what makes them plain.

Runs on the operator's machine, in Ansible and in the program: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
COMPOSE = re.compile(r"(docker-)?compose([.-].*)?\.ya?ml\Z")
VALUES = re.compile(r"values([.-].*)?\.ya?ml\Z")
VARIABLE = re.compile(r"\$\{?[A-Z_][A-Z0-9_]*\}?")
BRACES = re.compile(r"\$\{[A-Z_][A-Z0-9_]*\}")
# Configuration files of programs, which have an apiVersion and a kind and are in no API.
CONFIGURATIONS = {
    "kubeadm.k8s.io": "kubeadm",
    "kubelet.config.k8s.io": "the kubelet",
    "kubeproxy.config.k8s.io": "kube-proxy",
    "kind.x-k8s.io": "kind",
    "skaffold": "Skaffold",
}
# Where dollars and braces are for the shell or the program in the container.
FREE = frozenset(("data", "stringData", "binaryData", "env", "args", "command", "annotations", "description"))


def directory(path: Path) -> str:
    """Return what a directory is when it is not one of plain manifests, else an empty text."""
    if (path / "Chart.yaml").is_file():
        return _chart(path)
    if any((path / name).is_file() for name in KUSTOMIZATIONS):
        return _kustomization(path)
    return ""


def by_beginning(path: Path, data: bytes) -> str:
    """Return what a file is that is no text at all, else an empty text."""
    if data.startswith(b"\x1f\x8b"):
        return (
            f"this file is packed. Unpack it: `gzip -dc {_word(path)} > app.yaml`, or `tar -xzf` if it is an archive."
        )
    return f"this is an archive. Unpack it: `unzip {_word(path)}`." if data.startswith(b"PK\x03\x04") else ""


def by_text(path: Path, text: str, line: int) -> str:
    """Return what a file is that is no YAML, else an empty text.

    Args:
        path: The file.
        text: What it holds.
        line: Where reading it ended.
    """
    lines = text.splitlines()
    around = lines[line - 1] if line <= len(lines) else ""
    above = lines[line - 2] if 1 < line <= len(lines) + 1 else ""
    found = {
        f"this file is encrypted. Make it plain: `ansible-vault view {_word(path)} > app.yaml`.": text.startswith(
            "$ANSIBLE_VAULT;"
        ),
        "this is a web page, not a manifest. Download the file itself (GitHub: the button Raw).": re.match(
            r"\s*<(!doctype|html|\?xml)", text, re.IGNORECASE
        ),
        "lines that a merge could not decide are in this file (<<<<<<<). Decide them.": re.search(
            r"^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE
        ),
        "this is a template (Jinja). Make it plain with the program it is for, such as Ansible.": re.search(
            r"^\s*\{%", text, re.MULTILINE
        ),
        _template(path): "{{" in text,
        _envsubst(path): re.search(r"\$\{\w", around),
        f"there is a tab; YAML takes blanks only. Make it plain: `expand -t 2 {_word(path)} > app.yaml`.": "\t"
        in around
        or above.startswith("\t"),
    }
    return next((told for told, is_so in found.items() if is_so), "")


def by_content(path: Path, obj: Any) -> str:
    """Return what a document is that is YAML and no plain Kubernetes object, else an empty text."""
    if isinstance(obj, list):
        playbook = any(isinstance(one, dict) and ("hosts" in one or "ansible.builtin" in str(one)) for one in obj)
        return "this is a playbook of Ansible, not a manifest." if playbook else ""
    if not isinstance(obj, dict):
        return ""
    return _by_kind(path, obj) or (_to_fill_in(path, obj) if obj.get("kind") else _without_kind(path, obj))


def _by_kind(path: Path, obj: dict[Any, Any]) -> str:
    group = str(obj.get("apiVersion", "")).partition("/")[0]
    if "sops" in obj:
        return f"this file is encrypted. Make it plain: `sops --decrypt {_word(path)} > app.yaml`."
    if group == "kustomize.config.k8s.io" or path.name in KUSTOMIZATIONS:
        return _kustomization(path.parent)
    if group in CONFIGURATIONS:
        return f"this is a configuration file of {CONFIGURATIONS[group]}, not an object of a cluster. Take it out."
    if obj.get("kind") == "Config" and "clusters" in obj and "contexts" in obj:
        return "this is a kubeconfig, not a manifest. Take it out."
    return ""


def _to_fill_in(path: Path, obj: dict[Any, Any]) -> str:
    group, slash, _ = str(obj.get("apiVersion", "")).partition("/")
    # What other objects hold may be a template of their own program, and a schema is about any text.
    own = not slash or "." not in group or group.endswith(".k8s.io")
    own = own and obj.get("kind") != "CustomResourceDefinition"
    for place, text in _texts(obj, ""):
        name = place.startswith(("metadata.", "kind", "apiVersion"))
        image = own and place.endswith("image")
        if (name or image) and "{{" in text and "}}" in text:
            return _template(path)
        if (name and "${" in text) or ((name or image) and VARIABLE.search(text)) or (own and BRACES.search(text)):
            return _envsubst(path)
        if own and VARIABLE.fullmatch(text):
            return _envsubst(path)
    return ""


def _without_kind(path: Path, obj: dict[Any, Any]) -> str:
    if path.name == "Chart.yaml" or {"name", "version", "apiVersion"} <= obj.keys():
        return _chart(path.parent)
    if COMPOSE.match(path.name) or isinstance(obj.get("services"), dict):
        return f"this is a Compose file. Make it plain: `kompose convert --file {_word(path)} --stdout > app.yaml`."
    if not obj.get("apiVersion") and (VALUES.match(path.name) or (path.parent / "Chart.yaml").is_file()):
        chart = _word(path.parent) if (path.parent / "Chart.yaml").is_file() else "CHART"
        command = f"helm template NAME {chart} -f {_word(path)} > app.yaml"
        return f"these are values for a Helm chart. Make it plain: `{command}`."
    if not obj.get("apiVersion") and isinstance(obj.get("resources"), list):
        return _kustomization(path.parent)
    return ""


def _chart(path: Path) -> str:
    return f"this is a Helm chart. Make it plain: `helm template NAME {_word(path)} > app.yaml`."


def _template(path: Path) -> str:
    for place in path.parents:
        if (place / "Chart.yaml").is_file():
            break
    else:
        place = path.parent.parent if path.parent.name == "templates" else Path("CHART")
    return f"this is a template, as in a Helm chart. Make it plain: `helm template NAME {_word(place)} > app.yaml`."


def _kustomization(path: Path) -> str:
    return f"this is a kustomization. Make it plain: `kubectl kustomize {_word(path)} > app.yaml`."


def _envsubst(path: Path) -> str:
    return (
        "variables of the environment are to be filled in here first. Make it plain: "
        f"`envsubst < {_word(path)} > app.yaml`, with all of them set."
    )


def _word(path: Path) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inside in value.items():
            if key not in FREE:
                yield from _texts(inside, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for inside in value:
            yield from _texts(inside, path)
    elif isinstance(value, str):
        yield path, value
