#!/usr/bin/python
"""What Kubernetes needs from a Linux host, before any of it is installed."""

from __future__ import annotations

DOCUMENTATION = r"""
module: host_settings
short_description: Packages, kernel modules, kernel settings and swap of a host, now and after a reboot
description:
  - Installs packages, loads kernel modules, applies kernel settings and turns swap off, and writes down what makes it
    the same after a reboot.
  - In a system container swap is left alone, because it is the machine's.
  - A kernel feature that is built in needs no module, and a kernel setting that already has its value needs no right to
    write it, so virtual machines, metal and system containers are treated alike.
version_added: 0.1.0
author: kubestrap contributors
options:
  packages:
    description: Packages by operating system (C(debian-13), or C(debian) for every other version of it).
    type: dict
    default: {}
  kernel_modules:
    description: Kernel modules to load.
    type: list
    elements: str
    default: []
  sysctls:
    description: Kernel settings by name, such as C(net.ipv4.ip_forward).
    type: dict
    default: {}
  swap:
    description: Whether swap may stay on.
    type: bool
    default: false
attributes:
  check_mode:
    description: Looks and reports.
    support: full
  diff_mode:
    description: Files with their content, kernel settings, swap areas.
    support: full
"""

EXAMPLES = r"""
- name: Prepare the host
  kubestrap.cluster.host_settings:
    packages: {debian: [conntrack, socat]}
    kernel_modules: [overlay, br_netfilter]
    sysctls: {net.ipv4.ip_forward: 1}
"""

RETURN = "# Only whether it changed something, and the diff."

import re
from functools import partial
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import systemd
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.rules_machine import SYSCTL_FILE
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose, in_container
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import add
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import run

MODULES_FILE = "/etc/modules-load.d/kubestrap.conf"
FSTAB = "/etc/fstab"
# Where each of these features shows when it is built into the kernel, or loaded.
FEATURES = {
    "overlay": lambda: "\toverlay\n" in Path("/proc/filesystems").read_text(),
    "br_netfilter": lambda: Path("/proc/sys/net/bridge").is_dir(),
}
# Everything systemd turns on at boot hangs from this target: /etc/fstab, swap partitions, swap on compressed memory.
SWAP_TARGET = "swap.target"
# These turn it on by themselves.
SWAP_SERVICES = ("dphys-swapfile.service", "zramswap.service")
# All that is in it goes back to memory, page by page.
SWAPOFF_SECONDS = 1800


def fstab_without_swap(text: str) -> str:
    """Return the text of /etc/fstab with its swap entries commented out."""
    return re.sub(
        r"^(?=[ \t]*[^#\s]\S*[ \t]+\S+[ \t]+swap[ \t])", "# Kubernetes needs swap off: ", text, flags=re.MULTILINE
    )


class HostSettings:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        """Start with nothing changed."""
        self.module = module
        self.asked = module.params
        self.changes = Changes(module)

    def run(self) -> None:
        """Converge and end the module."""
        self._packages()
        self._kernel_modules()
        self._sysctls()
        if not self.asked["swap"]:
            self._swap_off()
        self.changes.exit()

    def _packages(self) -> None:
        if not self.asked["packages"]:
            return
        wanted = choose(self.module, self.asked["packages"], purpose="packages a Kubernetes host needs")
        manager = systems.manager(self.module)
        present = manager.installed(self.module, wanted)
        missing = [name for name in wanted if name not in present]
        add(manager, self.changes, missing)

    def _kernel_modules(self) -> None:
        wanted = self.asked["kernel_modules"]
        if wanted:
            self.changes.file(MODULES_FILE, "".join(f"{name}\n" for name in wanted))
        loaded = {line.split()[0] for line in (read_text("/proc/modules") or "").splitlines()}
        for name in wanted:
            if name in loaded or Path("/sys/module", name).is_dir() or (name in FEATURES and FEATURES[name]()):
                continue
            self.changes.act(
                f"kernel module {name}",
                partial(
                    run,
                    self.module,
                    ["modprobe", name],
                    purpose=f"load the kernel module {name}, which Kubernetes needs and this kernel does not "
                    "have built in",
                ),
                before="not loaded\n",
                after="loaded\n",
                was=[Before("kernel module", name, None)],
            )

    def _sysctls(self) -> None:
        wanted = {name: str(value) for name, value in self.asked["sysctls"].items()}
        for name in wanted:
            if not re.fullmatch(r"[a-z0-9_]+(\.[A-Za-z0-9_-]+)+", name):
                self.module.fail_json(
                    msg=f"{name!r} is no kernel setting: write its name with dots, as sysctl shows it."
                )
        if wanted:
            self.changes.file(SYSCTL_FILE, "".join(f"{name} = {value}\n" for name, value in wanted.items()))
        for name, value in wanted.items():
            path = Path("/proc/sys", name.replace(".", "/"))
            try:
                present = " ".join(path.read_text().split())
            except FileNotFoundError:
                present = ""
            if present != value:
                self.changes.act(
                    f"sysctl {name}",
                    partial(self._write_sysctl, path, value),
                    before=f"{present}\n",
                    after=f"{value}\n",
                    was=[Before("sysctl", name, present)],
                )

    def _write_sysctl(self, path: Path, value: str) -> None:
        name = ".".join(path.parts[3:])
        try:
            path.write_text(value)
        except FileNotFoundError:
            self.module.fail_json(msg=f"This kernel has no setting {name}, which Kubernetes needs to be {value}.")
        except OSError as error:
            self.module.fail_json(
                msg=f"The kernel setting {name} must be {value}, is {path.read_text().strip()}, and cannot be "
                "changed here "
                f"({error.strerror}). In a container, set it on the machine that runs the container."
            )

    def _swap_off(self) -> None:
        if in_container():
            # What /proc/swaps shows is the machine's, which is not ours to change.
            return
        fstab = read_text(FSTAB)
        if fstab is not None:
            self.changes.file(FSTAB, fstab_without_swap(fstab), keep=True)
        for name, unit in systemd.show(self.module, [SWAP_TARGET, *SWAP_SERVICES]).items():
            if unit["LoadState"] not in {"masked", "not-found"}:
                command = ["systemctl", "mask", "--quiet", name]
                self.changes.act(
                    f"{name} at boot",
                    partial(run, self.module, command, purpose="keep swap off after a reboot"),
                    before="starts\n",
                    after="masked\n",
                    was=[systemd.before(name, unit)],
                )
        # The kernel writes a blank in a name as \040.
        areas = [
            re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), line.split()[0])
            for line in (read_text("/proc/swaps") or "").splitlines()[1:]
        ]
        for area in areas:
            self.changes.act(
                f"swap on {area}",
                partial(
                    run, self.module, ["swapoff", area], purpose=f"turn off swap on {area}", seconds=SWAPOFF_SECONDS
                ),
                before="on\n",
                after="off\n",
                was=[Before("swap", area, "on")],
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "dict", "default": {}},
            "kernel_modules": {"type": "list", "elements": "str", "default": []},
            "sysctls": {"type": "dict", "default": {}},
            "swap": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    HostSettings(module).run()


if __name__ == "__main__":
    main()
