"""A finding: something is wrong, this was seen, do that.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

BLOCKER = "blocker"
WARNING = "warning"


@dataclass(frozen=True)
class Finding:
    """What is wrong, and what to do about it.

    Attributes:
        id: One of the catalogue's (catalogue.py), by which a person can accept it.
        severity: BLOCKER (nothing is done before it is mended) or WARNING.
        evidence: What was seen, in a sentence.
        fix: What to do.
        details: What a program may want to know beside; it can be written as JSON.
    """

    id: str
    severity: str
    evidence: str
    fix: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def blocker(self) -> bool:
        """Whether it stops a run before its first change."""
        return self.severity == BLOCKER

    def accepted(self, ids: Collection[str]) -> Finding:
        """Return the finding as it counts when a person accepts these IDs: one of them only warns."""
        return replace(self, severity=WARNING) if self.id in ids else self


def blocker(name: str, evidence: str, fix: str) -> Finding:
    """Return a finding that stops a run before its first change."""
    return Finding(name, BLOCKER, evidence, fix)


def warning(name: str, evidence: str, fix: str) -> Finding:
    """Return a finding that is only told."""
    return Finding(name, WARNING, evidence, fix)


def as_json(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    """Return findings as modules and events carry them: details only where there are some."""
    told = ("id", "severity", "evidence", "fix")
    return [
        {**{key: getattr(one, key) for key in told}, **({"details": dict(one.details)} if one.details else {})}
        for one in findings
    ]


def from_json(items: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings that a module carried."""
    return [Finding(**item) for item in items]
