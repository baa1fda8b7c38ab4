"""What can go wrong for people: one class per cause, each with its exit code."""

from collections.abc import Sequence

from kubestrap.model.exit_code import ExitCode


class KubestrapError(Exception):
    """Something a person can act on. The message says what is wrong, where, and what to do."""

    exit_code = ExitCode.BUG

    def __init__(self, message: str, *, details: Sequence[str] = ()) -> None:
        """Take the sentence, and lines that belong to it."""
        super().__init__(message)
        self.message = message
        self.details = tuple(details)


class UsageError(KubestrapError):
    """A flag, an argument or a file it names makes no sense; nothing was started."""

    exit_code = ExitCode.BAD_INPUT


class InventoryError(KubestrapError):
    """The inventory cannot be used; `details` holds every mistake, one a line."""

    exit_code = ExitCode.BAD_INPUT


class StepFailedError(KubestrapError):
    """A step failed on a host, or a program on this machine did not do its work."""

    exit_code = ExitCode.STEP_FAILED
