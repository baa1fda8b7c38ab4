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

import ctypes
import hashlib
import ipaddress
import os
import platform
import re
import socket
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    advice,
    confidential,
    living_cluster,
    machine_findings,
    package_findings,
    runtime_findings,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import ARCHITECTURES, architecture
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose, in_container, read_os_release
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import CONTROL_PLANE_PARTS
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import server_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import (
    default_address,
    is_loopback,
    is_taken,
    network_of,
    own_addresses,
    parse_listeners,
    parse_nameservers,
    parse_routes,
    why_unreachable,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import (
    RepositoryError,
    checked_key,
    kubernetes_url,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ARGUMENT as PROXY_ARGUMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy, open_directly
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import ARGUMENT as RUNTIME

SYSTEMD = Path("/run/systemd/system")
KUBELET_CONF = Path("/etc/kubernetes/kubelet.conf")
ADMIN_CONF = Path("/etc/kubernetes/admin.conf")
CA_CERTIFICATE = Path("/etc/kubernetes/pki/ca.crt")
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"
MANIFESTS = Path("/etc/kubernetes/manifests")
# Asked for by version; the last one comes with kubelet.
EXACT_PACKAGES = ("kubelet", "kubeadm", "kubectl", "cri-tools")
KUBERNETES_PACKAGES = (*EXACT_PACKAGES, "kubernetes-cni")
# kubeadm's own limits.
CONTROL_PLANE_CPUS = 2
CONTROL_PLANE_MIB = 1700
CONTROL_PLANE_PORTS = {
    6443: "the Kubernetes API",
    10257: "kube-controller-manager",
    10259: "kube-scheduler",
    2379: "etcd",
    2380: "etcd",
}
NODE_PORTS = {10250: "kubelet"}
# Names as the kernel shows them: cut after 15 characters.
OUR_PROGRAMS = {"kubelet", "kube-apiserver", "kube-controller", "kube-scheduler", "etcd"}
OTHER_DISTRIBUTIONS = {
    "/var/lib/rancher/k3s": "k3s",
    "/var/lib/rancher/rke2": "RKE2",
    "/var/lib/k0s": "k0s",
    "/var/snap/microk8s": "MicroK8s",
}
# Networks that a cluster makes on its hosts.
CLUSTER_INTERFACES = ("cni", "flannel", "cali", "cilium", "lxc", "veth", "kube-", "tunl", "vxlan.calico")
# kubeadm dates certificates back by five minutes: with a larger difference they are "not yet valid".
CLOCK_SECONDS = 120
# Below this kubelet evicts pods and deletes images, where images and pods share a file system (imagefs.available).
DISK_PERCENT = 15
DISK_GIB = 8
TIME_ERROR = 5
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


def taken_ports(
    wanted: dict[int, str], listeners: dict[int, str], owner: Callable[[str], str], *, is_node: bool
) -> list[str]:
    """Return the ports that Kubernetes needs and another program has, a line each.

    Args:
        wanted: What each port is for.
        listeners: The socket that listens on each port.
        owner: Names the program a socket belongs to; empty when nobody has it any more.
        is_node: Whether the host is a node already, whose own parts have them. One that restarts just now has no name,
            and who cannot be named is not accused.
    """
    taken = []
    for port in sorted(wanted.keys() & listeners.keys()):
        program = owner(listeners[port])
        if not (is_node and program in {*OUR_PROGRAMS, ""}):
            taken.append(f"port {port} ({wanted[port]}) by {program or 'an unknown program'}")
    return taken


class Preflight:
    """One look at the host."""

    def __init__(self, module: AnsibleModule) -> None:
        """Read what several checks need."""
        self.module = module
        self.asked = module.params
        self.findings: list[dict[str, str]] = []
        self.system = read_os_release()
        self.joined = KUBELET_CONF.exists()
        self.is_control_plane = (MANIFESTS / "kube-apiserver.yaml").exists()
        self.hostname = socket.gethostname()
        self.processes = _processes()
        self.routes = parse_routes(read_text("/proc/net/route") or "")
        self.default_address = default_address()
        self.addresses = own_addresses()
        self.facts: dict[str, Any] = {"control_plane": self.asked["control_plane"]}
        self.cluster: Optional[dict[str, Any]] = None

    def run(self) -> None:
        """Look at everything and end the module."""
        self._living_cluster()
        self._system()
        self._size()
        self._swap()
        self._names_and_addresses()
        self._networks()
        self._resolver()
        self._what_wins_later()
        self._clock()
        self._kernel()
        self._ports()
        self._other_clusters()
        if self.asked["virtual_address"] and self.asked["control_plane"]:
            self._virtual_address()
        if self.asked["runtime_packages"] and self.system.get("ID") in self.asked["systems"] and SYSTEMD.is_dir():
            self._runtime()
        self._firewall()
        self._repository()
        if self.asked["runtime_packages"] and self.system.get("ID") in self.asked["systems"]:
            # Through the proxy that was found to answer.
            self._packages()
        order = {"blocker": 0, "warning": 1}
        self.findings.sort(key=lambda finding: order[finding["severity"]])
        self.module.exit_json(changed=False, findings=self.findings, ansible_facts={"kubestrap": self.facts})

    def found(self, name: str, evidence: str, fix: str, *, blocker: bool = True) -> None:
        """Add a finding; one the user accepts is a warning."""
        accepted = name in self.asked["accepted_findings"]
        severity = "blocker" if blocker and not accepted else "warning"
        self.findings.append({"id": name, "severity": severity, "evidence": evidence, "fix": fix})

    def found_all(self, findings: list[machine_findings.Finding]) -> None:
        """Add findings that a rule made."""
        for finding in findings:
            self.found(finding.id, finding.evidence, finding.fix, blocker=finding.blocker)

    def _living_cluster(self) -> None:
        """What this host says of the cluster it is in; the rules are where all hosts are compared."""
        if self.is_control_plane:
            endpoint = server_of(read_text(str(ADMIN_CONF)) or "")
            address = self.asked["node_address"] or self.default_address
            self.facts["api_ready"] = _api_is_ready(address, int(endpoint.rpartition(":")[2] or 6443))
        self.cluster = living_cluster.look(
            is_control_plane=self.is_control_plane, api_ready=self.facts.get("api_ready", False)
        )
        if self.cluster is not None:
            manager = systems.known_manager()
            packages = manager.installed(self.module, KUBERNETES_PACKAGES) if manager else {}
            kubelet = packages.get("kubelet")
            self.facts.update(
                cluster=self.cluster,
                kubelet_version=kubelet.version.split("-")[0] if kubelet else "",
                kubernetes_held=all(package.held for package in packages.values()),
            )

    def _in_cluster(self) -> set[str]:
        """Return the addresses by which its cluster knows this host."""
        cluster = self.cluster or {}
        return {*cluster.get("node_addresses", []), cluster.get("advertised", "")}

    def _system(self) -> None:
        name, version = self.system.get("ID", "unknown"), self.system.get("VERSION_ID", "")
        self.facts.update(distribution=name, distribution_version=version, architecture=architecture())
        pretty = self.system.get("PRETTY_NAME", name)
        systems: dict[str, list[str]] = self.asked["systems"]
        known = ", ".join(f"{system} {' and '.join(versions)}" for system, versions in systems.items())
        if name not in systems:
            self.found("os-unsupported", f"This host runs {pretty}.", f"Use one of: {known}.")
        elif version not in systems[name]:
            self.found(
                "os-unproved", f"This host runs {pretty}.", f"It may work. Known to work: {known}.", blocker=False
            )
        if architecture() not in ARCHITECTURES.values():
            self.found(
                "architecture-unsupported",
                f"The processor is {platform.machine()}.",
                "Kubernetes is installed on amd64 (x86_64) and arm64 (aarch64) hosts.",
            )
        if not SYSTEMD.is_dir():
            self.found("systemd-missing", "systemd does not run this host.", "Use a system that systemd starts.")

    def _size(self) -> None:
        cpus = len(os.sched_getaffinity(0))
        match = re.search(r"MemTotal:\s+(\d+) kB", read_text("/proc/meminfo") or "")
        memory = int(match[1]) // 1024 if match else 0
        self.facts.update(cpus=cpus, memory_mib=memory)
        if self.asked["control_plane"] and cpus < CONTROL_PLANE_CPUS:
            self.found(
                "cpu-low",
                f"The host has {cpus} CPU; a control plane needs {CONTROL_PLANE_CPUS}.",
                "Give the machine another CPU, or make it a worker.",
            )
        if self.asked["control_plane"] and memory < CONTROL_PLANE_MIB:
            self.found(
                "memory-low",
                f"The host has {memory} MiB of memory; a control plane needs {CONTROL_PLANE_MIB}.",
                "Give the machine more memory, or make it a worker.",
            )
        disk = os.statvfs("/var")
        free, percent = disk.f_bavail * disk.f_frsize / 2**30, 100 * disk.f_bavail / max(disk.f_blocks, 1)
        if percent < DISK_PERCENT or free < DISK_GIB:
            self.found(
                "disk-low",
                f"/var has {free:.1f} GiB free, {percent:.0f} % of its file system.",
                f"Make room: below {DISK_PERCENT} % kubelet deletes images and evicts pods, and images need about "
                f"{DISK_GIB} GiB.",
                # What is there already is needed no more.
                blocker=percent < DISK_PERCENT and not self.joined,
            )

    def _swap(self) -> None:
        areas = [line.split()[0] for line in (read_text("/proc/swaps") or "").splitlines()[1:]]
        self.facts["swap_stays_on"] = bool(areas) and in_container()
        if not areas:
            return
        if in_container():
            # Turning it off would be a decision about somebody else's machine.
            self.found(
                "swap-on",
                f"The machine this container runs on has swap on ({', '.join(areas)}).",
                "Nothing to do: kubelet is told to accept it, and pods do not use it.",
                blocker=False,
            )
        else:
            self.found(
                "swap-on",
                f"Swap is on ({', '.join(areas)}); kubelet refuses to start with it.",
                "Nothing to do: it is turned off, and kept off after a reboot, when the host is prepared.",
                blocker=False,
            )

    def _names_and_addresses(self) -> None:
        self.facts.update(
            # A node that was given a name of its own goes by that.
            hostname=(self.cluster or {}).get("name_flag") or self.hostname,
            node_address=self.asked["node_address"] or self.default_address,
            machine_id=(read_text("/etc/machine-id") or "").strip(),
            default_address=self.default_address,
            addresses=sorted(self.addresses),
        )
        if not re.fullmatch(
            r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", self.hostname
        ):
            self.found(
                "host-name-invalid",
                f"The host is called {self.hostname!r}.",
                "Node names are lower-case letters, digits, '-' and '.': `hostnamectl hostname NAME`.",
            )
        wanted = self.asked["node_address"]
        self.facts["node_network"] = network_of(wanted or self.default_address, self.routes)
        # What a node had and lost is told in comparison with its cluster.
        if wanted and wanted not in {*self.addresses, *self._in_cluster()}:
            self.found(
                "node-address-missing",
                f"The node address {wanted} is on no interface of the host ({', '.join(sorted(self.addresses))}).",
                "Correct cluster_node_address of this host.",
            )
        if not wanted and not self.default_address:
            self.found(
                "node-address-unknown",
                "The host has no default route, so it is not clear which of its addresses the cluster is to use.",
                f"Set cluster_node_address of this host to one of: {', '.join(sorted(self.addresses))}.",
            )

        self._cluster_network()

    def _cluster_network(self) -> None:
        wanted, control_plane = self.asked["node_address"], self.asked["control_plane_address"]
        flags = re.search(r"--node-ip=([^\s\"]+)", read_text(KUBELET_FLAGS) or "")
        if wanted and flags and flags[1] != wanted and flags[1] in self.addresses:
            self.found(
                "node-address-differs",
                f"The host joined the cluster with the address {flags[1]}, and the inventory says {wanted}.",
                advice.another_host(f"A node keeps its address: set cluster_node_address to {flags[1]}."),
            )
        reason = why_unreachable(control_plane, 6443) if control_plane else ""
        if reason:
            self.found(
                "control-plane-unreachable",
                f"This host does not reach TCP port 6443 of the control plane at {control_plane} ({reason}).",
                "Let it through in the firewalls between them, or correct cluster_node_address of the control plane: "
                "the hosts of a cluster need one network that all of them reach.",
            )

    def _networks(self) -> None:
        for key, what in (("pod_cidr", "pods"), ("service_cidr", "Services")):
            try:
                network = ipaddress.ip_network(self.asked[key])
            except ValueError as error:
                self.module.fail_json(msg=f"cluster_{key} is no network: {error}")
            taken = [
                f"{route.network} on {route.interface}"
                for route in self.routes
                if network.version == 4 and route.network.overlaps(network)  # noqa: PLR2004
                and not route.interface.startswith(CLUSTER_INTERFACES)
            ]  # fmt: skip
            # On a node they may be the way to the pods of other nodes, and the network cannot be another one any more.
            if taken and self.cluster is None:
                self.found(
                    f"{key.replace('_', '-')}-taken",
                    f"The addresses for {what}, {network}, overlap with networks of this host: {', '.join(taken)}.",
                    f"Choose another cluster_{key}.",
                )
        pods = ipaddress.ip_network(self.asked["pod_cidr"])
        old = [
            f"{route.network} on {route.interface}"
            for route in self.routes
            if route.interface.startswith(("cni", "flannel")) and not route.network.overlaps(pods)
        ]
        # On a node it is the network of its cluster, with which the inventory is compared.
        if old and not self.joined and not self.is_control_plane:
            links = sorted({route.interface for route in self.routes if route.interface.startswith(("cni", "flannel"))})
            self.found(
                "pod-network-left",
                f"A pod network of an earlier cluster is left: {', '.join(old)}; the pods are to use {pods}.",
                advice.old_pod_network(links, used=advice.bridge_is_used()),
            )

    def _resolver(self) -> None:
        upstream, path = Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")
        servers = parse_nameservers(read_text(str(path)) or "")
        behind = parse_nameservers(read_text(str(upstream)) or "")
        if any(map(is_loopback, servers)) and behind and not any(map(is_loopback, behind)):
            path, servers = upstream, behind
        self.facts["resolver"] = str(path)
        loops = [server for server in servers if is_loopback(server)]
        if loops:
            self.found(
                "resolver-loop",
                f"{path} names {', '.join(loops)}, the host itself: in a pod that is the pod, and the cluster's "
                "DNS would "
                "ask itself and stop.",
                "Put the address of a real name server into /etc/resolv.conf, or use systemd-resolved.",
            )
        elif not servers:
            self.found(
                "resolver-missing",
                f"{path} names no name server.",
                "Put the address of one into it, or pods will not find names outside the cluster.",
                blocker=False,
            )
        self.found_all(machine_findings.nameservers(str(path), servers, machine_findings.silent_nameservers(servers)))

    def _what_wins_later(self) -> None:
        """What works now and does not after a reboot, or when the first pod starts."""
        files = machine_findings.sysctl_files()
        wanted = {name: str(value) for name, value in self.asked["sysctls"].items()}
        self.found_all(machine_findings.overridden_sysctls(files, wanted))
        units = machine_findings.own_units()
        self.found_all(machine_findings.swap_units(units, machine_findings.boot_scripts(units)))
        if self.asked["pod_network"] == "flannel":
            names, in_cluster = machine_findings.cni_files(), self.cluster is not None
            self.found_all(machine_findings.foreign_cni(names, in_cluster=in_cluster))

    def _clock(self) -> None:
        reference = self.asked["reference_time"]
        # Rounded, and the way here took a moment.
        offset = round(time.time() - reference) if reference else 0
        service = machine_findings.clock_service(self.processes.values())
        if abs(offset) > CLOCK_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            self.found(
                "clock-skew",
                f"The host's clock is {abs(offset)} seconds {direction} yours: certificates made here would not "
                "be valid "
                "there.",
                f"Set it right: `date -s`, and see why {service} does not keep it so."
                if service
                else "Set it right and keep it right: install systemd-timesyncd, or chrony.",
            )
        elif not in_container() and _clock_is_free():
            self.found_all([machine_findings.unsynchronised(service)])

    def _kernel(self) -> None:
        release = platform.release()
        version = 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1
        limit = Path("/proc/sys/net/netfilter/nf_conntrack_max")
        self.facts.update(
            cgroup_version=version,
            kernel_config_readable=any(os.access(path.format(release), os.R_OK) for path in KERNEL_CONFIGS),
            conntrack_writable=os.access(limit, os.W_OK) if limit.exists() else not in_container(),
        )
        if version == 1:
            self.found(
                "cgroup-v1",
                "The host uses version 1 of control groups, which Kubernetes is about to give up.",
                "Nothing to do now: kubelet is told to accept it. Later: boot with systemd.unified_cgroup_hierarchy=1.",
                blocker=False,
            )
        modules = Path("/lib/modules", release)
        known = (read_text(f"{modules}/modules.dep") or "") + (read_text(f"{modules}/modules.builtin") or "")
        present = {
            "overlay": "\toverlay\n" in (read_text("/proc/filesystems") or ""),
            "br_netfilter": Path("/proc/sys/net/bridge").is_dir(),
        }
        missing = [name for name, there in present.items() if not there and f"/{name}.ko" not in known]
        if missing:
            self.found(
                "kernel-feature-missing",
                f"The kernel {release} has no {' and no '.join(missing)}, neither built in nor as a module.",
                "Install the distribution's ordinary kernel (linux-image-amd64, linux-image-generic) and reboot.",
            )

    def _ports(self) -> None:
        listeners = {
            **parse_listeners(read_text("/proc/net/tcp6") or ""),
            **parse_listeners(read_text("/proc/net/tcp") or ""),
        }
        wanted = {**NODE_PORTS, **(CONTROL_PLANE_PORTS if self.asked["control_plane"] else {})}
        kubeadm_was_here = self.joined or any(MANIFESTS.glob("*.yaml"))
        taken = taken_ports(wanted, listeners, self._owner, is_node=kubeadm_was_here)
        if taken:
            self.found(
                "port-taken",
                f"Taken already: {', '.join(taken)}.",
                "Stop that program, or move it to another port: Kubernetes cannot use other ones.",
            )

    def _owner(self, inode: str) -> str:
        link = f"socket:[{inode}]"
        # Those that have just started are not among the processes of the first look.
        for processes in (self.processes, _processes()):
            for pid, name in processes.items():
                if link in _open_files(pid):
                    return name
        return ""

    def _other_clusters(self) -> None:
        for path, name in OTHER_DISTRIBUTIONS.items():
            if Path(path).exists():
                self.found("other-cluster", f"The host has {name} ({path}).", advice.other_distribution(name))
        server = server_of(read_text(str(KUBELET_CONF)) or "")
        is_control_plane = self.is_control_plane
        held = advice.worth(running=self.processes.values())
        # For the others: one that lost a manifest is a control plane all the same, and beside it no cluster is made.
        parts = any((MANIFESTS / f"{part}.yaml").exists() for part in CONTROL_PLANE_PARTS)
        self.facts.update(api_server=server, is_control_plane=parts, held=held)
        if is_control_plane:
            self._control_plane()
        if is_control_plane and not self.asked["control_plane"]:
            self.found(
                "other-role",
                "The host is a control plane of a cluster, and the inventory says worker.",
                advice.leave_cluster("Put it into the group control_plane.", held),
            )
        wanted = self.asked["api_endpoint"]
        own = server.rsplit(":", 1)[0].strip("[]") in {*self.addresses, self.hostname, "localhost"}
        if server and wanted and server != wanted and not (is_control_plane and own):
            self.found(
                "other-cluster",
                f"The host is a node of the cluster at {server}, and this one is at {wanted}.",
                advice.leave_cluster(f"If it is this cluster: set cluster_api_endpoint to {server}.", held),
            )

    def _control_plane(self) -> None:
        """What others need to know of a control plane that is here: whether it works, and of which cluster it is."""
        self.facts.update(
            cluster_ca=hashlib.sha256((read_text(str(CA_CERTIFICATE)) or "").encode()).hexdigest(),
        )

    def _virtual_address(self) -> None:
        address = ipaddress.IPv4Address(self.asked["virtual_address"])
        node = self.asked["node_address"] or self.default_address
        networks = [route.network for route in self.routes if node and ipaddress.ip_address(node) in route.network]
        if networks and not any(address in network for network in networks):
            self.found(
                "virtual-address-elsewhere",
                f"The address {address} is not in the network of this host's address {node} "
                f"({', '.join(map(str, networks))}), so other machines would not look for it here.",
                "Set cluster_api_virtual_address to a free address of that network. With control planes in several "
                "networks, put a load balancer before them and set cluster_api_endpoint.",
            )
        # Where there is a cluster already it is ours, or that of a control plane that is not looked at now.
        elif not self.joined and str(address) not in self.addresses and is_taken(str(address)):
            self.facts["virtual_address_taken"] = str(address)

    def _runtime(self) -> None:
        wanted = self.asked["container_runtime"]
        found = [*runtime_findings.LOOKS[wanted](self.module)]
        if self.joined:
            found += runtime_findings.change(wanted, runtime_findings.node_runtime())
        for finding in found:
            self.found(finding.name, finding.evidence, finding.fix, blocker=finding.blocker)

    def _packages(self) -> None:
        wanted = [*choose(self.module, self.asked["runtime_packages"], purpose="packages of it"), *KUBERNETES_PACKAGES]
        present = systems.manager(self.module).installed(self.module, wanted)
        missing = [name for name in wanted if name not in present]
        known = {finding["id"] for finding in self.findings}
        excluded = self.asked["docker_conflicting_packages"] if "docker-conflict" in known else ()
        found = package_findings.packages(self.module, missing, known=excluded, exact=EXACT_PACKAGES)
        for finding in (*package_findings.busy(self.module), *found):
            self.found(finding.name, finding.evidence, finding.fix, blocker=finding.blocker and not self.joined)

    def _repository(self) -> None:
        proxy, url = Proxy(self.asked["proxy"]), ""
        if self.asked["repository"]:
            url = kubernetes_url(self.asked["repository"], self.asked["kubernetes_version"])
        if problem := proxy.problem([url] if url else []):
            self.found(
                "proxy-unreachable",
                problem,
                "Correct cluster_http_proxy or cluster_https_proxy, or let this host through to it."
                if proxy
                else "Correct or remove it there, or set cluster_http_proxy and cluster_https_proxy, which are used "
                "instead; or let this host through to it.",
                # On a node nothing need be fetched.
                blocker=not self.joined,
            )
            return
        proxy.use()
        if not url or self.joined:
            return
        try:
            checked_key(f"{url}Release.key", self.asked["repository_key_fingerprint"])
        except RepositoryError as error:
            self.found(
                "repository-unusable",
                str(error),
                "Correct cluster_kubernetes_repository or cluster_kubernetes_repository_key_fingerprint.",
            )

    def _firewall(self) -> None:
        ufw = re.search(r"^ENABLED=yes", read_text("/etc/ufw/ufw.conf") or "", re.MULTILINE | re.IGNORECASE)
        active = ["ufw"] if ufw else []
        active += ["firewalld"] if "firewalld" in self.processes.values() else []
        # What these two have in the kernel is theirs.
        active += (
            [] if active else [f"{chain} drops what it does not accept" for chain in machine_findings.foreign_chains()]
        )
        vrrp = " IP protocol 112 (VRRP) between control planes," if self.asked["virtual_address"] else ""
        if active:
            self.found(
                "firewall-active",
                f"A firewall is active: {', '.join(active)}.",
                "Open TCP 6443, 2379-2380, 10250, 10257, 10259 on control planes, TCP 10250 and 30000-32767 on "
                f"workers, UDP 8472 between all,{vrrp} and let {self.asked['pod_cidr']} and "
                f"{self.asked['service_cidr']} through.",
                blocker=False,
            )


def _processes() -> dict[str, str]:
    """Return the names of all processes by ID."""
    names = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            name = _read_or_empty(f"/proc/{entry.name}/comm").strip()
            if name:
                names[entry.name] = name
    return names


def _open_files(pid: str) -> set[str]:
    try:
        entries = list(Path("/proc", pid, "fd").iterdir())
    except OSError:  # The process ended meanwhile.
        return set()
    return {_target(entry) for entry in entries}


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # The file was closed meanwhile.
        return ""


def _read_or_empty(path: str) -> str:
    try:
        return read_text(path) or ""
    except OSError:  # The process ended meanwhile.
        return ""


def _api_is_ready(address: str, port: int) -> bool:
    """Tell whether the API server of this host says that it is ready, which anybody may ask."""
    # What it says is not trusted with anything, so who says it is not checked.
    context = ssl._create_unverified_context()  # noqa: S323, SLF001 - there is no public name
    try:
        with open_directly(f"https://{address}:{port}/readyz", timeout=5, context=context) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def _clock_is_free() -> bool:
    """Tell whether the kernel says that nothing keeps its clock synchronised."""
    try:
        libc = ctypes.CDLL(None)
        return bool(libc.adjtimex(ctypes.create_string_buffer(512)) == TIME_ERROR)
    except (OSError, AttributeError):
        return False


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
    Preflight(module).run()


if __name__ == "__main__":
    main()
