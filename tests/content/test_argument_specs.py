"""Every role says what it takes, and means it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

ROLES = sorted(path for path in (Path(__file__).parents[2] / "roles").iterdir() if path.is_dir())


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def options(role: Path) -> dict[str, Any]:
    return read(role / "meta/argument_specs.yml")["argument_specs"]["main"].get("options") or {}


def defaults(role: Path) -> dict[str, Any]:
    path = role / "defaults/main.yml"
    return (read(path) or {}) if path.exists() else {}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_defaults_are_those_of_the_specification(role: Path) -> None:
    specified = {name: option["default"] for name, option in options(role).items() if "default" in option}
    assert defaults(role) == specified


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_an_input_has_a_default_or_is_required(role: Path) -> None:
    neither = [n for n, option in options(role).items() if ("default" in option) == bool(option.get("required"))]
    assert neither == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_inputs_carry_the_name_of_the_role_a_type_and_a_description(role: Path) -> None:
    for name, option in options(role).items():
        assert name.startswith(f"{role.name}_")
        assert option["type"]
        assert option["description"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_private_variables_look_private(role: Path) -> None:
    found = [name for path in (role / "vars").glob("*.yml") for name in read(path) or {}]
    assert [name for name in found if not name.startswith(f"__{role.name}_")] == []


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_a_role_knows_no_group_and_no_variable_of_another(role: Path) -> None:
    others = tuple(f"{other.name}_" for other in ROLES if not role.name.startswith(other.name))
    for path in [*role.glob("tasks/*.yml"), *role.glob("vars/*.yml")]:
        names = {name for expression in expressions(read(path)) for name in variables(expression)}
        assert [name for name in names if name == "groups" or name.strip("_").startswith(others)] == [], path


def expressions(content: Any) -> Iterator[str]:
    """All Jinja in tasks: templates, and the conditions that are written without braces."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in {"when", "changed_when", "failed_when", "until"}:
                for condition in value if isinstance(value, list) else [value]:
                    yield f"{{{{ {condition} }}}}"
            else:
                yield from expressions(value)
    elif isinstance(content, list):
        for value in content:
            yield from expressions(value)
    elif isinstance(content, str) and ("{{" in content or "{%" in content):
        yield content


def variables(expression: str) -> set[str]:
    return {node.name for node in Environment(autoescape=True).parse(expression).find_all(nodes.Name)}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_inputs_are_wired_to_what_the_user_says(role: Path) -> None:
    wired = read(Path(__file__).parents[2] / "playbooks/group_vars/all/wiring.yml")
    unknown = [name for name in wired if name.startswith(f"{role.name}_") and name not in options(role)]
    longer = [other.name for other in ROLES if other.name.startswith(role.name) and other != role]
    assert [name for name in unknown if not name.startswith(tuple(f"{other}_" for other in longer) or ("\0",))] == []
