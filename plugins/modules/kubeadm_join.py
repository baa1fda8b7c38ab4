#!/usr/bin/python
"""Ansible module kubeadm_join."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_join
short_description: Make this host a worker or a further control plane of the cluster
description:
  - Without O(token), looks whether this host is a worker of the cluster at O(api_endpoint), or with O(control_plane) a
    control plane of it, and tells.
  - With O(token), joins a host that is none. A join that was cut is cleaned up first, when a mark that this module
    wrote before it, and that goes with its last phase, proves that it is one. Everything else on the host is left
    alone, with an error.
  - A control plane is one when its own API server is ready. One that still starts is waited for; where the kubelet does
    not run it is started. What that did not help is an error, and nothing is removed.
version_added: 0.1.0
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
  move_aside:
    description: What may be moved aside on this host, by the name that the refusal to touch it gave. Empty means
      nothing.
    type: str
    default: ""
  cluster_ca:
    description: With O(control_plane), SHA-256 of the file with the cluster's CA on another one. Empty when nobody
      knows it.
    type: str
    default: ""
  token: {description: Bootstrap token., type: str}
  ca_certificate: {description: "The CA by which the host knows the cluster, PEM.", type: str}
  certificate_key:
    description: With O(control_plane), the key of the certificates that wait for it in the cluster.
    type: str
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
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
unfinished:
  description: Whether a mark proves that what is on the host is a join that was cut, which O(token) finishes.
  returned: always
  type: bool
trouble:
  description: Why a control plane whose join was cut does not work, although it has all of one. Else empty.
  returned: always
  type: str
authorities:
  description: Fingerprints of the CAs that the files of the host name.
  returned: always
  type: list
  elements: str
"""

import base64
import hashlib
import json
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    control_plane,
    kubeadm,
    traces,
    unfinished,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.control_plane import (
    LeftAloneError,
    LocalControlPlane,
    find_state,
    is_here,
    settle,
    stranger,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import (
    COULD_NOT_LOOK,
    DOES_NOT,
    HOLDS,
    NOT_YET,
    Judgement,
    UndecidedError,
    watch,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError, SecretFile
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    Kubectl,
    KubectlError,
    address_of,
    is_ready,
    server_of,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import default_address
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import ARGUMENT as RUNTIME
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import KUBEADM_API

NODE_APPEARS_WITHIN = 60
# A Node counts as Ready for 50 s after its kubelet was heard last.
NODE_STALE_WITHIN = 90


# What preflight says of a host that has none.
NO_CA = hashlib.sha256(b"").hexdigest()


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
        "apiVersion": KUBEADM_API,
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


class Worker:
    """This host as a node of the cluster."""

    def __init__(self, params: dict[str, Any], changes: Changes) -> None:
        """Remember the parameters of the module."""
        self.params = params
        self.changes = changes
        self.kubectl = Kubectl(kubeadm.KUBELET_CONF)
        self.unfinished = False
        self.trouble = ""

    def joined(self) -> bool:
        """Tell whether this host is a node of the cluster at the endpoint.

        Raises:
            KubeadmError: when it belongs to another cluster, holds something that is not ours, or the API does not
                answer.
        """
        self.refuse_other_authority()
        state = settle(self.state, self.changes, self.params)
        if state in ("absent", "half"):
            return False
        if state == "silent":
            # The kubelet makes its Node object when it starts, and only then.
            self.changes.act("kubelet", self.restart_kubelet, before="no Node object\n", after="restarted\n")
        self.forget_mark()
        return True

    def state(self) -> str:
        """Return `absent`, `half` (proved to be a join that was cut), `joined`, or `silent`: joined, without a Node.

        Raises:
            KubeadmError: when they are something else.
        """
        found, proof = traces.look(), traces.ours(self.params)
        if found.only_a_worker:
            self.refuse_other_cluster(server_of(read_text(kubeadm.KUBELET_CONF) or ""))
            return "joined" if self.node_exists() else "silent"
        if found.bare and not found.authority:
            return "absent"
        self.unfinished = proof.decided()
        if self.unfinished:
            return "half"
        if found.whole:
            raise KubeadmError(
                "This host is a control plane already and cannot be a worker. List it under control_plane."
            )
        raise LeftAloneError(traces.why_left_alone(found, proof.why, self.params))

    def forget_mark(self) -> None:
        """Remove the mark of a join that has come to its end without us."""
        if unfinished.read() is not None:
            self.changes.act("mark of an unfinished kubeadm join", unfinished.remove, before="present\n", after="")

    def refuse_other_authority(self) -> None:
        """Raise an error when a file of this host names another CA than the cluster's."""
        named = traces.of_another_cluster(traces.fingerprints(self.params["ca_certificate"] or ""))
        if named:
            self.refuse_authority(named)

    def refuse_authority(self, named: str) -> None:
        """Raise an error because a file of this host names another CA than the cluster's."""
        raise KubeadmError(
            f"This host has something of another cluster: {named} names another CA than that of the cluster at "
            f"{self.params['api_endpoint']}. It is left alone: {traces.look().describe()}."
        )

    def refuse_other_cluster(self, server: str) -> None:
        """Raise an error when the API this host belongs to is not the one it is to belong to."""
        if server != self.params["api_endpoint"]:
            raise KubeadmError(
                f"This host is a node of the cluster at {server or '(unknown)'}, not of the one at "
                f"{self.params['api_endpoint']}. It is left alone. Correct cluster_api_endpoint, or take the host out "
                "of the inventory."
            )

    def node_exists(self) -> bool:
        """Tell whether the API has the Node object of this host.

        Raises:
            KubeadmError: when the Node of that name is another host, or the API does not say.
        """
        try:
            nodes = self.kubectl.items("get", "node", self.params["node_name"], "--ignore-not-found")
        except KubectlError as error:
            text = str(error)
            if re.search(r"unknown authority|Unauthorized|must be logged in", text):
                raise LeftAloneError(
                    f"What answers at {self.params['api_endpoint']} is not the cluster this host belongs to: the "
                    "host's certificates are of another one. It is left alone. If that cluster is gone and nobody "
                    f"needs what is here: set cluster_move_aside of this host to {traces.identity()}, and the next run "
                    f"moves it to /{traces.ASIDE}/ and joins. Nothing is deleted.\n  {text}"
                ) from None
            raise KubeadmError(
                f"This host has joined, but the API at {self.params['api_endpoint']} does not answer it.\n  {text}"
            ) from None
        reason = stranger(nodes, self.params["node_name"], self.params["node_address"])
        if reason and not is_here(address_of(nodes[0])):
            raise KubeadmError(reason)
        return bool(nodes)

    def restart_kubelet(self) -> None:
        """Start the kubelet anew and wait for its Node object."""
        kubeadm.run("systemctl", "restart", "kubelet", timeout=120)
        deadline = time.monotonic() + NODE_APPEARS_WITHIN
        while not self.node_exists():
            if time.monotonic() > deadline:
                raise KubeadmError(
                    f"The kubelet does not register node {self.params['node_name']}: {kubeadm.kubelet_error()}"
                )
            time.sleep(0.5)

    def join(self) -> None:
        """Join the cluster; what an earlier, cut join left is removed first."""
        self.refuse_other_authority()
        patch = kubeadm.kubelet_patch(self.params, kubeadm.version())
        self.changes.file(
            f"{kubeadm.PATCHES}/kubeletconfiguration0+merge.json", json.dumps(patch, sort_keys=True) + "\n"
        )
        if self.unfinished:
            self.changes.act(
                "remains of an unfinished kubeadm join",
                lambda: traces.reset(self.params),
                before="present\n",
                after="",
            )
        elif traces.stale_pod_network():
            self.changes.act("network of earlier pods", traces.clear_pod_network, before="present\n", after="")
        self.changes.act("kubeadm join", self._join)

    def _join(self) -> None:
        known = discovery(self.params)
        with SecretFile(json.dumps(with_token(known, self.params["token"]))) as path:
            self.refuse_taken_name(Kubectl(path))
        with SecretFile(kubeadm.as_documents([known])) as kubeconfig:
            documents = kubeadm.as_documents([configuration(self.params, kubeconfig)])
            with SecretFile(documents) as path:
                kubeadm.validate(path)
                traces.mark("join", self.params)
                done = unfinished.run(
                    "kubeadm", "join", "--config", path, timeout=kubeadm.most_seconds(self.params["patience"])
                )
        if done.returncode != 0:
            raise kubeadm.failure("kubeadm join", done, self.params["cri_socket"])
        unfinished.remove()

    def refuse_taken_name(self, kubectl: Kubectl) -> None:
        """Raise an error when the cluster has a node of this name that is another host, or that still works."""
        name = self.params["node_name"]

        def gone() -> Judgement:
            try:
                nodes = kubectl.items("get", "node", name, "--ignore-not-found")
            except KubectlError as error:
                return Judgement(COULD_NOT_LOOK, f"The cluster does not say whether it has a node {name}: {error}")
            reason = stranger(nodes, name, self.params["node_address"])
            if reason:
                return Judgement(COULD_NOT_LOOK, reason)
            if nodes and is_ready(nodes[0]):
                return Judgement(NOT_YET)
            return Judgement(HOLDS)

        found = watch(gone, NODE_STALE_WITHIN)
        if found.answer == NOT_YET:
            found = Judgement(
                DOES_NOT,
                f"The cluster has a node {name} at the address of this host, and hears from its kubelet: it is Ready. "
                "Yet nothing of a node is on this host. Which host has that name and address?",
            )
        if found.answer != HOLDS:
            raise KubeadmError(found.why)


class FurtherControlPlane(Worker):
    """This host as a control plane of a cluster that another host has made."""

    def __init__(self, params: dict[str, Any], changes: Changes) -> None:
        """Remember the parameters of the module."""
        super().__init__(params, changes)
        self.local = LocalControlPlane(params, changes, control_plane.local_api(params))

    def joined(self) -> bool:
        """Tell whether this host is a working control plane of the cluster at the endpoint.

        Raises:
            KubeadmError: when it belongs to another cluster, is a worker, holds something that is not ours, or does not
                work; nothing of it is removed then.
        """
        text, known = traces.look().authority, self.params["cluster_ca"]
        if text and known not in ("", NO_CA, hashlib.sha256(text.encode()).hexdigest()):
            self.refuse_authority(f"/{traces.PKI}/ca.crt")
        self.refuse_other_authority()
        state = settle(
            lambda: find_state(self.local, authority=self.params["ca_certificate"] or ""), self.changes, self.params
        )
        self.unfinished = state == "half"
        if state in ("absent", "half"):
            return False
        self.refuse_other_cluster(server_of(read_text(ADMIN_KUBECONFIG) or ""))
        if state == "down" and not self.comes_back():
            return False
        self.forget_mark()
        if not self.changes.module.check_mode or state != "down":
            self.local.converge_marks()
        return True

    def comes_back(self) -> bool:
        """Tell whether the API server of this host comes back; when not, and its join was cut, that is its trouble.

        Raises:
            KubeadmError: why it does not, when nothing proves that its join was cut.
        """
        marked = unfinished.read() is not None and traces.ours(self.params).decided()
        # Whoever brings a token has tried before to bring it back.
        if not (marked and self.params["token"] is not None):
            try:
                self.local.revive()
            except KubeadmError as error:
                if not marked:
                    raise
                self.trouble = str(error)
            else:
                return True
        self.unfinished = True
        return False

    def _join(self) -> None:
        super()._join()
        found = self.local.wait(self.params["timeout"])
        if found.answer != HOLDS:
            raise KubeadmError(
                f"kubeadm join ended well, but after {self.params['timeout']} s the API server of this host is not "
                f"ready: {found.why}."
            )


def with_token(kubeconfig: dict[str, Any], token: str) -> dict[str, Any]:
    """Return a kubeconfig for asking the API with a bootstrap token, which may look at a node."""
    return {
        **kubeconfig,
        "users": [{"name": "token", "user": {"token": token}}],
        "contexts": [{"name": "token", "context": {"cluster": kubeconfig["clusters"][0]["name"], "user": "token"}}],
        "current-context": "token",
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node_name": {"type": "str", "default": ""},
            "node_address": {"type": "str", "default": ""},
            "api_endpoint": {"type": "str", "required": True},
            "container_runtime": RUNTIME,
            "cri_socket": {"type": "str", "required": True},
            "resolver": {"type": "str", "default": "/etc/resolv.conf"},
            "cgroup_version": {"type": "int", "default": 2, "choices": [1, 2]},
            "swap_stays_on": {"type": "bool", "default": False},
            "control_plane": {"type": "bool", "default": False},
            "schedulable": {"type": "bool", "default": False},
            "timeout": {"type": "int", "default": 120},
            "patience": {"type": "float", "default": 1.0},
            "move_aside": {"type": "str", "default": ""},
            "cluster_ca": {"type": "str", "default": ""},
            "token": {"type": "str", "no_log": True},
            "ca_certificate": {"type": "str"},
            "certificate_key": {"type": "str", "no_log": True},
        },
        required_together=[("token", "ca_certificate")],
        supports_check_mode=True,
    )
    params = module.params
    params["node_name"] = params["node_name"] or kubeadm.default_name()
    params["node_address"] = params["node_address"] or default_address()
    changes = Changes(module)
    try:
        node = (FurtherControlPlane if params["control_plane"] else Worker)(params, changes)
        with kubeadm.alone(kubeadm.OTHER_RUN_SECONDS):
            joined = node.joined()
            if not joined and params["token"] is not None:
                node.join()
                joined = True
    except (KubeadmError, KubectlError, UndecidedError) as error:
        module.fail_json(msg=str(error), said=getattr(error, "said", ""))
    named: set[str] = set().union(*traces.authorities().values())
    changes.exit(joined=joined, unfinished=node.unfinished, trouble=node.trouble, authorities=sorted(named))


if __name__ == "__main__":
    main()
