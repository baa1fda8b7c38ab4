"""Writes the pages and files that say what the code already says: `python -m tools.docs`."""

import argparse
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from unittest import mock

import yaml
from kubestrap.adapters.content import collection_module
from kubestrap.adapters.declaration import load_declaration
from kubestrap.adapters.templates import JinjaRenderer
from kubestrap.cli import parser
from kubestrap.model.exit_code import ExitCode
from kubestrap.model.variables import Variable
from kubestrap.verbs import ALL

ROOT = Path(__file__).parents[1]
SUPPLY = collection_module("supply")


def generated() -> dict[Path, str]:
    """Content of every generated file, by its path in the checkout."""
    render = JinjaRenderer().render
    variables = list(load_declaration().variables.values())
    findings = collection_module("findings.catalogue").CATALOGUE
    # Help texts wrap at the width of the terminal.
    with mock.patch.dict(os.environ, {"COLUMNS": "110"}):
        commands = [{"name": name, "help": command.format_help().rstrip()} for name, command in every_command(parser())]
    return {
        Path("docs/variables.md"): render("variables.md.j2", variables=variables).rstrip() + "\n",
        Path("docs/findings.md"): render("findings.md.j2", findings=findings).rstrip() + "\n",
        Path("docs/commands.md"): render("commands.md.j2", commands=commands).rstrip() + "\n",
        Path("README.md"): with_commands((ROOT / "README.md").read_text(encoding="utf-8")),
        Path("docs/mirrors.md"): with_supply((ROOT / "docs/mirrors.md").read_text(encoding="utf-8"), variables),
        Path("inventory/sample/hosts.yml"): render("sample_hosts.yml.j2"),
        Path("inventory/sample/group_vars/all.yml"): render("sample_variables.yml.j2", variables=variables).rstrip()
        + "\n",
    }


def with_commands(page: str) -> str:
    """The page with the verbs and the exit codes there are."""
    rows = [f"| `kubestrap {verb.name}` | {verb.help} |" for verb in ALL]
    page = between(page, "commands", ["| command | what it does |", "|---|---|", *rows])
    return between(page, "exit codes", [" · ".join(f"{code:d} {code.sentence}" for code in ExitCode)])


def between(page: str, name: str, lines: Iterable[str]) -> str:
    """The page with these lines in the place of that name."""
    text = "".join(f"{line}\n" for line in lines)
    return re.sub(rf"(?s)(<!-- {name} -->\n).*?(<!-- end -->)", lambda found: found[1] + text + found[2], page)


def with_supply(page: str, variables: Iterable[Variable]) -> str:
    """The page with every address as a site's own servers would have it, and all that is behind them."""
    defaults = {one.name: one.default for one in variables}
    addresses = {name: on_site(value) for name, value in defaults.items() if name in SUPPLY.ADDRESSES}
    example = yaml.safe_dump(addresses, sort_keys=False, width=1000).splitlines()
    page = between(page, "every address", ["```yaml", *example, "```"])
    rows = [f"| {file.address} | `{file.sha256}` |" for file in SUPPLY.files(defaults)]
    rows += [f"| `{name}` | `{digest}` |" for name, digest in defaults[SUPPLY.IMAGES].items()]
    return between(page, "supply", ["| file or image | its digest |", "|---|---|", *rows])


def on_site(address: str) -> str:
    """An address with the same path on a server of one's own."""
    scheme, separator, rest = address.rpartition("://")
    path = rest.partition("/")[2]
    if separator or not address:
        return f"{scheme or 'https'}://mirror.example.com/{path}"
    return "/".join(["registry.example.com:5000", *([path] if path else [])])


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
