#!/usr/bin/python
"""Ansible module kubeadm_init."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_init
short_description: Make this host the first control plane of a cluster
description:
  - Runs C(kubeadm init) with a configuration that kubeadm has validated, and waits until the API is ready.
  - Does nothing where a control plane runs already. Finishes an init that was cut after the API came up, cleans up
    after one that was cut before, and brings back a finished control plane whose kubelet does not run.
  - Only a mark that this module writes before C(kubeadm init), and that goes with its last phase, proves that an init
    is unfinished. Without it nothing is removed. A CA of the person's in C(/etc/kubernetes/pki) is used.
  - Bootstrap tokens that an interrupted run of ours left are revoked.
version_added: 0.1.0
author: kubestrap
options:
  cluster_name: {description: Name of the cluster., type: str, default: kubernetes}
  node_name: {description: Name of the node; empty means the hostname., type: str, default: ""}
  node_address:
    description: Address of this host inside the cluster; empty means the one of its default route.
    type: str
    default: ""
  api_endpoint:
    description: C(host:port) of the API for everyone; empty means the address of this host, port 6443.
    type: str
    default: ""
  cert_sans:
    description: More names and addresses for the API server's certificate.
    type: list
    elements: str
    default: []
  image_registry: {description: Where the images come from., type: str, default: registry.k8s.io}
  pod_cidr: {description: Addresses of the pods., type: str, default: 10.244.0.0/16}
  service_cidr: {description: Addresses of the Services., type: str, default: 10.96.0.0/12}
  dns_domain: {description: DNS domain inside the cluster., type: str, default: cluster.local}
  schedulable: {description: Whether apps may run here., type: bool, default: false}
  container_runtime:
    description: The container runtime of this host.
    type: str
    default: docker
    choices: [docker, containerd]
  container_runtimes:
    description: The container runtimes of all hosts of the cluster. Empty means that of this host.
    type: list
    elements: str
    default: []
  cri_socket: {description: Socket of the container runtime., type: str, required: true}
  resolver: {description: "The resolv.conf pods inherit.", type: str, default: /etc/resolv.conf}
  cgroup_version: {description: Version of cgroups on this host., type: int, default: 2, choices: [1, 2]}
  swap_stays_on: {description: Whether this host keeps its swap on., type: bool, default: false}
  conntrack_writable:
    description: Whether kube-proxy may set conntrack limits on every host.
    type: bool
    default: true
  timeout: {description: Seconds a control plane that exists may take to answer., type: int, default: 120}
  patience: {description: How many times the usual length kubeadm's time limits have., type: float, default: 1.0}
  move_aside:
    description: What may be moved aside on this host, by the name that the refusal to touch it gave. Empty means
      nothing.
    type: str
    default: ""
  other_control_planes:
    description: Hosts that have a control plane already, by their names in the inventory. While there are any, no
      cluster is made here.
    type: list
    elements: str
    default: []
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Make the control plane
  kubestrap.cluster.kubeadm_init:
    node_name: cp1
    node_address: 10.0.0.11
    api_endpoint: 10.0.0.11:6443
    cri_socket: unix:///run/cri-dockerd.sock
"""

RETURN = r"""
state:
  description: What was found before anything was done.
  returned: always
  type: str
"""

import json
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    kubeadm,
    tokens,
    traces,
    unfinished,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.control_plane import (
    LocalControlPlane,
    find_state,
    is_complete,
    local_api,
    settle,
    split_endpoint,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import HOLDS, UndecidedError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError, SecretFile
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import default_address
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import ARGUMENT as RUNTIME
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import KUBEADM_API

CONFIGURATION = f"{kubeadm.KUBERNETES}/kubestrap/init.yaml"
# What is left to do once the API answers; each phase may be repeated.
DONE_BEFORE_API = "preflight,certs,kubeconfig,etcd,control-plane,kubelet-start,wait-control-plane"


def configuration(params: dict[str, Any], version: tuple[int, int, int], token: str = "") -> list[dict[str, Any]]:
    """Return the documents `kubeadm init` reads."""
    runtimes = {params["container_runtime"], *params["container_runtimes"]}
    registration = kubeadm.node_registration(
        name=params["node_name"],
        address=params["node_address"],
        cri_socket=params["cri_socket"],
        cgroup_version=params["cgroup_version"],
    )
    if params["schedulable"]:
        registration["taints"] = []
    endpoint, port = split_endpoint(params["api_endpoint"])
    init = {
        "apiVersion": KUBEADM_API,
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": params["node_address"], "bindPort": port},
        # The default is a day. Nobody uses this token; it is removed when init is done. Without a token given here
        # kubeadm makes one whose ID is not ours.
        "bootstrapTokens": [{"ttl": "10m0s", **({"token": token} if token else {})}],
        "nodeRegistration": registration,
        "patches": {"directory": kubeadm.PATCHES},
        "timeouts": kubeadm.time_limits(params["patience"]),
    }
    api_server: dict[str, Any] = {
        "certSANs": sorted({endpoint, params["node_name"], params["node_address"], *params["cert_sans"]})
    }
    if any(kubeadm.needs_exec_gate(version[1], runtime) for runtime in runtimes):
        api_server["extraArgs"] = [{"name": "feature-gates", "value": f"{kubeadm.EXEC_GATE}=false"}]
    cluster = {
        "apiVersion": KUBEADM_API,
        "kind": "ClusterConfiguration",
        "clusterName": params["cluster_name"],
        "kubernetesVersion": "v{}.{}.{}".format(*version),
        "controlPlaneEndpoint": params["api_endpoint"],
        "imageRepository": params["image_registry"],
        "networking": {
            "podSubnet": params["pod_cidr"],
            "serviceSubnet": params["service_cidr"],
            "dnsDomain": params["dns_domain"],
        },
        "apiServer": api_server,
    }
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "cgroupDriver": "systemd",
    }
    proxy: dict[str, Any] = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
    }
    if not params["conntrack_writable"]:
        # Zero leaves the kernel's value alone; kube-proxy dies of a value it may not set.
        proxy["conntrack"] = {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        }
    return [init, cluster, kubelet, proxy]


class ControlPlane(LocalControlPlane):
    """The first control plane of a cluster."""

    def converge(self, state: str) -> None:
        """Bring the host from this state to a running control plane."""
        others = ", ".join(self.params["other_control_planes"])
        if state in ("absent", "half") and others:
            raise KubeadmError(
                f"No cluster is made here, because there is one on {others}: its API does not answer. Bring that "
                "control plane back, and this host joins it."
            )
        if state == "half":
            self.changes.act(
                "remains of an unfinished kubeadm init",
                lambda: traces.reset(self.params),
                before="present\n",
                after="",
            )
        if state in ("absent", "half"):
            if traces.stale_pod_network():
                self.changes.act("network of earlier pods", traces.clear_pod_network, before="present\n", after="")
            self.init()
        if state == "down":
            self.revive()
        if state == "unfinished" or (state == "down" and unfinished.read() and not self.changes.module.check_mode):
            if is_complete(self.kubectl).decided():
                self.changes.act("mark of an unfinished kubeadm init", unfinished.remove, before="present\n", after="")
            else:
                self.init(finish=True)

    def init(self, *, finish: bool = False) -> None:
        """Run `kubeadm init`, or what is left of it."""
        version = kubeadm.version()
        patch = kubeadm.kubelet_patch(self.params, version)
        self.changes.file(
            f"{kubeadm.PATCHES}/kubeletconfiguration0+merge.json", json.dumps(patch, sort_keys=True) + "\n"
        )
        if version is None:
            if not self.changes.module.check_mode:
                raise KubeadmError("kubeadm is not installed on this host.")
            self.changes.note("kubeadm init", before="", after="done\n")
            return
        documents = kubeadm.as_documents(configuration(self.params, version))
        self.changes.file(CONFIGURATION, documents, mode=0o600)
        self.changes.act("kubeadm init", lambda: self._init(version, finish=finish))

    def _init(self, version: tuple[int, int, int], *, finish: bool) -> None:
        kubeadm.validate(CONFIGURATION)
        if not finish:
            kubeadm.pull_images(CONFIGURATION, self.params["cri_socket"])
            traces.mark("init", self.params)
        documents = configuration(self.params, version, ".".join(tokens.new()))
        with SecretFile(kubeadm.as_documents(documents)) as path:
            command = ["kubeadm", "init", "--config", path, "--skip-token-print"]
            if finish:
                command.append(f"--skip-phases={DONE_BEFORE_API}")
            done = unfinished.run(*command, timeout=kubeadm.most_seconds(self.params["patience"]))
        if done.returncode != 0:
            raise kubeadm.failure("kubeadm init", done, self.params["cri_socket"])
        unfinished.remove()
        found = self.wait(60)
        if found.answer != HOLDS:
            raise KubeadmError(f"kubeadm init ended well, but after 60 s the API server is not ready: {found.why}.")
        self.revoke()

    def revoke(self) -> None:
        """Take back what this run, or one that was interrupted, made for joining."""
        tokens.delete(self.kubectl, tokens.left(self.kubectl))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "cluster_name": {"type": "str", "default": "kubernetes"},
            "node_name": {"type": "str", "default": ""},
            "node_address": {"type": "str", "default": ""},
            "api_endpoint": {"type": "str", "default": ""},
            "cert_sans": {"type": "list", "elements": "str", "default": []},
            "image_registry": {"type": "str", "default": "registry.k8s.io"},
            "pod_cidr": {"type": "str", "default": "10.244.0.0/16"},
            "service_cidr": {"type": "str", "default": "10.96.0.0/12"},
            "dns_domain": {"type": "str", "default": "cluster.local"},
            "schedulable": {"type": "bool", "default": False},
            "container_runtime": RUNTIME,
            "container_runtimes": {"type": "list", "elements": "str", "default": []},
            "cri_socket": {"type": "str", "required": True},
            "resolver": {"type": "str", "default": "/etc/resolv.conf"},
            "cgroup_version": {"type": "int", "default": 2, "choices": [1, 2]},
            "swap_stays_on": {"type": "bool", "default": False},
            "conntrack_writable": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 120},
            "patience": {"type": "float", "default": 1.0},
            "move_aside": {"type": "str", "default": ""},
            "other_control_planes": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    params["node_name"] = params["node_name"] or kubeadm.default_name()
    params["node_address"] = params["node_address"] or default_address()
    params["api_endpoint"] = params["api_endpoint"] or f"{params['node_address']}:6443"
    changes = Changes(module)
    try:
        kubectl = local_api(params)
        first = ControlPlane(params, changes, kubectl)
        with kubeadm.alone(kubeadm.OTHER_RUN_SECONDS):
            state = settle(lambda: find_state(first), changes, params)
            first.converge(state)
            if state == "running" or not module.check_mode:
                first.converge_marks()
            if state == "running" and tokens.left(kubectl):
                changes.act("tokens of an interrupted run", first.revoke, before="valid\n", after="revoked\n")
    except (KubeadmError, KubectlError, UndecidedError) as error:
        module.fail_json(msg=str(error), said=getattr(error, "said", ""))
    changes.exit(state=state)


if __name__ == "__main__":
    main()
