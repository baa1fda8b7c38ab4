"""What must be true of a host before Ansible can work on it."""

from dataclasses import dataclass

SLOW_SECONDS = 8
"""A login that takes longer is told: Ansible itself waits for ten seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The truth about the connection to one host."""

    host: str
    problem: str = ""
    fix: str = ""
    seconds: float = 0.0
    """How long the login took."""

    @property
    def ok(self) -> bool:
        """Whether Ansible can work there."""
        return not self.problem

    @property
    def slow(self) -> bool:
        """Whether it is reached, but so late that Ansible needs more patience."""
        return self.ok and self.seconds >= SLOW_SECONDS

    @property
    def sentence(self) -> str:
        """Cause and fix in one line."""
        return f"{self.problem}; {self.fix}" if self.fix else self.problem


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """The key a host shows, and the line that would make it known."""

    host: str
    type: str
    fingerprint: str
    line: str
    known: bool
