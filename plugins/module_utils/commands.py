"""Run a program on a host and say clearly what went wrong when it fails.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible.module_utils.basic import AnsibleModule

TOLD_LINES = 15


def run(module: AnsibleModule, command: Sequence[str], *, purpose: str, stdin: str | None = None) -> str:
    """Run a program and return what it printed; end the module when it fails.

    Args:
        module: The running module.
        command: The program and its arguments; never a secret among them.
        purpose: What it is for, as it follows "Cannot", such as "start docker.service".
        stdin: Text for its standard input.
    """
    code, stdout, stderr = module.run_command(list(command), data=stdin)
    if code != 0:
        said = last_lines(stderr) or last_lines(stdout) or "it said nothing"
        module.fail_json(msg=f"Cannot {purpose}: {command[0]} ended with exit code {code}: {said}", cmd=list(command))
    return str(stdout)


def last_lines(text: str) -> str:
    """Return the end of an output, short enough for a message."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-TOLD_LINES:])
