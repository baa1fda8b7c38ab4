#!/usr/bin/python
"""Everything that would keep a host from becoming a Kubernetes node, found in one look."""

from __future__ import annotations

DOCUMENTATION = r"""
module: preflight
short_description: Everything that would keep a host from becoming a node, found in one look
description:
  - Looks at a host without changing it and returns findings, each with evidence and what to do about it, and facts the
    roles need. Nothing is failed at the first; the module itself succeeds whatever it finds.
version_added: 0.1.0
author: kubestrap contributors
extends_documentation_fragment: kubestrap.cluster.proxy
options:
  control_plane:
    description: Whether the host is to be a control plane, which needs more of everything.
    type: bool
    default: false
  node_address:
    description: Address the host is to use inside the cluster. Empty means the address of its default route.
    type: str
    default: ""
  control_plane_address:
    description: Address of the first control plane inside the cluster, when the user gives one.
    type: str
    default: ""
  pod_cidr:
    description: Addresses of the pods.
    type: str
    required: true
  service_cidr:
    description: Addresses of the Services.
    type: str
    required: true
  api_endpoint:
    description: C(name:port) of the Kubernetes API, when the user gives one.
    type: str
    default: ""
  virtual_address:
    description: Address of the API that is to move between control planes. Empty skips what is about it.
    type: str
    default: ""
  systems:
    description: Versions of operating systems that are known to work, by distribution.
    type: dict
    required: true
  container_runtime:
    description: What is to run the containers.
    type: str
    default: docker
    choices: [docker, containerd]
  runtime_packages:
    description: Packages of it by operating system, the runtime itself first. Empty skips what is about it.
    type: dict
    default: {}
  docker_conflicting_packages:
    description: Packages that exclude those of Docker Engine.
    type: list
    elements: str
    default: []
  docker_settings:
    description: What Docker's settings are to say; a restart for them is told when it stops other people's containers.
    type: dict
    default: {}
  docker_registry_mirrors:
    description: Mirrors of docker.io that Docker is to ask.
    type: list
    elements: str
    default: []
  repository:
    description: Address of the package repository of Kubernetes with C({minor}) in it. Empty skips it.
    type: str
    default: ""
  repository_key_fingerprint:
    description: Fingerprint of the key that signs it.
    type: str
    default: ""
  kubernetes_version:
    description: Version of Kubernetes, which says the minor.
    type: str
    default: ""
  sysctls:
    description: Kernel settings the host is to have, by name with dots.
    type: dict
    default: {}
  pod_network:
    description: What connects the pods. What is about it is looked at for flannel only.
    type: str
    default: flannel
  mirrored_registries:
    description: Registries that mirrors are asked for. Docker has mirrors of docker.io only.
    type: list
    elements: str
    default: []
  reference_time:
    description: Seconds since 1970 by the operator's clock. 0 skips the comparison.
    type: float
    default: 0
  accepted_findings:
    description: IDs of blockers the user accepts; they become warnings.
    type: list
    elements: str
    default: []
attributes:
  diff_mode: {description: Shows what it changes., support: none}
  check_mode:
    description: It only looks, so check mode makes no difference.
    support: full
"""

EXAMPLES = r"""
- name: Look at the host
  kubestrap.cluster.preflight:
    control_plane: true
    pod_cidr: 10.244.0.0/16
    service_cidr: 10.96.0.0/12
    systems: {debian: ["13"]}
    reference_time: "{{ now(utc=true).timestamp() }}"
"""

RETURN = r"""
findings:
  description: What was found, each with C(id), C(severity) (blocker or warning), C(evidence) and C(fix).
  returned: always
  type: list
  elements: dict
ansible_facts:
  description: C(kubestrap), with what the roles need to know about the host.
  returned: always
  type: dict
"""

import hashlib
import ipaddress
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    confidential,
    package_findings,
    runtime_findings,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import architecture
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import (
    rules_cluster,
    rules_machine,
    rules_network,
    rules_supply,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import (
    Finding,
    as_json,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View, look
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import network_of, parse_routes
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import (
    RepositoryError,
    checked_key,
    kubernetes_url,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ARGUMENT as PROXY_ARGUMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import ARGUMENT as RUNTIME

CA_CERTIFICATE = "/etc/kubernetes/pki/ca.crt"
# Asked for by version; the last one comes with kubelet.
EXACT_PACKAGES = ("kubelet", "kubeadm", "kubectl", "cri-tools")
KUBERNETES_PACKAGES = (*EXACT_PACKAGES, "kubernetes-cni")
KERNEL_CONFIGS = (
    "/proc/config.gz",
    "/boot/config-{0}",
    "/usr/src/linux-{0}/.config",
    "/usr/lib/modules/{0}/config",
    "/usr/lib/ostree-boot/config-{0}",
    "/usr/lib/kernel/config-{0}",
    "/usr/src/linux-headers-{0}/.config",
    "/lib/modules/{0}/build/.config",
)


def facts(view: View, params: dict[str, Any]) -> dict[str, Any]:
    """Return what the roles, and the comparison of all hosts, need to know about a host.

    Args:
        view: The host.
        params: The parameters of this module.
    """
    node_address = params["node_address"] or view.default_address
    limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
    known: dict[str, Any] = {
        "control_plane": params["control_plane"],
        "distribution": view.system.get("ID", "unknown"),
        "distribution_version": view.system.get("VERSION_ID", ""),
        "architecture": architecture(),
        "cpus": view.cpus,
        "memory_mib": view.memory_mib,
        "swap_stays_on": bool(view.swaps) and view.container,
        # A node that was given a name of its own goes by that.
        "hostname": (view.cluster or {}).get("name_flag") or view.hostname,
        "node_address": node_address,
        "node_network": network_of(node_address, parse_routes(read_text("/proc/net/route") or "")),
        "machine_id": (read_text("/etc/machine-id") or "").strip(),
        "default_address": view.default_address,
        "addresses": sorted(view.addresses),
        "resolver": view.resolver,
        "cgroup_version": view.cgroup_version,
        "kernel_config_readable": any(os.access(path.format(view.kernel), os.R_OK) for path in KERNEL_CONFIGS),
        "conntrack_writable": os.access(limit, os.W_OK) if limit.exists() else not view.container,
        "api_server": view.api_server,
        "is_control_plane": view.parts,
        "held": view.held,
    }
    if view.control_plane:
        known["api_ready"] = view.api_ready
        known["cluster_ca"] = hashlib.sha256((read_text(CA_CERTIFICATE) or "").encode()).hexdigest()
    if view.virtual_address_answers and not any(rules_network.virtual_address(view, params)):
        known["virtual_address_taken"] = params["virtual_address"]
    return known


def why_no_network(text: str) -> str:
    """Return why a text is no network; empty when it is one."""
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        return str(error)
    return ""


class Preflight:
    """One look at the host, and what its own programs say: runtime, packages and their sources."""

    def __init__(self, module: AnsibleModule) -> None:
        """Look."""
        self.module = module
        self.asked = module.params
        self.findings: list[Finding] = []
        self.view = look(module.params)
        self.joined = self.view.joined

    def run(self) -> None:
        """Judge everything and end the module."""
        for judge in (rules_machine.judge, rules_network.judge, rules_cluster.judge):
            self.found(*judge(self.view, self.asked))
        wants_runtime = self.asked["runtime_packages"] and self.view.system.get("ID") in self.asked["systems"]
        if wants_runtime and self.view.systemd:
            self._runtime()
        self._repository()
        if wants_runtime:
            # Through the proxy that was found to answer.
            self._packages()
        self.findings.sort(key=lambda finding: not finding.blocker)
        known = {**facts(self.view, self.asked), **self._cluster()}
        self.module.exit_json(changed=False, findings=as_json(self.findings), ansible_facts={"kubestrap": known})

    def found(self, *findings: Finding) -> None:
        """Add findings; one the user accepts is a warning."""
        self.findings += [finding.accepted(self.asked["accepted_findings"]) for finding in findings]

    def _cluster(self) -> dict[str, Any]:
        """Return what is to be known about a node; the rules are where all hosts are compared."""
        if self.view.cluster is None:
            return {}
        manager = systems.known_manager()
        packages = manager.installed(self.module, KUBERNETES_PACKAGES) if manager else {}
        kubelet = packages.get("kubelet")
        return {
            "cluster": self.view.cluster,
            "kubelet_version": kubelet.version.split("-")[0] if kubelet else "",
            "kubernetes_held": all(package.held for package in packages.values()),
        }

    def _runtime(self) -> None:
        wanted = self.asked["container_runtime"]
        found = [*runtime_findings.LOOKS[wanted](self.module)]
        if self.joined:
            found += runtime_findings.change(wanted, runtime_findings.node_runtime())
        self.found(*found)

    def _packages(self) -> None:
        wanted = [*choose(self.module, self.asked["runtime_packages"], purpose="packages of it"), *KUBERNETES_PACKAGES]
        present = systems.manager(self.module).installed(self.module, wanted)
        missing = [name for name in wanted if name not in present]
        known = {finding.id for finding in self.findings}
        excluded = self.asked["docker_conflicting_packages"] if "docker-conflict" in known else ()
        found = package_findings.packages(self.module, missing, known=excluded, exact=EXACT_PACKAGES)
        told = [*package_findings.busy(self.module), *found]
        # On a node nothing need be installed.
        self.found(*(one.accepted([one.id] if self.joined else []) for one in told))

    def _repository(self) -> None:
        proxy, url = Proxy(self.asked["proxy"]), ""
        if self.asked["repository"]:
            url = kubernetes_url(self.asked["repository"], self.asked["kubernetes_version"])
        if problem := proxy.problem([url] if url else []):
            self.found(*rules_supply.proxy(problem, ours=bool(proxy), joined=self.joined))
            return
        proxy.use()
        if not url or self.joined:
            return
        try:
            checked_key(f"{url}Release.key", self.asked["repository_key_fingerprint"])
        except RepositoryError as error:
            self.found(rules_supply.repository(str(error)))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "control_plane": {"type": "bool", "default": False},
            "node_address": {"type": "str", "default": ""},
            "control_plane_address": {"type": "str", "default": ""},
            "pod_cidr": {"type": "str", "required": True},
            "service_cidr": {"type": "str", "required": True},
            "api_endpoint": {"type": "str", "default": ""},
            "virtual_address": {"type": "str", "default": ""},
            "systems": {"type": "dict", "required": True},
            "container_runtime": RUNTIME,
            "runtime_packages": {"type": "dict", "default": {}},
            "docker_conflicting_packages": {"type": "list", "elements": "str", "default": []},
            "docker_settings": {"type": confidential.settings, "default": {}},
            "docker_registry_mirrors": {"type": "list", "elements": "str", "default": []},
            "repository": {"type": "str", "default": ""},
            "repository_key_fingerprint": {"type": "str", "default": "", "no_log": False},
            "kubernetes_version": {"type": "str", "default": ""},
            "sysctls": {"type": "dict", "default": {}},
            "pod_network": {"type": "str", "default": "flannel"},
            "mirrored_registries": {"type": "list", "elements": "str", "default": []},
            "proxy": PROXY_ARGUMENT,
            "reference_time": {"type": "float", "default": 0},
            "accepted_findings": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    for key in ("pod_cidr", "service_cidr"):
        if problem := why_no_network(module.params[key]):
            module.fail_json(msg=f"cluster_{key} is no network: {problem}")
    Preflight(module).run()


if __name__ == "__main__":
    main()
