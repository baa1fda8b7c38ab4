"""What kind of host this is: operating system, container or machine.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

T = TypeVar("T")
PATHS = (Path("/etc/os-release"), Path("/usr/lib/os-release"))
CONTAINER_MARK = Path("/run/systemd/container")


def read_os_release() -> dict[str, str]:
    """Return /etc/os-release as a dictionary; empty when the host has none."""
    for path in PATHS:
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            continue
        pairs = (line.partition("=") for line in lines if "=" in line and line[:1] != "#")
        return {key: " ".join(shlex.split(value)) for key, _, value in pairs}
    return {}


def in_container() -> bool:
    """Tell whether the host is a system container: it shares kernel and swap with the machine it runs on."""
    return CONTAINER_MARK.exists()


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
