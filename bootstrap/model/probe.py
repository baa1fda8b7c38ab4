"""What must be true of a host before Ansible can work on it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The truth about the connection to one host."""

    host: str
    problem: str = ""
    fix: str = ""

    @property
    def ok(self) -> bool:
        """Whether Ansible can work there."""
        return not self.problem

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
