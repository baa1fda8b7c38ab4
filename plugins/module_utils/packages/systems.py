"""Operating systems by family: what installs their packages. One row for a family more.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import host
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import Manager

# By the ID that os-release says, or one of ID_LIKE.
MANAGERS: dict[str, Manager] = {"debian": apt, "ubuntu": apt}


def known_manager() -> Optional[Manager]:
    """Return what installs packages on this host; None on a system of another family."""
    system = host.read_os_release()
    names = [system.get("ID", ""), *system.get("ID_LIKE", "").split()]
    return next((MANAGERS[name] for name in names if name in MANAGERS), None)


def manager(module: AnsibleModule) -> Manager:
    """Return what installs packages on this host; end the module on a system of another family."""
    return known_manager() or host.choose(module, MANAGERS, purpose="ways to install packages")
