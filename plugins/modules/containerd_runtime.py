#!/usr/bin/python
"""containerd as the container runtime of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: containerd_runtime
short_description: containerd as the container runtime of a host
description:
  - Installs containerd where there is none, sees to it that C(/etc/containerd/config.toml) says what Kubernetes needs,
    describes registries in C(/etc/containerd/certs.d), and keeps containerd running.
  - The file is made from what the installed containerd says it runs with, so it fits the version, and settings that
    were made by others stay. A file that says what is needed is left as it is. One that was written by others is kept
    as a dated copy when it has to be changed.
  - The containerd that comes with Docker is used as well; its interface for Kubernetes is switched on.
  - containerd is restarted only when it runs with an older file than there is. That leaves containers alone.
  - A O(proxy) is set for containerd, too. Without one, what an earlier run left of one is removed.
version_added: 0.1.0
author: kubestrap contributors
extends_documentation_fragment: kubestrap.cluster.proxy
options:
  packages:
    description:
      - Packages of containerd by operating system (C(debian-12), or C(debian) for every other version of it).
      - The first one is containerd itself. A host that has a service containerd already keeps it.
    type: dict
    required: true
  repository:
    description: Package repository to take them from. Without it, the distribution's own.
    type: dict
    suboptions:
      url:
        description: Address, where C({distribution}) is such as C(debian). The key is at C(gpg) below it.
        type: str
        required: true
      key_fingerprint:
        description: Fingerprint of the key that signs it.
        type: str
        required: true
  registry_ca_certificates:
    description: CA certificates (PEM) by C(host:port) of the registry.
    type: dict
    default: {}
  registry_mirrors:
    description: Addresses of mirrors by registry, tried before it.
    type: dict
    default: {}
  pause_image:
    description: Image of the container that holds a pod's network.
    type: str
    required: true
  cni_conf_dir:
    description: Where pod networks leave their configuration.
    type: path
    default: /etc/cni/net.d
  cni_bin_dir:
    description: Where the CNI plugins are.
    type: path
    default: /opt/cni/bin
attributes:
  check_mode:
    description: Looks and reports, on a host without containerd as well; what the file will say is not known there.
    support: full
  diff_mode:
    description: Files with their content, packages, units.
    support: full
"""

EXAMPLES = r"""
- name: Install containerd
  kubestrap.cluster.containerd_runtime:
    packages: {debian: [containerd]}
    pause_image: registry.k8s.io/pause:3.10.2
"""

RETURN = r"""
containerd_version:
  description: Version of containerd; in check mode on a host without it, the package that would be installed.
  returned: success
  type: str
socket:
  description: Address of the runtime for kubelet and kubeadm.
  returned: success
  type: str
"""

import copy
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Optional, Union

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    confidential,
    registry_trust,
    systemd,
    toml,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import add
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import add_docker_repository
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute, last_lines, run
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ARGUMENT as PROXY_ARGUMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ENVIRONMENT as PROXY_ENVIRONMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy, drop_in
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import containerd

UNIT = "containerd.service"
CONFIG = containerd.CONFIG
MARK = "# Written by kubestrap"
HEADER = (
    f"{MARK}: what containerd {{version}} ran with before, and what Kubernetes needs.\n"
    "# Change here what you like: later runs keep it, and put right only what Kubernetes cannot do without.\n"
)
# How `ctr plugins ls` shows the interface kubelet talks to.
CRI = re.compile(r"^io\.containerd\.grpc\.v1\s+cri\s.*?\b(ok|error|skip)\s*$", re.MULTILINE)
CRI_SECONDS = 10


class ContainerdRuntime:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        """Read what is asked for and whether containerd is there."""
        self.module = module
        self.asked = module.params
        self.changes = Changes(module)
        self.manager = systems.manager(module)
        self.unit = systemd.show(module, [UNIT])[UNIT]
        # Before anything changes.
        self.started = self._started()
        self.proxy = Proxy(self.asked["proxy"])
        self.version = ""

    def run(self) -> None:
        """Converge and end the module."""
        # Before anything else: without it nothing outside can be looked at.
        self.proxy.use()
        self.manager.use_proxy(self.changes, self.proxy)
        proxy_changed = self.proxy.for_service(self.changes, UNIT)
        installed = self.unit["LoadState"] == "loaded"
        if not installed:
            self._install()
        if installed or not self.module.check_mode:
            self._look_at_version()
            self._configure()
        else:
            self.changes.note(CONFIG, before="", after="what containerd runs with, and what Kubernetes needs\n")
        files = containerd.registry_files(self.asked["registry_ca_certificates"], self.asked["registry_mirrors"])
        registry_trust.converge(self.changes, containerd.HOSTS_DIRECTORY, files)
        self._service(proxy_changed=proxy_changed)
        self.changes.exit(containerd_version=self.version, socket=containerd.SOCKET)

    def _install(self) -> None:
        packages = choose(self.module, self.asked["packages"], purpose="packages of containerd")
        if self.asked["repository"]:
            add_docker_repository(self.changes, self.asked["repository"], needed=True)
        candidate = self.manager.available(self.module, packages[0])
        if candidate is not None:
            self._refuse_old(self.manager.upstream_version(candidate), f"{candidate} is what this host would install")
        self.version = candidate or ""
        add(self.manager, self.changes, packages)
        if not self.module.check_mode:
            # Packages start it, with what is there by now.
            self.unit = systemd.show(self.module, [UNIT])[UNIT]
            self.started = self._started()

    def _started(self) -> systemd.StartedWith:
        return systemd.StartedWith(self.module, UNIT, self.unit, [CONFIG, PROXY_ENVIRONMENT, drop_in(UNIT)])

    def _look_at_version(self) -> None:
        text = run(self.module, ["containerd", "--version"], purpose="ask containerd for its version")
        version = containerd.parse_version(text)
        if version is None:
            self.module.fail_json(msg=f"Cannot understand the version of containerd: {text.strip()}")
        else:
            self._refuse_old(version, f"{'.'.join(map(str, version))} is installed")
            self.version = ".".join(map(str, version))

    def _refuse_old(self, version: tuple[int, ...], what: str) -> None:
        if version[:2] < containerd.OLDEST:
            oldest = ".".join(map(str, containerd.OLDEST))
            self.module.fail_json(
                msg=f"containerd {what}, and kubelet needs {oldest} or newer. Upgrade it, or take Docker's own "
                "packages (containerd_source, cluster_containerd_source: docker.com)."
            )

    def _configure(self) -> None:
        present = read_text(CONFIG)
        said = self._read(present or "")
        # A file that everybody may read has its logins in the diff otherwise.
        confidential.keep(self.module, said)
        # What is switched off is switched on here in any case, in whichever words a containerd of today may refuse.
        kept = containerd.enabled_cri(said) if containerd.cri_is_disabled(said) else said
        # In their own words if need be, so that what containerd refuses here is what people wrote.
        runs_with = self._dump(present if containerd.absolute_imports(kept) == said else kept) if present else None
        # What it imports as well.
        confidential.keep(self.module, runs_with)
        default = toml.loads(self._default())
        self._refuse_old_mirrors(runs_with or default)
        wanted = containerd.wanted_values(
            runs_with or default,
            pause_image=self.asked["pause_image"],
            cni_conf_dir=self.asked["cni_conf_dir"],
            cni_bin_dir=self.asked["cni_bin_dir"],
        )
        wrong = {path: value for path, value in wanted.items() if containerd.get(runs_with or {}, path) != value}
        if runs_with is not None and not wrong and not containerd.cri_is_disabled(said):
            return
        data = copy.deepcopy(runs_with or default)
        for path, value in wrong.items():
            containerd.put(data, path, value)
        # A dump tells the files that were found, itself included; the pattern they were found by is what stays true.
        data["imports"] = said.get("imports") or default.get("imports") or []
        text = HEADER.format(version=self.version) + toml.dumps(data)
        self._verify(text, data, wanted)
        self._write(present, text)

    def _read(self, text: str) -> dict[str, Any]:
        try:
            return toml.loads(text)
        except toml.TomlError as error:
            # What its owner understands it to be counts; its words are the better ones as well.
            self._dump(text)
            self.module.fail_json(
                msg=f"{CONFIG}: {error}. containerd reads it all the same, but it is no TOML 1.0, and kubestrap "
                "changes nothing that it cannot read. Correct that line, or remove the file to start from containerd's "
                "own settings."
            )
            raise

    def _default(self) -> str:
        return run(self.module, ["containerd", "config", "default"], purpose="ask containerd for its settings")

    def _dump(self, said: Union[str, dict[str, Any]], *, ours: bool = False) -> dict[str, Any]:
        """Return what containerd would run with when a file said this (a text, or what it means)."""
        with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as trial:
            trial.write(said if isinstance(said, str) else toml.dumps(containerd.absolute_imports(said)))
            trial.flush()
            command = ["containerd", "--config", trial.name, "config", "dump"]
            code, stdout, stderr = execute(self.module, command)
            told = last_lines(stderr or stdout).replace(trial.name, CONFIG)
        if code != 0 and ours:
            self.module.fail_json(
                msg=f"containerd does not accept what kubestrap made of {CONFIG}, so nothing was written. That is a "
                f"mistake of kubestrap, not of the file{_or_of(said)}. containerd says:\n{told}"
            )
        if code != 0:
            self.module.fail_json(
                msg=f"containerd does not accept {CONFIG}: correct it, or remove it to start from containerd's own "
                f"settings. containerd says:\n{told}"
            )
        return toml.loads(str(stdout))

    def _refuse_old_mirrors(self, data: dict[str, Any]) -> None:
        old = containerd.old_mirrors(data)
        if old:
            self.module.fail_json(
                msg=f"{CONFIG} describes registries in the old form ({toml.dotted(old[0])}), which containerd does not "
                f"accept beside {containerd.HOSTS_DIRECTORY}. Say it there (a directory for each registry with a file "
                "hosts.toml), take those tables out, and run again."
            )

    def _verify(self, text: str, data: dict[str, Any], wanted: dict[containerd.Place, Any]) -> None:
        """End the module unless a text says what it is to say, by our reader and by containerd's."""
        if toml.loads(text) != data:
            self.module.fail_json(
                msg=f"What kubestrap made of {CONFIG} is not what it was to be, so nothing was written. That is a "
                "mistake of kubestrap, not of the file."
            )
        meant = self._dump(data, ours=True)
        stubborn = [toml.dotted(path) for path, value in wanted.items() if containerd.get(meant, path) != value]
        if containerd.cri_is_disabled(meant):
            stubborn = ["disabled_plugins"]
        if stubborn:
            self.module.fail_json(
                msg=f"Something overrides what Kubernetes needs of containerd: {', '.join(stubborn)}. Look at the "
                f"files that {CONFIG} imports ({', '.join(data['imports']) or 'none'}), and take it out there. "
                "Nothing was written."
            )

    def _write(self, present: Optional[str], text: str) -> None:
        mode, secret = 0o644, False
        if present is not None:
            mode = Path(CONFIG).stat().st_mode & 0o777
            # Somebody closed it to others: there may be passwords of registries in it.
            secret = not mode & 0o004
            if not present.startswith(MARK):
                registry_trust.set_aside(self.changes, CONFIG)
        self.changes.file(CONFIG, text, mode=mode, secret=secret, keep=True)

    def _service(self, *, proxy_changed: bool) -> None:
        if not self.module.check_mode and (proxy_changed or self.unit["NeedDaemonReload"] == "yes"):
            run(self.module, ["systemctl", "daemon-reload"], purpose="make systemd read its units again")
        systemd.enable(self.changes, UNIT, self.unit)
        if self.unit["ActiveState"] != "active":
            systemd.start(self.changes, UNIT, self.unit)
        elif (
            self.started.differs(PROXY_ENVIRONMENT, drop_in(UNIT))
            or self.proxy.is_left()
            or (self.module.check_mode and proxy_changed)
        ):
            systemd.restart(self.changes, UNIT, reason="its proxy is another")
        elif self.started.differs(CONFIG) or (
            self.module.check_mode and any(entry["after_header"] == CONFIG for entry in self.changes.diff)
        ):
            systemd.restart(self.changes, UNIT, reason=f"{CONFIG} is another than it was started with")
        if not self.module.check_mode:
            self._prove()
        # Before the note: what the next run compares with is what is there now.
        self.proxy.forget(self.changes)
        if not self.module.check_mode:
            self.started.note()

    def _prove(self) -> None:
        """End the module unless kubelet's interface is there."""
        deadline = time.monotonic() + CRI_SECONDS
        while True:
            code, stdout, stderr = execute(self.module, ["ctr", "plugins", "ls"])
            found = CRI.search(stdout)
            if code == 0 and found and found[1] == "ok":
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        log = execute(self.module, ["journalctl", "-u", UNIT, "-n", "200", "-o", "cat", "--no-pager"])[1]
        reasons = [line for line in log.splitlines() if "cri" in line and re.search("level=(error|warning)", line)]
        self.module.fail_json(
            msg="containerd runs, but does not offer its interface for Kubernetes (CRI). It says:\n"
            + last_lines("\n".join(reasons) or stderr or stdout or log)
        )


def _or_of(said: object) -> str:
    imported = said.get("imports") if isinstance(said, dict) else None
    return f"; or one of the files that it imports ({', '.join(imported)}) is wrong" if imported else ""


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "dict", "required": True},
            "repository": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "key_fingerprint": {"type": "str", "required": True, "no_log": False},
                },
            },
            "registry_ca_certificates": registry_trust.AUTHORITIES,
            "registry_mirrors": {"type": registry_trust.by_registry, "default": {}},
            "pause_image": {"type": "str", "required": True},
            "proxy": PROXY_ARGUMENT,
            "cni_conf_dir": {"type": "path", "default": "/etc/cni/net.d"},
            "cni_bin_dir": {"type": "path", "default": "/opt/cni/bin"},
        },
        supports_check_mode=True,
    )
    ContainerdRuntime(module).run()


if __name__ == "__main__":
    main()
