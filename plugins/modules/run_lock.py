#!/usr/bin/python
"""Ansible module run_lock."""

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Keep other runs away from the cluster for as long as this one lasts
description:
  - Takes a lock on this host that lasts as long as the connection of the run does, however the run ends. Fails when
    another run has it, and says who, what and since when.
  - Run by hand with C(ansible-playbook), the connection stays open for ten minutes after the last task; a run of the
    same person over that connection goes on with its lock.
  - Reports no change; nothing of it is left after a reboot.
version_added: 0.1.0
author: kubestrap contributors
options:
  verb:
    description: What the run does.
    type: str
    required: true
  who:
    description: Who runs it, and where.
    type: str
    default: somebody
  state:
    description: C(absent) gives the lock of this connection back.
    type: str
    default: present
    choices: [present, absent]
attributes:
  diff_mode: {description: Shows what it changes., support: none}
  check_mode:
    description: A run that changes nothing takes no lock.
    support: full
"""

EXAMPLES = r"""
- name: Keep other runs away from the cluster
  kubestrap.cluster.run_lock:
    verb: up
    who: alice@laptop
"""

RETURN = r"""
held:
  description: Whether this run has the lock. Without a connection that lasts nobody can have it.
  returned: always
  type: bool
"""

import contextlib
import fcntl
import json
import os
import signal
import time
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule

# Gone after a reboot, as are the runs.
LOCK = "/run/kubestrap/run.lock"
# A run that has just ended gives it back within a second.
WAIT_SECONDS = 5
LOOK_EVERY = 0.5


def process(pid: int) -> tuple[str, int, str]:
    """Return name, parent and start of a process, the last to tell it from a later one with its number.

    Raises:
        OSError: There is none.
    """
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    # The name is in brackets and may hold anything; see proc_pid_stat(5).
    name, _, rest = text.partition("(")[2].rpartition(")")
    words = rest.split()
    return name, int(words[1]), words[19]


def owner(pid: int) -> Optional[tuple[int, str]]:
    """Return the process that lasts as long as the run: its SSH connection, or Ansible itself on its own machine."""
    found = None
    with contextlib.suppress(OSError):
        while pid > 1:
            name, parent, started = process(pid)
            if name.startswith("sshd"):
                # Behind an Ansible of this machine it is the person's login, which lasts longer and holds other runs.
                return found or (pid, started)
            if name.startswith("ansible"):
                found = pid, started
            pid = parent
    return found


def lives(pid: int, started: str) -> bool:
    """Tell whether it is still that process."""
    try:
        return process(pid)[2] == started
    except OSError:
        return False


def hold(handle: int, run: tuple[int, str]) -> int:
    """Let a process of its own keep the lock until the run is over; return its number."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.waitpid(child, 0)
        with os.fdopen(reader) as answer:
            return int(answer.read())
    os.setsid()
    if os.fork():
        os._exit(0)
    os.write(writer, str(os.getpid()).encode())
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    # Whoever waits for the end of our output must not wait for this.
    os.dup2(handle, 3)
    os.closerange(4, 1024)
    os.chdir("/")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while lives(*run):
        time.sleep(LOOK_EVERY)
    os._exit(0)


def taken(handle: int) -> bool:
    """Take the lock; tell whether that worked."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def known(handle: int) -> dict[str, Any]:
    """Return what the holder wrote down; empty when it has not yet."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        found = json.loads(os.read(handle, 4096) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def take(params: dict[str, Any], run: tuple[int, str]) -> Optional[dict[str, Any]]:
    """Take the lock for a run; return None, or what is known of the one that has it."""
    Path(LOCK).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while not taken(handle):
            holder = known(handle)
            if holder.get("run") == list(run):
                return None
            if time.monotonic() > deadline:
                return holder
            time.sleep(LOOK_EVERY)
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
        text = {"verb": params["verb"], "who": params["who"], "since": since, "run": run}
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        text["holder"] = hold(handle, run)
        os.write(handle, json.dumps(text).encode())
    finally:
        os.close(handle)
    return None


def give_back(run: tuple[int, str]) -> None:
    """End the holder of this run's lock."""
    with contextlib.suppress(OSError):
        handle = os.open(LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            holder = known(handle)
            # Held, and by this run: its number is that of the holder still.
            if holder.get("run") == list(run) and not taken(handle):
                os.kill(int(holder["holder"]), signal.SIGKILL)
        finally:
            os.close(handle)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "verb": {"type": "str", "required": True},
            "who": {"type": "str", "default": "somebody"},
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
        },
        supports_check_mode=True,
    )
    run = owner(os.getppid())
    if module.check_mode or run is None:
        module.exit_json(changed=False, held=False)
    if module.params["state"] == "absent":
        give_back(run)
        module.exit_json(changed=False, held=False)
    try:
        other = take(module.params, run)
    except OSError as error:
        module.fail_json(msg=f"The lock {LOCK} cannot be taken: {error.strerror}.")
    if other is not None:
        module.fail_json(
            msg=f"Another run works on this cluster: {other.get('who', 'somebody')} runs `{other.get('verb', '?')}` "
            f"since {other.get('since', 'a moment ago')}. Wait for it to end, then run again. Nothing was changed. (A "
            "run by ansible-playbook that failed keeps its connection for ten minutes.)"
        )
    module.exit_json(changed=False, held=True)


if __name__ == "__main__":
    main()
