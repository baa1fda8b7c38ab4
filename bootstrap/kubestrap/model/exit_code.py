"""What a run amounts to, as the number a shell sees."""

from enum import IntEnum
from typing import Self


class ExitCode(IntEnum):
    """Every exit code, with its sentence for help and documentation."""

    sentence: str

    def __new__(cls, number: int, sentence: str) -> Self:
        """Keep the sentence beside the number."""
        code = int.__new__(cls, number)
        code._value_ = number
        code.sentence = sentence
        return code

    DONE = 0, "done"
    BAD_INPUT = 2, "bad inventory or usage; nothing was started"
    BLOCKED = 3, "`check` found blockers"
    UNREACHABLE = 4, "hosts cannot be reached"
    STEP_FAILED = 5, "a step failed"
    HOSTS_SET_ASIDE = 6, "done, but some hosts were set aside"
    APP_FAILED = 7, "the cluster is up, the app is not"
    INTERRUPTED = 130, "interrupted"
    BUG = 1, "a bug in kubestrap"
