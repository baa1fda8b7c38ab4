"""Reads the declaration of the `cluster_*` variables."""

from typing import Any

import yaml

from kubestrap.adapters.content import collection
from kubestrap.model.variables import Declaration, parse_declaration


def load_declaration() -> Declaration:
    """Return every variable a person may set."""
    text = (collection() / "roles/cluster/meta/argument_specs.yml").read_text(encoding="utf-8")
    data: Any = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    return parse_declaration(data)
