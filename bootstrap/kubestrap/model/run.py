"""What a person asks for, and the one playbook that is run for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks of a verb that works on a cluster."""

    inventories: tuple[Path, ...]
    extra_vars: tuple[str, ...] = ()
    limit: str = ""
    verbosity: int = 0
    images: tuple[str, ...] = ()
    """Images named on the command line, instead of those in the inventory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """One playbook to run."""

    name: str
    inventories: tuple[Path, ...]
    extra_vars: tuple[str, ...] = ()
    variables: Mapping[str, Any] = field(default_factory=dict)
    """Values from our own flags: taken literally, never as templates."""
    limit: tuple[str, ...] = ()
    forks: int = 10
    verbosity: int = 0
    login_seconds: int = 0
    """How long SSH may take to log in; 0 is what ansible.cfg says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How ansible-playbook ended."""

    code: int
    interrupted: bool = False
