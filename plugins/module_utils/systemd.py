"""Units of systemd: look at them, enable, start, restart when what they run from is not what they were started with.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text, write_atomically
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute, last_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

PROPERTIES = "Id,LoadState,ActiveState,UnitFileState,StateChangeTimestampMonotonic,NeedDaemonReload,InvocationID"
# Gone after a reboot, as the units that it tells about are.
NOTES = Path("/run/kubestrap/started-with")


def show(module: AnsibleModule, units: Iterable[str]) -> dict[str, dict[str, str]]:
    """Return the properties of units by name, those that do not exist included."""
    names = list(units)
    text = run(module, ["systemctl", "show", "--property", PROPERTIES, *names], purpose="ask systemd about units")
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in text.split("\n\n")]
    return dict(zip(names, [block for block in blocks if block]))


class StartedWith:
    """The files a running unit was started (or reloaded) with.

    They are told by their digests, in a note that is made whenever we start it. Times of files say nothing after a
    clock was set; so they are asked only where there is no note, and one that lies in the future is not believed.
    """

    def __init__(self, module: AnsibleModule, name: str, unit: dict[str, str], paths: Iterable[str]) -> None:
        """Look at the unit (as `show` tells it) and its files; to be made before anything of them is changed."""
        self.module = module
        self.name = name
        self.running = unit.get("ActiveState") in {"active", "activating", "reloading"}
        self.paths = list(paths)
        note = _read_note(name)
        same = unit.get("InvocationID", "") == note.get("invocation", "")
        self._with: dict[str, str] = {}
        if not self.running:
            return
        for path in self.paths:
            now = _digest(path)
            if path in note and (same or note[path] == now):
                self._with[path] = note[path]
            else:
                # Nobody has noted anything yet, or somebody else changed the file and started the unit since.
                self._with[path] = "unknown" if _is_younger(path, unit) else now
        if not module.check_mode:
            # A run that is cut after it changed a file has to know it the next time.
            _write_note(name, unit.get("InvocationID", ""), self._with)

    def differs(self, *paths: str) -> bool:
        """Tell whether the unit runs, and one of these files is another now than it was started with."""
        return self.running and any(self._with.get(path) != _digest(path) for path in paths)

    def note(self) -> None:
        """Note that the unit runs with the files as they are now."""
        unit = show(self.module, [self.name])[self.name]
        _write_note(self.name, unit.get("InvocationID", ""), {path: _digest(path) for path in self.paths})


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except FileNotFoundError:
        return "not there"


def _is_younger(path: str, unit: dict[str, str]) -> bool:
    """Tell whether a file was written after a unit entered its state, as far as the times of files can be believed."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return False
    now = time.time()
    entered = now - time.clock_gettime(time.CLOCK_MONOTONIC) + int(unit["StateChangeTimestampMonotonic"]) / 1e6
    # Anybody can set the first one; the second one is the kernel's.
    written = next((seconds for seconds in (status.st_mtime, status.st_ctime) if seconds <= now), 0.0)
    return written > entered


def _read_note(name: str) -> dict[str, str]:
    try:
        note = json.loads(read_text(str(NOTES / name)) or "{}")
    except ValueError:
        return {}
    return note if isinstance(note, dict) else {}


def _write_note(name: str, invocation: str, digests: dict[str, str]) -> None:
    content = json.dumps({"invocation": invocation, **digests}, indent=2, sort_keys=True) + "\n"
    if read_text(str(NOTES / name)) != content:
        write_atomically(str(NOTES / name), content)


def enable(changes: Changes, name: str, unit: dict[str, str]) -> None:
    """Make systemd start a unit at boot."""
    if unit.get("UnitFileState") not in {"enabled", "enabled-runtime", "static", "alias", "indirect", "generated"}:
        command = ["systemctl", "enable", "--quiet", name]
        changes.act(
            f"{name} at boot",
            lambda: run(changes.module, command, purpose=f"enable {name}"),
            before="disabled\n",
            after="enabled\n",
            was=[before(name, unit)],
        )


def start(changes: Changes, name: str, unit: dict[str, str]) -> None:
    """Start a unit that is not running."""
    if unit.get("ActiveState") != "active":
        changes.act(
            name,
            lambda: _start(changes.module, "start", name),
            before="stopped\n",
            after="running\n",
            was=[before(name, unit)],
        )


def before(name: str, unit: dict[str, str]) -> Before:
    """Return what a unit is now, for who takes a change of it back."""
    return Before("unit", name, {key: unit.get(key, "") for key in ("UnitFileState", "ActiveState")})


def restart(changes: Changes, name: str, *, verb: str = "restart", reason: str) -> None:
    """Restart (or reload) a unit, told with the reason."""
    changes.act(name, lambda: _start(changes.module, verb, name), before="running\n", after=f"{verb}: {reason}\n")


def _start(module: AnsibleModule, verb: str, name: str) -> None:
    code, _, stderr = execute(module, ["systemctl", verb, name])
    if code != 0:
        _, log, _ = execute(module, ["journalctl", "--unit", name, "--no-pager", "--output", "cat", "--lines", "15"])
        module.fail_json(msg=f"Cannot {verb} {name}: {last_lines(stderr)}\nIts log ends with:\n{last_lines(log)}")
