"""The declared `cluster_*` variables, and whether a value fits its declaration."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

PREFIX = "cluster_"
_TRUE_OR_FALSE = {"true", "false", "yes", "no", "on", "off", "1", "0"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One declared variable."""

    name: str
    type: str
    default: Any
    description: str
    choices: tuple[str, ...] = ()
    elements: str | None = None


@dataclass(frozen=True, slots=True)
class Declaration:
    """Every variable a person may set, by name, in the order of the declaration."""

    variables: Mapping[str, Variable]
    set_by_us: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the playbooks give to roles, each with its expression. One of an inventory would win over it."""
    findings: frozenset[str] = frozenset()
    """The IDs that a person may accept."""

    def default(self, name: str) -> Any:
        """The declared default of a variable."""
        return self.variables[name].default


def parse_declaration(
    data: Mapping[str, Any], set_by_us: Mapping[str, Any], findings: Iterable[str] = ()
) -> Declaration:
    """Read the content of an argument specification, and of the variables that the playbooks set themselves."""
    options = data["argument_specs"]["main"]["options"]
    return Declaration(
        {
            name: Variable(
                name=name,
                type=option.get("type", "str"),
                default=option.get("default"),
                description=_joined(option["description"]),
                choices=tuple(option.get("choices", ())),
                elements=option.get("elements"),
            )
            for name, option in options.items()
        },
        {name: str(value) for name, value in set_by_us.items()},
        frozenset(findings),
    )


def is_template(value: Any) -> bool:
    """Tell whether only Ansible can know the value: it holds Jinja, or is encrypted by Vault."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, Mapping):
        return "__ansible_vault" in value or any(map(is_template, value.values()))
    if isinstance(value, Sequence):
        return any(map(is_template, value))
    return False


def name_problem(name: str, declaration: Declaration) -> str | None:
    """Say that a variable does not exist, and which one may be meant; None when it is not ours or is fine."""
    if name in declaration.variables:
        return None
    if name in declaration.set_by_us or name.startswith(f"__{PREFIX}"):
        sources = sorted(set(re.findall(rf"\b{PREFIX}\w+", declaration.set_by_us.get(name, ""))))
        instead = f"set {' or '.join(sources)} instead" if sources else "give yours another name"
        return f"{name} is set by kubestrap itself; {instead}"
    if name.startswith(PREFIX):
        meant = _meant(name, declaration)
        hint = f"did you mean {meant}?" if meant else "see docs/variables.md for the variables there are"
        return f"there is no variable {name}; {hint}"
    close = get_close_matches(name, declaration.variables, n=1, cutoff=0.93)
    return f"{name} has no effect; did you mean {close[0]}?" if close else None


def _meant(name: str, declaration: Declaration) -> str | None:
    """Return the variable that is the same but for slips: a proposal of another meaning is worse than none.

    Words are compared one by one, so that a long word in common does not outweigh another subject.
    """

    def same(mine: str, theirs: str) -> bool:
        short, long = sorted((mine, theirs), key=len)
        return (len(short) > 2 and long.startswith(short)) or bool(get_close_matches(mine, [theirs], cutoff=0.75))  # noqa: PLR2004

    for candidate in get_close_matches(name, declaration.variables, n=5, cutoff=0.6):
        mine, theirs = name.split("_"), candidate.split("_")
        joined = "".join(mine), "".join(theirs)
        if get_close_matches(joined[0], joined[1:], cutoff=0.95) or (
            len(mine) == len(theirs) and all(map(same, mine, theirs))
        ):
            return candidate
    return None


def value_problem(value: Any, variable: Variable) -> str | None:
    """Say why a value does not fit its variable; None when it fits or only Ansible can tell."""
    if is_template(value):
        return None
    if problem := _type_problem(value, variable.type):
        return problem
    if variable.type != "list":
        return _choice_problem(value, variable)
    for index, element in enumerate(value):
        problem = _type_problem(element, variable.elements or "raw") or _choice_problem(element, variable)
        if problem:
            return f"item {index + 1} {problem}"
        if element == "":
            return f"item {index + 1} is empty"
    return None


def _choice_problem(value: Any, variable: Variable) -> str | None:
    if not variable.choices or str(value) in variable.choices:
        return None
    close = get_close_matches(str(value), variable.choices, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return f"is {value!r}, but must be one of: {', '.join(variable.choices)}{hint}"


def _type_problem(value: Any, wanted: str) -> str | None:  # noqa: C901, PLR0911, PLR0912 - one case a type
    match wanted:
        case "str":
            if isinstance(value, bool):
                return f"is {str(value).lower()} (true or false), but must be text; put it in quotes"
            if value is None or not isinstance(value, str | int | float):
                return f"is {_kind(value)}, but must be text"
        case "int":
            if isinstance(value, bool) or not re.fullmatch("-?[0-9]{1,18}", str(value).strip()):
                return f"is {value!r}, but must be a whole number"
        case "float":
            if isinstance(value, bool) or not re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]+)?", str(value).strip()):
                return f"is {value!r}, but must be a number"
        case "bool":
            if not isinstance(value, bool) and str(value).lower() not in _TRUE_OR_FALSE:
                return f"is {value!r}, but must be true or false"
        case "list":
            if not isinstance(value, list | tuple):
                return f'is {_kind(value)}, but must be a list; on the command line write -e \'{{"NAME": ["..."]}}\''
        case "dict":
            if not isinstance(value, Mapping):
                # Without the text: it may be a login.
                return f"is {'text' if isinstance(value, str) else _kind(value)}, but must be a mapping (key: value)"
        case _:
            pass
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    # Before an @ there may be a password.
    return "a list" if isinstance(value, list | tuple) else f"{value!r}" if "@" not in str(value) else "text"


def _joined(description: str | Sequence[str]) -> str:
    return description if isinstance(description, str) else " ".join(description)
