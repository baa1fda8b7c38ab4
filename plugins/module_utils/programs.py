"""Run a program on a host and say clearly what went wrong when it fails.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def last_lines(text: str) -> str:
    """Return the end of an output, short enough for a message."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-TOLD_LINES:])
