"""Which operating system a host runs, and what differs by it.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

T = TypeVar("T")
PATHS = ("/etc/os-release", "/usr/lib/os-release")


def read_os_release() -> dict[str, str]:
    """Return /etc/os-release as a dictionary; empty when the host has none."""
    for path in PATHS:
        try:
            with open(path, encoding="utf-8") as stream:
                pairs = (line.partition("=") for line in stream.read().splitlines() if "=" in line and line[:1] != "#")
                return {key: " ".join(shlex.split(value)) for key, _, value in pairs}
        except FileNotFoundError:
            continue
    return {}


def choose(module: AnsibleModule, by_system: dict[str, T], *, purpose: str) -> T:
    """Return what is meant for this host from a dictionary by `debian-13`, `debian` or a relative such as `rhel`."""
    system = read_os_release()
    name, version = system.get("ID", "unknown"), system.get("VERSION_ID", "")
    for key in (f"{name}-{version}", name, *system.get("ID_LIKE", "").split()):
        if key in by_system:
            return by_system[key]
    module.fail_json(
        msg=f"This host runs {system.get('PRETTY_NAME', name)}, for which {purpose} are not known. "
        f"Known are: {', '.join(sorted(by_system))}."
    )
    raise AssertionError  # fail_json does not return
