"""Renders text for people."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


class JinjaRenderer:
    """Fills the templates in bootstrap/kubestrap/templates/."""

    def __init__(self) -> None:
        """Load no template yet."""
        self._environment = Environment(
            loader=FileSystemLoader(Path(str(files("kubestrap"))) / "templates"),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            autoescape=select_autoescape(("html.j2",)),
        )
        self._environment.filters |= {"setting": _setting, "plain": _plain, "markdown": _markdown}

    def render(self, template: str, **values: Any) -> str:
        """Fill one template; a value it lacks is an error."""
        return self._environment.get_template(template).render(**values)


def _setting(value: Any, name: str) -> str:
    """Return `name: value` as YAML, however many lines that takes."""
    text: str = yaml.safe_dump({name: value}, default_flow_style=False, sort_keys=False, width=1000)
    return text.rstrip("\n")


def _plain(description: str) -> str:
    """Take Ansible's markup off a description."""
    return re.sub(r"[A-Z]\(([^)]*)\)", r"\1", description)


def _markdown(description: str) -> str:
    """Turn Ansible's markup into Markdown."""
    return re.sub(r"C\(([^)]*)\)", r"`\1`", description)
