#!/usr/bin/python
"""Ansible module manifests."""

from __future__ import annotations

DOCUMENTATION = r"""
module: manifests
short_description: Read Kubernetes manifests
description:
  - Reads files and directories on the operator's machine. Changes nothing.
author: kubestrap contributors
options:
  paths:
    description: Files, or directories whose C(*.yaml) and C(*.yml) are read in the order of their names.
    type: list
    elements: str
    required: true
  base:
    description: Directory at which relative paths start.
    type: str
    default: "."
requirements: [PyYAML, which ansible-core brings along]
"""

EXAMPLES = r"""
- name: Read the manifests
  kubestrap.cluster.manifests:
    paths: [k8s]
    base: "{{ inventory_dir }}"
  delegate_to: localhost
"""

RETURN = r"""
objects:
  description: The objects, in the order in which they were read.
  returned: success
  type: list
  elements: dict
sources:
  description: For each object, the file and the number of the document in it.
  returned: success
  type: list
  elements: str
"""

from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule

SUFFIXES = (".yaml", ".yml")


class ManifestError(Exception):
    """A manifest cannot be used; the text says which and why."""


def files(paths: list[str], base: str) -> list[Path]:
    """Return the files that the paths name.

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
            raise ManifestError(f"There is no manifest {path}.")
    return found


def read(path: Path) -> list[tuple[dict[str, Any], str]]:
    """Return the objects of a file, each with where it stands.

    Raises:
        ManifestError: when the file is no YAML, or a document is no Kubernetes object.
    """
    try:
        documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManifestError(f"{path}, line {line}: this is not YAML: {error.problem}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: this is not YAML: {error}.") from error
    objects = []
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        source = f"{path}, document {number}" if len(documents) > 1 else str(path)
        inside = (
            document.get("items", []) if isinstance(document, dict) and document.get("kind") == "List" else [document]
        )
        for obj in inside:
            missing = _missing(obj)
            if missing:
                raise ManifestError(f"{source}: this is no Kubernetes object: {missing} is missing.")
            objects.append((obj, source))
    return objects


def _missing(obj: Any) -> str:
    if not isinstance(obj, dict):
        return "everything from apiVersion on"
    for name in ("apiVersion", "kind", "metadata"):
        if not obj.get(name):
            return name
    return "" if isinstance(obj["metadata"], dict) and obj["metadata"].get("name") else "metadata.name"


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "str", "required": True},
            "base": {"type": "str", "default": "."},
        },
        supports_check_mode=True,
    )
    try:
        found = [entry for path in files(module.params["paths"], module.params["base"]) for entry in read(path)]
    except ManifestError as error:
        module.fail_json(msg=str(error))
    if not found:
        module.fail_json(msg=f"The manifests hold no Kubernetes object: {', '.join(module.params['paths'])}.")
    module.exit_json(changed=False, objects=[obj for obj, _ in found], sources=[source for _, source in found])


if __name__ == "__main__":
    main()
