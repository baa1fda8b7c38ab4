"""Run a program on a host and say clearly what went wrong when it fails.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ansible.module_utils.basic import AnsibleModule

TOLD_LINES = 15
# Seconds a program may take that only answers, or starts what answers.
ANSWER_SECONDS = 120
# Exit codes of `timeout`: it ended the program, or had to kill it after so many seconds more.
TIMED_OUT, KILLED = 124, 137
KILLED_AFTER = 5
# What they say is read, so they say it in English.
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "LANGUAGE": ""}


def execute(
    module: AnsibleModule, command: Sequence[object], *, seconds: int = ANSWER_SECONDS, **options: Any
) -> tuple[int, str, str]:
    """Run a program to its end, and to that of its time; return exit code, standard output and standard error.

    Every program a module starts goes through here, because one that never ends would hold the run without a word.

    Args:
        module: The running module.
        command: The program and its arguments; never a secret among them. A program that is missing ends with 127.
        seconds: How long it may take; then it is ended, with 124 for its exit code.
        options: As for C(AnsibleModule.run_command).
    """
    words = ["timeout", f"--kill-after={KILLED_AFTER}", str(seconds), *map(str, command)]
    environment = {**ENVIRONMENT, **options.pop("environ_update", {})}
    code, stdout, stderr = module.run_command(words, environ_update=environment, **options)
    if code in (TIMED_OUT, KILLED):
        return TIMED_OUT, stdout, f"{stderr}\n{command[0]} did not end within {seconds} s".strip()
    return code, stdout, stderr.replace("timeout: failed to run command", "cannot run")


def ended(
    command: Sequence[str], *, seconds: float, environment: Mapping[str, str], stdin: str = "", **files: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end where no module is at hand, and return how it ended.

    Args:
        command: The program and its arguments; never a secret among them.
        seconds: How long it may take.
        environment: All of it.
        stdin: Text for its standard input: that of this process is not meant for it.
        files: Which open files it inherits, as for C(subprocess.run).

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It took longer, and was killed.
    """
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=seconds,
        env=environment,
        **files,
    )


def run(
    module: AnsibleModule,
    command: Sequence[str],
    *,
    purpose: str,
    stdin: str | None = None,
    seconds: int = ANSWER_SECONDS,
) -> str:
    """Run a program and return what it printed; end the module when it fails.

    Args:
        module: The running module.
        command: The program and its arguments; never a secret among them.
        purpose: What it is for, as it follows "Cannot", such as "start docker.service".
        stdin: Text for its standard input.
        seconds: How long it may take.
    """
    code, stdout, stderr = execute(module, command, seconds=seconds, data=stdin)
    if code != 0:
        said = last_lines(stderr) or last_lines(stdout) or "it said nothing"
        module.fail_json(msg=f"Cannot {purpose}: {command[0]} ended with exit code {code}: {said}", cmd=list(command))
    return str(stdout)


def last_lines(text: str, count: int = TOLD_LINES) -> str:
    """Return the end of an output, short enough for a message: the last lines that are not blank."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])
