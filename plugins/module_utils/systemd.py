"""Units of systemd: look at them, enable, start, restart when what they run from is newer than they are.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.kubestrap.cluster.plugins.module_utils.commands import last_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,StateChangeTimestampMonotonic,NeedDaemonReload"


def show(module: AnsibleModule, units: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the properties of units by name, those that do not exist included."""
    names = list(units)
    text = run(module, ["systemctl", "show", "--property", PROPERTIES, *names], purpose="ask systemd about units")
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]
    return dict(zip(names, [block for block in blocks if block]))


def is_older_than(unit: dict[str, str], paths: Iterable[str]) -> bool:
    """Tell whether a running unit entered its state before one of these files was last written.

    A reload counts as entering a state, so the answer is the same no matter who reloads or restarts it.
    """
    if unit["ActiveState"] not in {"active", "activating", "reloading"}:
        return False
    entered = time.time() - time.clock_gettime(time.CLOCK_MONOTONIC) + int(unit["StateChangeTimestampMonotonic"]) / 1e6
    return any(Path(path).stat().st_mtime > entered for path in paths if Path(path).exists())


def enable(changes: Changes, name: str, unit: dict[str, str]) -> None:
    """Make systemd start a unit at boot."""
    if unit.get("UnitFileState") not in {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated"}:
        command = ["systemctl", "enable", "--quiet", name]
        changes.act(
            f"{name} at boot",
            lambda: run(changes.module, command, purpose=f"enable {name}"),
            before="disabled\n",
            after="enabled\n",
        )


def start(changes: Changes, name: str, unit: dict[str, str]) -> None:
    """Start a unit that is not running."""
    if unit.get("ActiveState") != "active":
        changes.act(name, lambda: _start(changes.module, "start", name), before="stopped\n", after="running\n")


def restart(changes: Changes, name: str, *, verb: str = "restart", reason: str) -> None:
    """Restart (or reload) a unit, told with the reason."""
    changes.act(name, lambda: _start(changes.module, verb, name), before="running\n", after=f"{verb}: {reason}\n")


def _start(module: AnsibleModule, verb: str, name: str) -> None:
    code, _, stderr = module.run_command(["systemctl", verb, name])
    if code != 0:
        _, log, _ = module.run_command(["journalctl", "--unit", name, "--no-pager", "--output", "cat", "--lines", "15"])
        module.fail_json(msg=f"Cannot {verb} {name}: {last_lines(stderr)}\nIts log ends with:\n{last_lines(log)}")
