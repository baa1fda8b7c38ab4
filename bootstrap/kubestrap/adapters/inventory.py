"""Reads an inventory with Ansible's own reader, and finds where something is written."""

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubestrap.adapters.content import programs_directory
from kubestrap.adapters.environment import clean_environment, extra_vars_files
from kubestrap.adapters.inventory_errors import parse_failure
from kubestrap.adapters.private import private_directory
from kubestrap.errors import InventoryError
from kubestrap.model.cluster import Inventory
from kubestrap.model.validation import Problem

_SECONDS = 120
_STRICT = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "False"}


class AnsibleInventoryReader:
    """Reads any inventory that Ansible can read: YAML, INI, directories, dynamic ones."""

    def __init__(self, state: Path) -> None:
        """Take the directory under which variables lie while the inventory is read."""
        self._state = state

    def read(self, sources: Sequence[Path], extra_vars: Sequence[str]) -> Inventory:
        """Return hosts, groups and variables.

        Raises:
            InventoryError: When a source is missing or Ansible cannot read it.
            UsageError: When an extra variable cannot be read.
        """
        for source in sources:
            if not source.exists():
                raise InventoryError(f"there is no inventory {source}; `kubestrap init` writes one, -i names another")
        with private_directory(self._state, "run-") as directory, ThreadPoolExecutor() as pool:
            files = extra_vars_files(extra_vars, directory)
            several = sources if len({_directory(source) for source in sources}) > 1 else ()
            named = [pool.submit(_hosts_in, source) for source in several]
            data = _read(sources, files)
            directories = {
                host: _directory(source)
                # Ansible takes the first source that names a host, so it comes last here.
                for source, hosts in reversed([*zip(several, named, strict=True)])
                for host in hosts.result()
            }
        variables = data.pop("_meta", {}).get("hostvars", {})
        groups = {name: tuple(dict.fromkeys(_members(name, data))) for name in data}
        everyone = dict.fromkeys(host for members in groups.values() for host in members)
        return Inventory(
            groups=groups,
            variables={host: variables.get(host, {}) for host in everyone},
            sources=tuple(source.absolute() for source in sources),
            directories=directories,
        )

    def describe(
        self, problems: Sequence[Problem], sources: Sequence[Path], extra_vars: Sequence[str]
    ) -> tuple[str, ...]:
        """Return one line a mistake: place, hosts, what is wrong and what to do."""
        lines = []
        for problem in problems:
            place = _place(problem.variable, sources, extra_vars) if problem.variable else str(_short(sources[0]))
            hosts = f" {', '.join(problem.hosts)}:" if problem.hosts else ""
            lines.append(f"{place}:{hosts} {problem.text}")
        return tuple(lines)


def _read(sources: Sequence[Path], files: Sequence[Path]) -> dict[str, Any]:
    """Return what ansible-inventory makes of the sources."""
    command = [str(programs_directory() / "ansible-inventory"), "--list"]
    command += [word for source in sources for word in ("-i", str(source.absolute()))]
    command += [word for file in files for word in ("-e", f"@{file}")]
    try:
        done = subprocess.run(
            command, env=clean_environment() | _STRICT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        names = ", ".join(str(_short(source)) for source in sources)
        raise InventoryError(
            f"{names}: no inventory within {_SECONDS} s; what does its script or plugin wait for?"
        ) from None
    if done.returncode:
        raise InventoryError(_parse_failure(done.stderr, sources, files))
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def _hosts_in(source: Path) -> set[str]:
    """Return the hosts a source names; none when it makes no sense without the others."""
    with contextlib.suppress(InventoryError):
        data = _read([source], [])
        return {host for name in data if name != "_meta" for host in _members(name, data)}
    return set()


def _directory(source: Path) -> Path:
    source = source.absolute()
    return source if source.is_dir() else source.parent


def _members(group: str, data: Mapping[str, Any]) -> Iterator[str]:
    entry = data.get(group, {})
    yield from entry.get("hosts", ())
    for child in entry.get("children", ()):
        yield from _members(child, data)


def _parse_failure(errors: str, sources: Sequence[Path], files: Sequence[Path]) -> str:
    """Say what cannot be read, where, and why."""
    path, line, text = parse_failure(errors, sources, files)
    return f"{_short(path)}{f':{line}' if line else ''}: {text}"


def _place(variable: str, sources: Sequence[Path], extra_vars: Sequence[str]) -> str:
    """Return where a variable is written as `file:line`; the inventory when it cannot be found."""
    pattern = re.compile(rf"(^|[\s\"'{{,]){re.escape(variable)}[\"']?\s*[:=]")
    # Ansible's precedence: what wins is looked at first.
    for text in reversed(extra_vars):
        if text.startswith("@"):
            if place := _line(Path(text[1:]).expanduser(), pattern):
                return place
        elif pattern.search(text):
            return "-e"
    for source in reversed(sources):
        for path in _files(source):
            if place := _line(path, pattern):
                return place
    return str(_short(sources[0]))


def _files(source: Path) -> Iterator[Path]:
    directory = source if source.is_dir() else source.parent
    for name in ("host_vars", "group_vars"):
        yield from sorted(path for path in (directory / name).rglob("*") if path.is_file())
    if source.is_dir():
        yield from sorted(path for path in source.iterdir() if path.is_file())
    else:
        yield source


def _line(path: Path, pattern: re.Pattern[str]) -> str | None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("#") and pattern.search(line):
            return f"{_short(path)}:{number}"
    return None


def _short(path: Path) -> Path:
    absolute = path.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
