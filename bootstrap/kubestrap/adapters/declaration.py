"""Reads the declaration of the `cluster_*` variables."""

from typing import Any

import yaml

from kubestrap.adapters.content import collection, collection_module
from kubestrap.model.variables import Declaration, parse_declaration


def load_declaration() -> Declaration:
    """Return every variable a person may set."""
    made = ("playbooks/group_vars/all/wiring.yml", "playbooks/group_vars/all/derived.yml")
    wiring, derived = map(_read, made)
    findings = collection_module("findings.catalogue").CATALOGUE
    return parse_declaration(_read("roles/cluster/meta/argument_specs.yml"), {**wiring, **derived}, findings)


def _read(path: str) -> Any:
    text = (collection() / path).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
