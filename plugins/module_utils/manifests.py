"""Kubernetes manifests as people write them: what is in them, and where.

Runs on the operator's machine, in Ansible and in the program: standard library and PyYAML, Python 3.9.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils import foreign_files, kubernetes_yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubernetes_yaml import YamlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUFFIXES = (".yaml", ".yml", ".json")
# What only a cluster writes into metadata; an object with one of EXPORTED was read from a cluster.
NOTES = frozenset(("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation", "selfLink"))
EXPORTED = frozenset(("uid", "resourceVersion", "managedFields"))
NOTED_BESIDE = frozenset(
    (
        "kubectl.kubernetes.io/last-applied-configuration",
        "deployment.kubernetes.io/revision",
        "pv.kubernetes.io/bind-completed",
        "pv.kubernetes.io/bound-by-controller",
    )
)


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
            if told := foreign_files.directory(path):
                raise ManifestError(f"{path}: {told}")
            inside = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
            if not inside:
                raise ManifestError(f"The directory {path} holds no *.yaml, *.yml or *.json file.")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ManifestError(f"There is no file or directory {path}; correct the path.")
    return found


def read(path: Path) -> list[Manifest]:
    """Return the objects of a file, as kubectl reads them; those that were exported from a cluster without its notes.

    Raises:
        ManifestError: when the file is no YAML, a document is no Kubernetes object, or is one for another program.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error
    if told := foreign_files.by_beginning(path, data):
        raise ManifestError(f"{path}: {told}")
    try:
        text = kubernetes_yaml.decode(data)
    except YamlError as error:
        raise ManifestError(f"{path}:{error.line}: {error}.") from error
    try:
        documents = kubernetes_yaml.load_all(text)
    except YamlError as error:
        if told := foreign_files.by_text(path, text, error.line):
            raise ManifestError(f"{path}:{error.line}: {told}") from error
        raise ManifestError(f"{path}:{error.line}: this is not valid YAML: {error}.") from error
    found = []
    for document in documents:
        for obj, step in _objects(document.value):
            # The schemas in a definition are long, and nobody writes them by hand.
            short = isinstance(obj, dict) and obj.get("kind") == "CustomResourceDefinition"
            lines = document.lines(*step)
            line = lines[""]
            told = "" if isinstance(obj, dict) else foreign_files.by_text(path, text, line)
            if told := told or foreign_files.by_content(path, obj):
                raise ManifestError(f"{path}:{line}: {told}")
            if missing := _missing(obj):
                raise ManifestError(f"{path}:{line}: this is no Kubernetes object: {missing}.")
            found.append(Manifest(without_notes(obj), str(path), {"": line} if short else lines))
    return found


def without_notes(obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object without what a cluster noted in it, such as `kubectl get -o yaml` prints."""
    metadata = {name: value for name, value in obj["metadata"].items() if name not in NOTES}
    bare = {**obj, "metadata": metadata}
    if EXPORTED.isdisjoint(name for name, value in obj["metadata"].items() if value):
        return bare
    bare.pop("status", None)
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        annotations = {name: value for name, value in annotations.items() if name not in NOTED_BESIDE}
        metadata["annotations"] = annotations
    if not annotations:
        metadata.pop("annotations", None)
    return bare


def local_images(manifests: Sequence[Manifest]) -> dict[str, str]:
    """Return the images that no registry is meant for, each with the place that says so first.

    These are the images of containers of any kind (in pods, Jobs, CronJobs, init containers) with
    `imagePullPolicy: Never`. An image by digest is none of them: it once came from a registry, or it has no digest.
    """
    found: dict[str, str] = {}
    for manifest in manifests:
        for path, image in _never_pulled(manifest.obj, ""):
            if reference(image).digest:
                continue
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


def _objects(document: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Return the object of a document, or those of a list, each with the way to it."""
    if not isinstance(document, dict) or not str(document.get("kind", "")).endswith("List") or "items" not in document:
        yield document, ()
        return
    # Items of a list that names their kind need not name it.
    named = {"apiVersion": document.get("apiVersion"), "kind": document["kind"].removesuffix("List")}
    items = document["items"] or []
    if not isinstance(items, list):
        yield items, ("items",)
        return
    for number, item in enumerate(items):
        bare = isinstance(item, dict) and named["kind"] and not item.get("kind") and not item.get("apiVersion")
        yield ({**named, **item} if bare else item), ("items", number)


def _missing(obj: Any) -> str:
    if not isinstance(obj, dict):
        return "everything from apiVersion on is missing"
    for name in ("apiVersion", "kind", "metadata"):
        if not obj.get(name):
            return f"{name} is missing"
    metadata = obj["metadata"]
    if isinstance(metadata, dict) and metadata.get("generateName") and not metadata.get("name"):
        return "metadata.name is missing; with generateName every run would make another one"
    if not isinstance(metadata, dict) or metadata.get("name") in (None, ""):
        return "metadata.name is missing"
    texts = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata.name": metadata["name"]}
    texts["metadata.namespace"] = metadata.get("namespace") or ""
    wrong = next((name for name, value in texts.items() if not isinstance(value, str)), "")
    return f"{wrong} is no text; write it in quotes" if wrong else ""
