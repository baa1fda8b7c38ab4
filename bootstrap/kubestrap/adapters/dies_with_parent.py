"""Starts a program that ends when the one that started it does, however that ends.

A file of its own, started by its path: `python dies_with_parent.py PROGRAM [ARGUMENT ...]`. ansible-runner tells
ansible-playbook to outlive a lost terminal, so that a killed kubestrap would leave it working on the hosts unwatched.
"""

import contextlib
import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of linux/prctl.h; it survives the exec below. Other systems have no such thing."""


def main() -> None:
    """Ask the kernel for the signal, and become the program."""
    parent = os.getppid()
    with contextlib.suppress(OSError, AttributeError):
        # SIGTERM: ansible-playbook ends its workers, which are in sessions of their own.
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(1)  # It ended before it could be asked for.
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
