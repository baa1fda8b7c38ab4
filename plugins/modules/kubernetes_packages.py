#!/usr/bin/python
"""kubelet, kubeadm, kubectl and crictl from the signed repository of one Kubernetes minor, held."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_packages
short_description: kubelet, kubeadm, kubectl and crictl in one version, held
description:
  - Adds the package repository of a Kubernetes minor with its key checked against a pinned fingerprint, removes sources
    of the repositories that were shut down in 2024, installs the packages, holds them, enables kubelet, and tells
    crictl where the container runtime is.
  - Never changes the version on a host that is part of a cluster; that is an upgrade.
version_added: 0.1.0
author: kubestrap contributors
extends_documentation_fragment: kubestrap.cluster.proxy
options:
  version:
    description: A patch version such as C(1.36.4), or a minor such as C(1.36) for the newest patch in the repository.
    type: str
    required: true
  repository:
    description: Address of the repository. C({minor}) stands for the minor, such as C(v1.36).
    type: str
    required: true
  key_fingerprint:
    description: Fingerprint of the key that signs the repository.
    type: str
    required: true
  runtime_socket:
    description: Where crictl finds the container runtime.
    type: str
    required: true
  pause_image:
    description: Image of the container that holds a pod's network; pulled here where its registry demands a login.
    type: str
    default: ""
  registry_credentials:
    description: Logins at image registries for everything kubelet pulls.
    type: list
    elements: dict
    default: []
    suboptions:
      registry: {description: "C(host:port) of the registry.", type: str, required: true}
      login:
        description: Who may pull there.
        type: dict
        required: true
        suboptions:
          username: {description: The user., type: str, required: true}
          password: {description: "The password. Only root can read the file it ends in.", type: str, required: true}
attributes:
  check_mode:
    description: Looks and reports, on a virgin host as well.
    support: full
  diff_mode:
    description: Files with their content, packages, units.
    support: full
"""

EXAMPLES = r"""
- name: Install kubelet, kubeadm, kubectl and crictl
  kubestrap.cluster.kubernetes_packages:
    version: 1.36.4
    repository: https://pkgs.k8s.io/core:/stable:/{minor}/deb/
    key_fingerprint: DE15B14486CD377B9E876E1A234654DA9A296436
    runtime_socket: unix:///run/cri-dockerd.sock
"""

RETURN = r"""
version:
  description: Version of kubelet on the host, such as C(1.36.4); what was asked for in check mode before it is there.
  returned: success
  type: str
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    credentials,
    kubeadm,
    systemd,
    traces,
    unfinished,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import (
    add_kubernetes_repository,
    kubernetes_url,
    refresh_repository,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ARGUMENT as PROXY_ARGUMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import is_version

VERSIONED = ["kubelet", "kubeadm", "kubectl"]
PACKAGES = [*VERSIONED, "cri-tools"]
# kubernetes-cni comes as a dependency of kubelet.
HELD = [*PACKAGES, "kubernetes-cni"]
KUBELET_CONF = Path("/etc/kubernetes/kubelet.conf")
CRICTL_YAML = "/etc/crictl.yaml"


def matches(version: str, wanted: str) -> bool:
    """Tell whether a package version such as 1.36.4-1.1 is the wanted patch version, or one of the wanted minor."""
    return is_version(version.partition("-")[0], wanted)


def is_node() -> bool:
    """Tell whether a kubelet runs what is here: a control plane that lost its kubelet.conf is one all the same."""
    return KUBELET_CONF.exists() or (bool(traces.look().parts) and unfinished.read() is None)


class KubernetesPackages:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        """Look at what is installed."""
        self.module = module
        self.wanted: str = module.params["version"].removeprefix("v")
        self.changes = Changes(module)
        self.manager = systems.manager(module)
        self.installed = self.manager.installed(module, HELD)

    def run(self) -> None:
        """Converge and end the module."""
        Proxy(self.module.params["proxy"]).use()
        wrong = [name for name in VERSIONED if name in self.installed and not self._is_right(name)]
        if wrong and is_node():
            self._refuse_upgrade(wrong[0])
        missing = [name for name in PACKAGES if name not in self.installed] + wrong
        url = kubernetes_url(self.module.params["repository"], self.wanted)
        source, changed = add_kubernetes_repository(
            self.changes, url, self.module.params["key_fingerprint"], needed=bool(missing)
        )
        self.manager.disable_other_sources(self.changes, source, url)
        if missing or changed:
            refresh_repository(self.changes, source, url, needed=bool(missing))
        if missing:
            self.changes.act(
                f"packages {' '.join(missing)}",
                lambda: self._install(missing, url),
                before="".join(f"{name} {self.installed[name].version}\n" for name in wrong),
                after=f"{self.wanted}\n",
                was=[
                    Before("packages", name, self.installed[name].version if name in self.installed else None)
                    for name in missing
                ],
            )
        self._hold()
        self.changes.file(
            CRICTL_YAML,
            "runtime-endpoint: {0}\nimage-endpoint: {0}\ntimeout: 10\n".format(self.module.params["runtime_socket"]),
            keep=True,
        )
        # kubelet reads it anew for a pull, so nothing has to be restarted.
        credentials.converge(self.changes, credentials.KUBELET, self.module.params["registry_credentials"])
        self._pause()
        systemd.enable(
            self.changes, "kubelet.service", systemd.show(self.module, ["kubelet.service"])["kubelet.service"]
        )
        kubelet = self.installed.get("kubelet")
        self.changes.exit(version=kubelet.version.split("-")[0] if kubelet else self.wanted)

    def _pause(self) -> None:
        """Have the image that the runtime itself pulls, which kubelet's logins do not help."""
        image, socket = self.module.params["pause_image"], self.module.params["runtime_socket"]
        logins = {entry["registry"] for entry in self.module.params["registry_credentials"]}
        if reference(image).registry not in logins or kubeadm.has_image(image, socket):
            return
        try:
            self.changes.act(f"image {image}", lambda: kubeadm.pull([image], socket), before="", after="pulled\n")
        except kubeadm.KubeadmError as error:
            self.module.fail_json(msg=str(error))

    def _is_right(self, name: str) -> bool:
        return matches(self.installed[name].version, self.wanted)

    def _refuse_upgrade(self, name: str) -> None:
        present = self.installed[name].version.split("-")[0]
        self.module.fail_json(
            msg=f"This host is part of a cluster with {name} {present}, and {self.wanted} is asked for. Changing the "
            "version of a running node is an upgrade (drain it, one at a time, control planes first), which is "
            "not done "
            f"in passing. Ask for {present} (kubernetes_packages_version, cluster_kubernetes_version) to keep it."
        )

    def _install(self, names: list[str], url: str) -> None:
        specs = []
        for name in names:
            versions = self.manager.available_versions(self.module, name)
            right = [version for version in versions if name not in VERSIONED or matches(version, self.wanted)]
            if not right:
                there = ", ".join(dict.fromkeys(version.split("-")[0] for version in versions)) or "no version at all"
                self.module.fail_json(
                    msg=f"The repository {url} has no {name} {self.wanted}. It has: {there}. Ask for one of them "
                    "(kubernetes_packages_version, cluster_kubernetes_version)."
                )
            specs.append(self.manager.exactly(name, right[0]))
        self.manager.install(self.module, specs, change_version=True)
        self.installed = self.manager.installed(self.module, HELD)

    def _hold(self) -> None:
        names = HELD if self.module.check_mode else self.installed
        loose = [name for name in names if name not in self.installed or not self.installed[name].held]
        if loose:
            self.changes.act(
                f"hold {' '.join(loose)}",
                lambda: self.manager.hold(self.module, loose),
                before="upgraded with the system\n",
                after="held\n",
                was=[Before("hold", name, None) for name in loose],
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "repository": {"type": "str", "required": True},
            "key_fingerprint": {"type": "str", "required": True, "no_log": False},
            "runtime_socket": {"type": "str", "required": True},
            "pause_image": {"type": "str", "default": ""},
            "registry_credentials": credentials.ARGUMENT,
            "proxy": PROXY_ARGUMENT,
        },
        supports_check_mode=True,
    )
    KubernetesPackages(module).run()


if __name__ == "__main__":
    main()
