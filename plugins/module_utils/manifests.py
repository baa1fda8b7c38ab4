"""Kubernetes manifests as people write them: what is in them, and where.

Runs on the operator's machine, in Ansible and in the program: standard library and PyYAML, Python 3.9.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = (".yaml", ".yml")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ManifestError(Exception):
    """A manifest cannot be used; the text says which and why."""


class Manifest(NamedTuple):
    """One object, and where it was read."""

    obj: dict[str, Any]
    file: str
    lines: dict[str, int]
    """Line of every field by its path, such as `spec.ports[0].port`; of the whole object by the empty path."""

    @property
    def source(self) -> dict[str, Any]:
        """The place as plain data."""
        return {"file": self.file, "lines": self.lines}


def files(paths: Sequence[str], base: str | Path) -> list[Path]:
    """Return the files that the paths name; relative ones start at base.

    Raises:
        ManifestError: when there is no such file, or a directory holds no manifest.
    """
    found: list[Path] = []
    for name in paths:
        path = Path(base) / Path(name).expanduser()
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES)
            if not inside:
                raise ManifestError(f"The directory {path} holds no *.yaml or *.yml file.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ManifestError(f"There is no file or directory {path}; correct the path.")
    return found


def read(path: Path) -> list[Manifest]:
    """Return the objects of a file.

    Raises:
        ManifestError: when the file is no YAML, or a document is no Kubernetes object.
    """
    try:
        documents = list(_documents(path.read_text(encoding="utf-8")))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{path}:{line}: this is not valid YAML: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: this is not valid YAML: {error}.") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error
    found = []
    for document, node in documents:
        for obj, place in _objects(document, node):
            line = place.start_mark.line + 1
            if missing := _missing(obj):
                raise ManifestError(f"{path}:{line}: this is no Kubernetes object: {missing} is missing.")
            # The schemas in a definition are long, and nobody writes them by hand.
            fields = () if obj["kind"] == "CustomResourceDefinition" else _lines(place, "")
            found.append(Manifest(obj, str(path), {"": line, **dict(fields)}))
    return found


def local_images(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Return the images that no registry is meant for, each with the place that says so first.

    These are the images of containers of any kind (in pods, Jobs, CronJobs, init containers) with
    `imagePullPolicy: Never`.
    """
    found: dict[str, str] = {}
    for manifest in manifests:
        for path, image in _never_pulled(manifest.obj, ""):
            found.setdefault(image, f"{manifest.file}:{manifest.lines.get(path, manifest.lines.get('', 1))}")
    return found


def _never_pulled(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if value.get("imagePullPolicy") == "Never" and isinstance(value.get("image"), str) and value["image"]:
            yield f"{path}.image", value["image"]
        for key, inside in value.items():
            yield from _never_pulled(inside, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for number, inside in enumerate(value):
            yield from _never_pulled(inside, f"{path}[{number}]")


def _documents(text: str) -> Iterator[tuple[Any, yaml.Node]]:
    loader = LOADER(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield loader.construct_document(node), node
    finally:
        loader.dispose()


def _objects(document: Any, node: yaml.Node) -> Iterator[tuple[Any, yaml.Node]]:
    """Return the object of a document, or those of a List; nothing of an empty document."""
    if document is None:
        return
    if isinstance(document, dict) and document.get("kind") == "List":
        items = next((value for key, value in node.value if key.value == "items"), None)
        yield from zip(document.get("items") or [], items.value if items else [])
    else:
        yield document, node


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inside = f"{path}.{key.value}" if path else str(key.value)
            yield inside, key.start_mark.line + 1
            yield from _lines(value, inside)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            inside = f"{path}[{number}]"
            yield inside, value.start_mark.line + 1
            yield from _lines(value, inside)


def _missing(obj: Any) -> str:
    if not isinstance(obj, dict):
        return "everything from apiVersion on"
    for name in ("apiVersion", "kind", "metadata"):
        if not obj.get(name):
            return name
    return "" if isinstance(obj["metadata"], dict) and obj["metadata"].get("name") else "metadata.name"
