"""The table of systems: which manager, and what a system of another family gets."""

from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import host
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt, systems


class Module:
    """An AnsibleModule that ends."""

    def fail_json(self, *, msg: str) -> None:
        raise SystemExit(msg)


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ({"ID": "debian"}, apt),
        ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, apt),
        ({"ID": "fedora"}, None),
        ({}, None),
    ],
)
def test_a_system_has_the_manager_of_its_family(
    system: dict[str, str], expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "read_os_release", lambda: system)
    assert systems.known_manager() is expected


def test_a_system_of_another_family_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "read_os_release", lambda: {"ID": "fedora", "PRETTY_NAME": "Fedora 44"})
    with pytest.raises(SystemExit, match=r"runs Fedora 44, for which ways to install packages are not known\. Known"):
        systems.manager(Module())  # type: ignore[arg-type]
