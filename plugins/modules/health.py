#!/usr/bin/python
"""Ansible module health."""

from __future__ import annotations

DOCUMENTATION = r"""
module: health
short_description: Prove that the cluster works, from a control plane
description:
  - With O(step=look), tells what nodes there are, which of them the inventory does not have, and which tags of images
    do not mean one image in all pods. Changes nothing.
  - With O(step=start), waits until the nodes and the cluster's DNS are ready, starts a DaemonSet of the pause image
    that every node has anyway, and proves that C(kubectl exec) and C(kubectl logs) work on the nodes. The result is
    what M(kubestrap.cluster.pod_probe) needs on each host, and the fact C(kubestrap_addons), the add-ons seen.
  - With O(step=finish), removes the DaemonSet and gives the verdict over all O(problems); tells such tags, too.
  - Reports no change, because nothing is left behind, but for one thing. With several control planes, DNS whose pods
    are all on one node is spread over the nodes.
version_added: 0.1.0
author: kubestrap
options:
  step: {description: What to do., type: str, default: look, choices: [look, start, finish]}
  nodes:
    description: Names of the nodes that must be ready. No other gets a pod.
    type: list
    elements: str
    default: []
  image:
    description: Image of the pods. With O(step=start).
    type: str
    default: registry.k8s.io/pause:3.10.2
  dns_domain: {description: DNS domain inside the cluster., type: str, default: cluster.local}
  inventory:
    description: For each host of the inventory, the names and addresses it may have as a node. With O(step=look).
    type: list
    elements: list
    default: []
  problems: {description: What the hosts found., type: list, elements: str, default: []}
  timeout: {description: Seconds to wait for nodes and DNS., type: int, default: 300}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: none}
"""

EXAMPLES = r"""
- name: Look at the nodes
  kubestrap.cluster.health:
"""

RETURN = r"""
nodes:
  description: For each node, its name, whether it is ready, roles, version, runtime and address.
  returned: always
  type: list
  elements: dict
findings:
  description: Nodes that the inventory does not have, and tags under which nodes got different images, in the form of
    M(kubestrap.cluster.preflight).
  returned: with step=look; with step=finish, the tags
  type: list
  elements: dict
pods:
  description: The pods to probe from and to, each with node, uid and address.
  returned: with step=start
  type: list
  elements: dict
dns:
  description: Where DNS is served and the name to ask for.
  returned: with step=start
  type: dict
"""

import concurrent.futures
import datetime as dt
import re
import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import images, kubeadm, living_cluster
from ansible_collections.kubestrap.cluster.plugins.module_utils.addons import addon_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, as_json
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    Kubectl,
    KubectlError,
    as_list,
    condition,
    describe_node,
    is_ready,
    last_warnings,
    pod_state,
    rolled_out,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.patience import HINT, Patience

NAMESPACE = "kube-system"
NAME = "kubestrap-check"
SIDE_BY_SIDE = 8
# The kubelet looks every ten seconds whether DNS is ready; its first look often comes too early.
PROBED_AGAIN = dt.timedelta(seconds=15)
# Seconds after which the cluster is asked what it complains about, and then between questions.
WHY_AFTER = 3
WHY_EVERY = 5
# Seconds; it is renewed every two, and another may take it after fifteen.
LEASE_IS_LOST = 40
# Namespaces for the label of add-ons only.
LOOKED_AT = "nodes,pods,deployments,services,namespaces"


class CheckError(Exception):
    """The cluster does not work. The text says where and why."""


def daemonset(image: str, nodes: list[str]) -> dict[str, Any]:
    """Return the DaemonSet that puts one idle pod on each of the nodes (none named: on all), whatever their taints."""
    labels = {"app.kubernetes.io/name": NAME}
    container = {
        "name": "pause",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {
            "runAsUser": 65535,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    # A field selector takes one value; terms are alternatives.
    terms = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]} for node in nodes]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            # Pods that a run before left behind are as good as new ones.
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "affinity": {"nodeAffinity": required} if nodes else {},
                    "containers": [container],
                    "tolerations": [{"operator": "Exists"}],
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "terminationGracePeriodSeconds": 0,
                },
            },
        },
    }


class Check:
    """One proof of the cluster."""

    def __init__(self, kubectl: Kubectl, params: dict[str, Any]) -> None:
        """Remember the parameters of the module."""
        self.kubectl = kubectl
        self.params = params
        self.changed = False
        self.warnings: dict[str, str] = {}
        self.asks_why_at = WHY_AFTER

    def nodes(self) -> list[dict[str, Any]]:
        """Return what people want to know about each node."""
        return [describe_node(node) for node in self.kubectl.items("get", "nodes")]

    def left_out(self, nodes: list[dict[str, Any]]) -> list[Finding]:
        """Return findings about nodes that are no host of the inventory."""
        if not self.params["inventory"]:
            return []
        seen = [{**node, "control_plane": "control-plane" in node["roles"]} for node in nodes]
        return list(living_cluster.not_in_inventory(seen, (), self.params["inventory"]))

    def moved_tags(self) -> list[Finding]:
        """Return findings about tags under which nodes got different images; none when nobody can say."""
        try:
            pods = self.kubectl.items("get", "pods", "--all-namespaces", "--field-selector=status.phase=Running")
        except KubectlError:
            return []
        return list(images.moved(pods))

    def start(self) -> dict[str, Any]:
        """Start the pods, wait for everything, prove exec and logs."""
        pods = daemonset(self.params["image"], self.params["nodes"])
        self.kubectl.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=as_list([pods]))
        patience = Patience(self.params["timeout"])
        while True:
            objects = self.kubectl.items("--namespace", NAMESPACE, "get", LOOKED_AT)
            waiting = self.waits_for(objects)
            if not waiting and not self.changed and dns_is_crowded(objects):
                # Started when there was one node. Were that lost, there would be no DNS for minutes.
                self.kubectl.run("--namespace", NAMESPACE, "rollout", "restart", "deployment/coredns")
                self.changed = True
                continue
            if not waiting:
                break
            patience.see(waiting)
            if waiting and patience.elapsed() >= self.asks_why_at:
                self.asks_why_at = patience.elapsed() + WHY_EVERY
                self.warnings = last_warnings(self.kubectl, "--namespace", NAMESPACE)
                refusal = self.warnings.get(f"DaemonSet/{NAME}", "")
                if re.search("denied|forbidden", refusal):
                    raise CheckError(f"The cluster does not let a pod start that proves its nodes: {refusal}")
            if patience.over():
                summary = f"The cluster is not ready after {patience.elapsed()} s. {HINT}"
                raise CheckError("\n".join([summary, *waiting, *self.stuck_pods()]))
            time.sleep(0.3)
        pods = check_pods(objects)
        self.exec_and_logs(pods, objects)
        return {
            "nodes": [describe_node(obj) for obj in objects if obj["kind"] == "Node"],
            "ansible_facts": {"kubestrap_addons": sorted({addon_of(obj) for obj in objects} - {""})},
            "pods": [
                {"node": node, "uid": pod["metadata"]["uid"], "address": pod["status"]["podIP"]}
                for node, pod in sorted(pods.items())
                if node in self.params["nodes"]
            ],
            "dns": {
                "address": next(
                    o["spec"]["clusterIP"]
                    for o in objects
                    if o["kind"] == "Service" and o["metadata"]["name"] == "kube-dns"
                ),
                "name": f"kubernetes.default.svc.{self.params['dns_domain']}",
            },
        }

    def waits_for(self, objects: list[dict[str, Any]]) -> list[str]:
        """Return what is not ready yet, a line each."""
        lines = []
        nodes = {obj["metadata"]["name"]: obj for obj in objects if obj["kind"] == "Node"}
        pods = check_pods(objects)
        for name in self.params["nodes"]:
            node, pod = nodes.get(name), pods.get(name)
            if node is None:
                lines.append(f"  node {name}: the API does not know it")
            elif not is_ready(node):
                ready = condition(node, "Ready")
                message = ready.get("message", "the kubelet has not reported yet")
                lines.append(f"  node {name} is not ready: {in_words(message)}")
            elif pod is None or not is_ready(pod) or not pod["status"].get("podIP"):
                why = self.why(pod) if pod else self.warnings.get(f"DaemonSet/{NAME}", "")
                lines.append(f"  node {name}: a pod does not start: {pod_state(pod)}{why and f' ({why})'}")
        dns = next((o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == "coredns"), None)
        if dns is None:
            lines.append("  DNS: there is no Deployment coredns")
        elif self.changed and not rolled_out(dns):
            lines.append("  DNS is being spread over the nodes")
        elif dns["status"].get("readyReplicas", 0) < dns["spec"]["replicas"]:
            of_dns = dns_pods(objects)
            unready = [pod for pod in of_dns if not is_ready(pod)]
            states = [
                f"{pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {self.state(pod)}"
                for pod in unready
                if self.is_asked_for(pod)
            ]
            # What ran on a node that is lost is made elsewhere after minutes, and one that has just started is asked
            # again after ten seconds; meanwhile the others serve.
            excused = [pod for pod in unready if not self.is_asked_for(pod) or has_just_started(pod)]
            if len(of_dns) >= dns["spec"]["replicas"] and not unready:
                lines.append(
                    f"  DNS: its {len(of_dns)} pods are ready, but the cluster has not noticed{self.controllers()}"
                )
            elif len(unready) == len(of_dns) or not excused or len(excused) < len(unready):
                lines.append(f"  DNS is not ready: {'; '.join(states) or self.no_dns()}{self.dns_cause(states)}")
        return lines

    def why(self, obj: dict[str, Any]) -> str:
        """Return what the cluster complained about an object of its own, empty when it did not."""
        return self.warnings.get(f"{obj['kind']}/{obj['metadata']['name']}", "")

    def state(self, pod: dict[str, Any]) -> str:
        """Return what a pod waits for, with the kubelet's reason where it gave one."""
        why = self.why(pod)
        return f"{pod_state(pod)}{why and f' ({why})'}"

    def no_dns(self) -> str:
        """Return why DNS has no pod."""
        refused = [text for name, text in self.warnings.items() if name.startswith("ReplicaSet/coredns")]
        return refused[-1] if refused else f"no pod yet{self.controllers()}"

    def controllers(self) -> str:
        """Return that nobody makes and counts pods, empty when somebody does or that is not known."""
        try:
            lease = self.kubectl.items("--namespace", NAMESPACE, "get", "lease", "kube-controller-manager")[0]
            renewed = dt.datetime.strptime(lease["spec"]["renewTime"][:19] + "Z", "%Y-%m-%dT%H:%M:%S%z")
        except (KubectlError, LookupError, TypeError, ValueError):
            return ""
        age = (dt.datetime.now(dt.timezone.utc) - renewed).total_seconds()
        if age < LEASE_IS_LOST:
            return ""
        return (
            f". kube-controller-manager, which makes and counts pods, has said nothing for {age:.0f} s: it ended, or "
            "this machine is too slow for it"
        )

    def is_asked_for(self, pod: dict[str, Any]) -> bool:
        """Tell whether a pod has no node yet, or is on one of those that must be ready."""
        return pod["spec"].get("nodeName") in {None, *self.params["nodes"]}

    def stuck_pods(self) -> list[str]:
        """Return the pods of the cluster's own parts that do not start, a line each."""
        lines = []
        self.warnings = last_warnings(self.kubectl, "--all-namespaces")
        for pod in self.kubectl.items("get", "pods", "--all-namespaces", "--field-selector=status.phase!=Succeeded"):
            if pod["spec"].get("priorityClassName", "").startswith("system-") and not is_ready(pod):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                told = f"  pod {name} on {pod['spec'].get('nodeName', 'no node')}: {self.state(pod)}"
                lines.append(f"{told} {images.unserved(pod, self.why(pod))}".rstrip())
        return lines

    def dns_cause(self, states: list[str]) -> str:
        """Return why CoreDNS does not stay up, empty while that is not known."""
        if not any("CrashLoopBackOff" in state for state in states):
            return ""
        try:
            log = self.kubectl.run(
                "--namespace", NAMESPACE, "logs", "--selector=k8s-app=kube-dns", "--tail=5", "--prefix"
            )
        except KubectlError:
            return ""
        if "plugin/loop" in log:
            return (
                ". CoreDNS asks itself: the host's resolver is a loopback address. Name a real one in /etc/resolv.conf "
                "of the host"
            )
        return f". It says: {kubeadm.in_short(log, 2)}"

    def exec_and_logs(self, pods: dict[str, dict[str, Any]], objects: list[dict[str, Any]]) -> None:
        """Prove that commands run in pods of every node, and that logs of every node can be read.

        Raises:
            CheckError: naming the nodes where they do not.
        """
        proxies = {
            pod["spec"].get("nodeName"): pod["metadata"]["name"]
            for pod in objects
            if pod["kind"] == "Pod"
            and pod["metadata"].get("labels", {}).get("k8s-app") == "kube-proxy"
            and is_ready(pod)
        }
        tries = []
        for node in self.params["nodes"]:
            tries.append(("exec", node, ["exec", pods[node]["metadata"]["name"], "--", "/pause", "-v"]))
            if node in proxies:
                tries.append(("logs", node, ["logs", "--tail=1", proxies[node]]))
        with concurrent.futures.ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            failures = [problem for problem in pool.map(lambda one: self._try(*one), tries) if problem]
        if failures:
            raise CheckError("\n".join(failures))

    def _try(self, what: str, node: str, arguments: list[str]) -> Optional[str]:
        try:
            self.kubectl.run("--namespace", NAMESPACE, *arguments, timeout=30)
        except KubectlError as error:
            text = str(error)
            if "HTTP response to HTTPS client" in text:
                cause = (
                    f"The feature gate {kubeadm.EXEC_GATE} must be off in /var/lib/kubelet/config.yaml of {node} and "
                    "on the API server"
                )
            elif "10250" in text:
                cause = f"The control plane does not reach TCP port 10250 of {node}: open it"
            else:
                cause = "The API server, the kubelet and the container runtime do not understand each other"
            return f"`kubectl {what}` does not work on node {node}. {cause}.\n  {kubeadm.in_short(text, 2)}"
        return None

    def finish(self) -> None:
        """Remove the pods and give the verdict.

        Raises:
            CheckError: with all that the hosts found.
        """
        self.kubectl.run("--namespace", NAMESPACE, "delete", "daemonset", NAME, "--ignore-not-found", "--wait=false")
        if self.params["problems"]:
            raise CheckError("\n".join(self.params["problems"]))


def check_pods(objects: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return our pods that are not about to go, by node."""
    return {
        obj["spec"]["nodeName"]: obj
        for obj in objects
        if obj["kind"] == "Pod"
        and obj["metadata"].get("labels", {}).get("app.kubernetes.io/name") == NAME
        and "deletionTimestamp" not in obj["metadata"]
        and obj["spec"].get("nodeName")
    }


def dns_pods(objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the pods of the cluster's DNS."""
    return [
        obj
        for obj in objects
        if obj["kind"] == "Pod" and obj["metadata"].get("labels", {}).get("k8s-app") == "kube-dns"
    ]


def has_just_started(pod: dict[str, Any]) -> bool:
    """Tell whether a pod's containers run, for the first time and not for long."""
    containers = pod["status"].get("containerStatuses") or [{}]
    now = dt.datetime.now(dt.timezone.utc)
    return all(
        container.get("restartCount") == 0
        and "running" in container["state"]
        and now - dt.datetime.strptime(container["state"]["running"]["startedAt"], "%Y-%m-%dT%H:%M:%S%z") < PROBED_AGAIN
        for container in containers
    )


def dns_is_crowded(objects: list[dict[str, Any]]) -> bool:
    """Tell whether all DNS pods are on one node, in a cluster made to survive the loss of one."""
    nodes = [obj for obj in objects if obj["kind"] == "Node" and is_ready(obj) and not obj["spec"].get("unschedulable")]
    planes = [node for node in nodes if kubeadm.CONTROL_PLANE_ROLE in (node["metadata"].get("labels") or {})]
    pods = [pod for pod in dns_pods(objects) if "deletionTimestamp" not in pod["metadata"]]
    return len(planes) > 1 and len(pods) > 1 and len({pod["spec"].get("nodeName") for pod in pods}) == 1


def in_words(message: str) -> str:
    """Return what the kubelet says about itself, with what it means where that is known."""
    if "cni" in message.lower() and "NetworkReady=false" in message:
        return f"no pod network yet: does its pod run on the node? ({message})"
    if "Kubelet stopped posting node status" in message:
        return f"the host is down, or its kubelet is ({message})"
    return message


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "default": "look", "choices": ["look", "start", "finish"]},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "image": {"type": "str", "default": "registry.k8s.io/pause:3.10.2"},
            "dns_domain": {"type": "str", "default": "cluster.local"},
            "inventory": {"type": "list", "elements": "list", "default": []},
            "problems": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = module.params
    kubectl = Kubectl()
    check = Check(kubectl, params)
    if module.check_mode and (params["step"] != "look" or not kubectl.ready()):
        module.exit_json(changed=False, nodes=[], pods=[], dns={})
    if not kubectl.usable():
        module.fail_json(msg="There is no cluster: this host has no /etc/kubernetes/admin.conf.", nodes=[])
    result: dict[str, Any] = {}
    try:
        if params["step"] == "start":
            result = check.start()
        elif params["step"] == "finish":
            check.finish()
            result["findings"] = as_json(check.moved_tags())
        else:
            result["nodes"] = check.nodes()
            result["findings"] = as_json([*check.left_out(result["nodes"]), *check.moved_tags()])
    except (CheckError, KubectlError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=check.changed, **result)


if __name__ == "__main__":
    main()
