#!/usr/bin/python
"""Ansible module kubeadm_join."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Make this host a worker or a further control plane of the cluster
description:
  - Without O(token), looks whether this host is a worker of the cluster at O(api_endpoint), or with O(control_plane) a
    control plane of it, and tells.
  - With O(token), joins a host that is none. A join that was cut is cleaned up first. A host that belongs to another
    cluster is left alone, with an error.
  - A control plane is one when its own API server is ready. When it has all of one and its API server does not answer,
    the kubelet is restarted first; what that did not help is told as RV(trouble).
author: kubestrap
options:
  node_name: {description: Name of the node; empty means the hostname., type: str, default: ""}
  node_address:
    description: Address of this host inside the cluster; empty means the one of its default route.
    type: str
    default: ""
  api_endpoint: {description: "C(host:port) of the API.", type: str, required: true}
  container_runtime: {description: The container runtime., type: str, default: docker, choices: [docker, containerd]}
  cri_socket: {description: Socket of the container runtime., type: str, required: true}
  resolver: {description: "The resolv.conf pods inherit.", type: str, default: /etc/resolv.conf}
  cgroup_version: {description: Version of cgroups on this host., type: int, default: 2, choices: [1, 2]}
  swap_stays_on: {description: Whether this host keeps its swap on., type: bool, default: false}
  control_plane: {description: Whether the host is to be a control plane., type: bool, default: false}
  schedulable: {description: Whether apps may run on this control plane., type: bool, default: false}
  timeout: {description: Seconds a control plane that exists may take to answer., type: int, default: 120}
  patience: {description: How many times the usual length kubeadm's time limits have., type: float, default: 1.0}
  token: {description: Bootstrap token., type: str}
  ca_certificate: {description: "The CA by which the host knows the cluster, PEM.", type: str}
  certificate_key:
    description: With O(control_plane), the key of the certificates that wait for it in the cluster.
    type: str
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
  description: Whether the host is what was asked for now.
  returned: always
  type: bool
trouble:
  description: Why a host that has all of a control plane does not work as one. Empty when it has not.
  returned: always
  type: str
"""

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import control_plane, kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.control_plane import LocalControlPlane
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError, SecretFile
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import ADMIN_KUBECONFIG, Kubectl, KubectlError

API_SERVER_MANIFEST = f"{kubeadm.KUBERNETES}/manifests/kube-apiserver.yaml"
REMAINS = (
    f"{kubeadm.KUBERNETES}/bootstrap-kubelet.conf",
    f"{kubeadm.KUBERNETES}/pki/ca.crt",
    "/var/lib/kubelet/config.yaml",
)
NODE_APPEARS_WITHIN = 60


def discovery(params: dict[str, Any]) -> dict[str, Any]:
    """Return the kubeconfig by which `kubeadm join` knows the cluster.

    It came over a connection that is trusted. To trust the cluster by a token, kubeadm would have to wait until the
    controller manager has signed that: 5 s in a new cluster.
    """
    authority = base64.b64encode(params["ca_certificate"].encode()).decode()
    cluster = {"server": f"https://{params['api_endpoint']}", "certificate-authority-data": authority}
    return {"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "", "cluster": cluster}]}


def configuration(params: dict[str, Any], kubeconfig: str) -> dict[str, Any]:
    """Return the document `kubeadm join` reads. It holds the token.

    Args:
        params: The parameters of the module.
        kubeconfig: Path of the file by which it knows the cluster.
    """
    document: dict[str, Any] = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "JoinConfiguration",
        "discovery": {"file": {"kubeConfigPath": kubeconfig}, "tlsBootstrapToken": params["token"]},
        "nodeRegistration": kubeadm.node_registration(
            name=params["node_name"],
            address=params["node_address"],
            cri_socket=params["cri_socket"],
            cgroup_version=params["cgroup_version"],
        ),
        "patches": {"directory": kubeadm.PATCHES},
        "timeouts": kubeadm.time_limits(params["patience"]),
    }
    if params["control_plane"]:
        _, port = control_plane.split_endpoint(params["api_endpoint"])
        document["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": params["node_address"], "bindPort": port},
            "certificateKey": params["certificate_key"],
        }
        if params["schedulable"]:
            document["nodeRegistration"]["taints"] = []
    return document


def server_of(kubeconfig: str) -> str:
    """Return host:port of the API server a kubeconfig names."""
    found = re.search(r"^\s*server:\s*https://(\S+)", kubeconfig, re.MULTILINE)
    return found[1] if found else "(unknown)"


class Worker:
    """This host as a node of the cluster."""

    def __init__(self, params: dict[str, Any], changes: Changes) -> None:
        """Remember the parameters of the module."""
        self.params = params
        self.changes = changes
        self.kubectl = Kubectl(kubeadm.KUBELET_CONF)
        self.trouble = ""

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
        self.refuse_other_cluster(server_of(kubelet_conf))
        if self.node_exists():
            return True
        # The kubelet makes its Node object when it starts, and only then.
        self.changes.act("kubelet", self.restart_kubelet, before="no Node object\n", after="restarted\n")
        return True

    def refuse_other_cluster(self, server: str) -> None:
        """Raise an error when the API this host belongs to is not the one it is to belong to."""
        if server != self.params["api_endpoint"]:
            raise KubeadmError(
                f"This host is a node of the cluster at {server}, not of the one at {self.params['api_endpoint']}. "
                "It is left alone. If it is not needed there: `kubectl delete node` there, `kubeadm reset` here."
            )

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
        patch = kubeadm.kubelet_patch(self.params, kubeadm.version())
        self.changes.file(
            f"{kubeadm.PATCHES}/kubeletconfiguration0+merge.json", json.dumps(patch, sort_keys=True) + "\n"
        )
        if self.has_remains():
            self.changes.act(
                "remains of an unfinished kubeadm join",
                lambda: kubeadm.reset(self.params["cri_socket"]),
                before="present\n",
                after="",
            )
        self.changes.act("kubeadm join", self._join)

    def has_remains(self) -> bool:
        """Tell whether an earlier kubeadm run left something."""
        return any(Path(path).exists() for path in REMAINS)

    def _join(self) -> None:
        with SecretFile(kubeadm.as_documents([discovery(self.params)])) as kubeconfig:
            documents = kubeadm.as_documents([configuration(self.params, kubeconfig)])
            with SecretFile(documents) as path:
                kubeadm.validate(path)
                done = kubeadm.run("kubeadm", "join", "--config", path)
        if done.returncode != 0:
            raise kubeadm.failure("kubeadm join", done, self.params["cri_socket"])


class FurtherControlPlane(Worker):
    """This host as a control plane of a cluster that another host has made."""

    def __init__(self, params: dict[str, Any], changes: Changes) -> None:
        """Remember the parameters of the module."""
        super().__init__(params, changes)
        self.local = LocalControlPlane(params, changes, control_plane.local_api(params))

    def joined(self) -> bool:
        """Tell whether this host is a working control plane of the cluster at the endpoint.

        Raises:
            KubeadmError: when it belongs to another cluster, or is a worker.
        """
        if not control_plane.was_completed():
            return False
        admin = read_text(ADMIN_KUBECONFIG)
        if admin is None and not control_plane.manifests():
            raise KubeadmError(
                "This host is a worker of a cluster already. Take it out of that cluster first "
                "(kubectl delete node, then kubeadm reset on the host), or list it under workers."
            )
        if admin is None or not control_plane.has_all_manifests():
            return False
        self.refuse_other_cluster(server_of(admin))
        works = self.local.kubectl.ready() and self.local.node() is not None
        # Whoever brings a token has tried before to bring it back.
        if not works and (self.params["token"] is not None or not self.comes_back()):
            return False
        if not self.changes.module.check_mode or self.local.node():
            self.local.converge_marks()
        return True

    def comes_back(self) -> bool:
        """Restart the kubelet, and tell whether that brought the API server of this host back."""
        try:
            self.changes.act("kubelet", self.local.restart_kubelet, before="API does not answer\n", after="restarted\n")
        except KubeadmError as error:
            self.trouble = str(error)
        return not self.trouble

    def has_remains(self) -> bool:
        """Tell whether an earlier kubeadm run left something."""
        return super().has_remains() or bool(control_plane.manifests())

    def _join(self) -> None:
        super()._join()
        if not self.local.wait(self.params["timeout"]):
            raise KubeadmError(
                "kubeadm join ended well, but the API server of this host does not say that it is ready after "
                f"{self.params['timeout']} s."
            )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node_name": {"type": "str", "default": ""},
            "node_address": {"type": "str", "default": ""},
            "api_endpoint": {"type": "str", "required": True},
            "container_runtime": {"type": "str", "default": "docker", "choices": ["docker", "containerd"]},
            "cri_socket": {"type": "str", "required": True},
            "resolver": {"type": "str", "default": "/etc/resolv.conf"},
            "cgroup_version": {"type": "int", "default": 2, "choices": [1, 2]},
            "swap_stays_on": {"type": "bool", "default": False},
            "control_plane": {"type": "bool", "default": False},
            "schedulable": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
            "patience": {"type": "float", "default": 1.0},
            "token": {"type": "str", "no_log": True},
            "ca_certificate": {"type": "str"},
            "certificate_key": {"type": "str", "no_log": True},
        },
        required_together=[("token", "ca_certificate")],
        supports_check_mode=True,
    )
    params = module.params
    params["node_name"] = params["node_name"] or kubeadm.default_name()
    params["node_address"] = params["node_address"] or kubeadm.default_address()
    changes = Changes(module)
    try:
        node = (FurtherControlPlane if params["control_plane"] else Worker)(params, changes)
        with kubeadm.alone(kubeadm.OTHER_RUN_SECONDS):
            joined = node.joined()
            if not joined and params["token"] is not None:
                node.join()
                joined = True
    except (KubeadmError, KubectlError) as error:
        module.fail_json(msg=str(error), said=getattr(error, "said", ""))
    changes.exit(joined=joined, trouble=node.trouble)


if __name__ == "__main__":
    main()
