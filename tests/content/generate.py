"""Writes the pages and files that say what the code already says: `python -m tests.content.generate`."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from bootstrap.adapters.declaration import load_declaration
from bootstrap.adapters.templates import JinjaRenderer
from bootstrap.cli import parser

ROOT = Path(__file__).parent.parent.parent


def generated() -> dict[Path, str]:
    """Content of every generated file, by its path in the checkout."""
    render = JinjaRenderer().render
    variables = list(load_declaration().variables.values())
    # Help texts wrap at the width of the terminal.
    with mock.patch.dict(os.environ, {"COLUMNS": "110"}):
        commands = [{"name": name, "help": command.format_help().rstrip()} for name, command in every_command(parser())]
    return {
        Path("docs/variables.md"): render("variables.md.j2", variables=variables).rstrip() + "\n",
        Path("docs/commands.md"): render("commands.md.j2", commands=commands).rstrip() + "\n",
        Path("inventory/sample/hosts.yml"): render("sample_hosts.yml.j2"),
        Path("inventory/sample/group_vars/all.yml"): render("sample_variables.yml.j2", variables=variables).rstrip()
        + "\n",
    }


def every_command(command: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The command and all below it, with the words that call them."""
    yield command.prog, command
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from every_command(below)


def main() -> None:
    """Write them all."""
    for path, text in generated().items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
