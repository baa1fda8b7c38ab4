#!/usr/bin/python
"""Ansible module kubeadm_join."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Make this host a worker of the cluster
description:
  - Without O(token), looks whether this host is a worker of the cluster at O(api_endpoint) and tells.
  - With O(token), joins a host that is none. A join that was cut is cleaned up first. A host that belongs to another
    cluster is left alone, with an error.
author: kubestrap
options:
  node_name: {description: Name of the node; empty means the hostname., type: str, default: ""}
  node_address:
    description: Address of this host inside the cluster; empty means the one of its default route.
    type: str
    default: ""
  api_endpoint: {description: "C(host:port) of the API.", type: str, required: true}
  container_runtime: {description: The container runtime., type: str, default: docker, choices: [docker]}
  cri_socket: {description: Socket of the container runtime., type: str, required: true}
  resolver: {description: "The resolv.conf pods inherit.", type: str, default: /etc/resolv.conf}
  cgroup_version: {description: Version of cgroups on this host., type: int, default: 2, choices: [1, 2]}
  swap_stays_on: {description: Whether this host keeps its swap on., type: bool, default: false}
  token: {description: Bootstrap token., type: str}
  ca_cert_hash: {description: "Hash of the cluster's CA the API server must prove, C(sha256:...).", type: str}
"""

EXAMPLES = r"""
- name: Look whether the host is a worker
  kubestrap.cluster.kubeadm_join:
    node_name: worker1
    node_address: 10.0.0.21
    api_endpoint: 10.0.0.11:6443
    cri_socket: unix:///run/cri-dockerd.sock
  register: membership
"""

RETURN = r"""
joined:
  description: Whether the host is a worker of the cluster now.
  returned: always
  type: bool
"""

import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError, SecretFile
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError

API_SERVER_MANIFEST = f"{kubeadm.KUBERNETES}/manifests/kube-apiserver.yaml"
REMAINS = (
    f"{kubeadm.KUBERNETES}/bootstrap-kubelet.conf",
    f"{kubeadm.KUBERNETES}/pki/ca.crt",
    "/var/lib/kubelet/config.yaml",
)
NODE_APPEARS_WITHIN = 60


def configuration(params: dict[str, Any]) -> dict[str, Any]:
    """Return the document `kubeadm join` reads. It holds the token."""
    return {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "token": params["token"],
                "apiServerEndpoint": params["api_endpoint"],
                "caCertHashes": [params["ca_cert_hash"]],
            }
        },
        "nodeRegistration": kubeadm.node_registration(
            name=params["node_name"],
            address=params["node_address"],
            cri_socket=params["cri_socket"],
            cgroup_version=params["cgroup_version"],
        ),
        "patches": {"directory": kubeadm.PATCHES},
    }


class Worker:
    """This host as a node of the cluster."""

    def __init__(self, params: dict[str, Any], changes: Changes) -> None:
        """Remember the parameters of the module."""
        self.params = params
        self.changes = changes
        self.kubectl = Kubectl(kubeadm.KUBELET_CONF)

    def joined(self) -> bool:
        """Tell whether this host is a node of the cluster at the endpoint.

        Raises:
            KubeadmError: when it belongs to another cluster, or the API does not answer.
        """
        if Path(API_SERVER_MANIFEST).exists():
            raise KubeadmError(
                "This host is a control plane already and cannot be a worker. List it under control_plane, "
                "or run `kubeadm reset` on it if that control plane is not needed."
            )
        kubelet_conf = read_text(kubeadm.KUBELET_CONF)
        if kubelet_conf is None:
            return False
        found = re.search(r"^\s*server:\s*https://(\S+)", kubelet_conf, re.MULTILINE)
        server = found[1] if found else "(unknown)"
        if server != self.params["api_endpoint"]:
            raise KubeadmError(
                f"This host is a node of the cluster at {server}, not of the one at {self.params['api_endpoint']}. "
                "It is left alone. If it is not needed there: `kubectl delete node` there, `kubeadm reset` here."
            )
        if self.node_exists():
            return True
        # The kubelet makes its Node object when it starts, and only then.
        self.changes.act("kubelet", self.restart_kubelet, before="no Node object\n", after="restarted\n")
        return True

    def node_exists(self) -> bool:
        """Tell whether the API has the Node object of this host."""
        try:
            return bool(
                self.kubectl.run("get", "node", self.params["node_name"], "--ignore-not-found", "-o", "name").strip()
            )
        except KubectlError as error:
            text = str(error)
            if re.search(r"unknown authority|Unauthorized|must be logged in", text):
                raise KubeadmError(
                    f"The cluster at {self.params['api_endpoint']} does not know this host any more, or is a new "
                    f"one: the host's certificates are of another. Run `kubeadm reset` on it, then run again.\n"
                    f"  {text}"
                ) from None
            raise KubeadmError(
                f"This host has joined, but the API at {self.params['api_endpoint']} does not answer it.\n  {text}"
            ) from None

    def restart_kubelet(self) -> None:
        """Start the kubelet anew and wait for its Node object."""
        kubeadm.run("systemctl", "restart", "kubelet")
        deadline = time.monotonic() + NODE_APPEARS_WITHIN
        while not self.node_exists():
            if time.monotonic() > deadline:
                raise KubeadmError(
                    f"The kubelet does not register node {self.params['node_name']}: {kubeadm.kubelet_error()}"
                )
            time.sleep(0.5)

    def join(self) -> None:
        """Join the cluster; what an earlier, cut join left is removed first."""
        patch = kubeadm.kubelet_patch(
            resolver=self.params["resolver"],
            cgroup_version=self.params["cgroup_version"],
            swap_stays_on=self.params["swap_stays_on"],
        )
        self.changes.file(
            f"{kubeadm.PATCHES}/kubeletconfiguration0+merge.json", json.dumps(patch, sort_keys=True) + "\n"
        )
        if any(Path(path).exists() for path in REMAINS):
            self.changes.act(
                "remains of an unfinished kubeadm join",
                lambda: kubeadm.reset(self.params["cri_socket"]),
                before="present\n",
                after="",
            )
        self.changes.act("kubeadm join", self._join)

    def _join(self) -> None:
        with SecretFile(kubeadm.as_documents([configuration(self.params)])) as path:
            kubeadm.validate(path)
            done = kubeadm.run("kubeadm", "join", "--config", path)
        if done.returncode != 0:
            raise KubeadmError(kubeadm.failure("kubeadm join", done, self.params["cri_socket"]))


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node_name": {"type": "str", "default": ""},
            "node_address": {"type": "str", "default": ""},
            "api_endpoint": {"type": "str", "required": True},
            "container_runtime": {"type": "str", "default": "docker", "choices": ["docker"]},
            "cri_socket": {"type": "str", "required": True},
            "resolver": {"type": "str", "default": "/etc/resolv.conf"},
            "cgroup_version": {"type": "int", "default": 2, "choices": [1, 2]},
            "swap_stays_on": {"type": "bool", "default": False},
            "token": {"type": "str", "no_log": True},
            "ca_cert_hash": {"type": "str"},
        },
        required_together=[("token", "ca_cert_hash")],
        supports_check_mode=True,
    )
    params = module.params
    params["node_name"] = params["node_name"] or kubeadm.default_name()
    params["node_address"] = params["node_address"] or kubeadm.default_address()
    changes = Changes(module)
    worker = Worker(params, changes)
    try:
        with kubeadm.alone(kubeadm.OTHER_RUN_SECONDS):
            joined = worker.joined()
            if not joined and params["token"] is not None:
                worker.join()
                joined = True
    except KubeadmError as error:
        module.fail_json(msg=str(error))
    changes.exit(joined=joined)


if __name__ == "__main__":
    main()
