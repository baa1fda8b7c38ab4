from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.modules import host_settings
from ansible_collections.kubestrap.cluster.plugins.modules.host_settings import HostSettings, fstab_without_swap

FSTAB = """\
# <file system> <mount point> <type> <options>
UUID=1 / ext4 errors=remount-ro 0 1
/swapfile none swap sw 0 0
UUID=2\tnone\tswap\tsw,pri=1\t0\t0
#/dev/sdb1 none swap sw 0 0
  /dev/sdd1 none swap sw 0 0
/dev/sdc1 /data/swap ext4 defaults 0 0
"""


def test_only_swap_entries_are_commented_out() -> None:
    changed = [line for line in fstab_without_swap(FSTAB).splitlines() if line not in FSTAB.splitlines()]
    assert changed == [
        "# Kubernetes needs swap off: /swapfile none swap sw 0 0",
        "# Kubernetes needs swap off: UUID=2\tnone\tswap\tsw,pri=1\t0\t0",
        "# Kubernetes needs swap off:   /dev/sdd1 none swap sw 0 0",
    ]


def test_doing_it_again_changes_nothing() -> None:
    once = fstab_without_swap(FSTAB)
    assert fstab_without_swap(once) == once


def test_swap_in_a_file_with_a_blank_has_the_time_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    # Gigabytes go back to memory page by page.
    commands: list[list[str]] = []

    class Module:
        check_mode = False

        def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
            commands.append(command)
            return 0, "", ""

    text = "Filename Type Size Used Priority\n/swap\\040of\\040mine file 8388604 4194304 -2\n"
    monkeypatch.setattr(host_settings, "read_text", {"/proc/swaps": text}.get)
    monkeypatch.setattr(host_settings, "in_container", lambda: False)
    monkeypatch.setattr(host_settings.systemd, "show", lambda *_: {})
    settings: Any = HostSettings.__new__(HostSettings)
    settings.module = Module()
    settings.changes = Changes(settings.module)
    settings._swap_off()
    ((_, _, seconds, *words),) = commands
    assert (int(seconds) >= 1800, words) == (True, ["swapoff", "/swap of mine"])
