#!/usr/bin/python
"""Ansible module app_rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_rollout
short_description: Wait until an app runs, or say why it does not
description:
  - Restarts workloads whose local image was replaced under the same name, waits until every workload is rolled out and
    every Service has something that listens, and gives up early when the cause is certain.
author: kubestrap contributors
options:
  look:
    description:
      - Only tell how what was applied to O(namespace) does now, if anything was. Restarts nothing, waits for nothing,
        never fails because of the app.
    type: bool
    default: false
  objects:
    description: The app's objects, as they were applied. Not needed to look.
    type: list
    elements: dict
    default: []
  namespace:
    description: Namespace of objects that name none.
    type: str
    default: default
  timeout:
    description: Seconds to wait.
    type: int
    default: 300
  kubeconfig:
    description: Access to the cluster.
    type: path
    default: /etc/kubernetes/admin.conf
  on_node:
    description:
      - Whether this host is a node of the cluster. If not, its images are not the cluster's and it does not reach pods,
        so neither is looked at.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Wait until the app runs
  kubestrap.cluster.app_rollout:
    objects: "{{ manifests.objects }}"
"""

RETURN = r"""
app:
  description: C(ok), C(cause), C(evidence), C(urls) and C(namespace).
  returned: always, but when there is nothing to look at
  type: dict
"""

import json
import socket
import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    Kubectl,
    KubectlError,
    address_of,
    condition,
    is_ours,
    is_ready,
    rolled_out,
)

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
# What a container waits for that no waiting will cure.
CERTAIN = (
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
)
PULLING = ("ErrImagePull", "ImagePullBackOff")
# A pull or a placement may succeed a little later: a registry that starts, a node that becomes Ready.
PATIENCE_SECONDS = 30
# Kubernetes restarts a crashed container at once, then after 10 s, 20 s ...: by now it crashed with every chance.
CRASHES = 3
LOG_LINES = 15


class RolloutError(Exception):
    """Why the app does not run: the cause in one sentence, evidence below it."""

    def __init__(self, cause: str, evidence: Optional[list[str]] = None, *, certain: bool = True) -> None:
        """Say it; an uncertain cause may pass."""
        super().__init__(cause)
        self.cause = cause
        self.evidence = evidence or []
        self.certain = certain


class App:
    """The app's objects in the cluster."""

    def __init__(
        self, kubectl: Kubectl, objects: list[dict[str, Any]], namespace: str, *, reaches_pods: bool = True
    ) -> None:
        """Look at these objects; namespace is for those that name none."""
        self.kubectl = kubectl
        self.reaches_pods = reaches_pods
        self.objects = objects
        self.namespace = namespace

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        """Return the app's objects of these kinds as the API has them now."""
        found = []
        for obj in self.objects:
            if obj["kind"] in kinds:
                space = obj["metadata"].get("namespace", self.namespace)
                name = f"{obj['kind'].lower()}/{obj['metadata']['name']}"
                found.append(self.kubectl.json(f"--namespace={space}", "get", name))
        return found

    def pods(self, workload: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the pods of a workload that are not on their way out."""
        labels = workload["spec"]["selector"].get("matchLabels") or {}
        found = self._in_namespace(workload, "get", "pods", f"--selector={_labels(labels)}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def endpoints(self, service: dict[str, Any]) -> list[tuple[str, int]]:
        """Return the addresses and ports a Service leads to."""
        name = service["metadata"]["name"]
        slices = self._in_namespace(service, "get", "endpointslices", f"--selector=kubernetes.io/service-name={name}")
        return [
            (address, port["port"])
            for part in slices
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready")
            for address in endpoint["addresses"]
            for port in part.get("ports") or []
            if port.get("protocol", "TCP") == "TCP" and port.get("port")
        ]

    def events(self, pod: dict[str, Any], reason: str) -> list[str]:
        """Return the messages of a pod's events of one reason, newest last."""
        chosen = f"involvedObject.name={pod['metadata']['name']},reason={reason}"
        events = self._in_namespace(pod, "get", "events", f"--field-selector={chosen}")
        return [event.get("message", "") for event in events]

    def log(self, pod: dict[str, Any], container: str, *, previous: bool) -> list[str]:
        """Return the last lines a container wrote."""
        arguments = [f"--namespace={pod['metadata']['namespace']}", "logs", pod["metadata"]["name"]]
        arguments += [f"--container={container}", f"--tail={LOG_LINES}", *(["--previous"] if previous else [])]
        try:
            return self.kubectl.run(*arguments).splitlines()
        except KubectlError:
            return []

    def restart(self, workload: dict[str, Any]) -> None:
        """Replace the workload's pods, as many at a time as it allows."""
        name = f"{workload['kind'].lower()}/{workload['metadata']['name']}"
        self.kubectl.run(f"--namespace={workload['metadata']['namespace']}", "rollout", "restart", name)

    def _in_namespace(self, obj: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
        return self.kubectl.items(f"--namespace={obj['metadata']['namespace']}", *arguments)


def stale(pods: list[dict[str, Any]], local_images: dict[str, str]) -> list[str]:
    """Return the images that pods run in another version than this host has under the same name.

    Args:
        pods: Pods of one workload.
        local_images: ID by name of the images that came from no registry.
    """
    found = set()
    for pod in pods:
        names = {container["name"]: container["image"] for container in pod["spec"]["containers"]}
        for status in pod.get("status", {}).get("containerStatuses") or []:
            image = names.get(status["name"], "")
            running = status.get("imageID", "")
            if image in local_images and running and not running.endswith(local_images[image]):
                found.add(image)
    return sorted(found)


def local_images(module: AnsibleModule, names: set[str]) -> dict[str, str]:
    """Return the IDs of those images on this host that came from no registry: only these can change unseen."""
    found = {}
    for name in sorted(names):
        code, stdout, _ = module.run_command(["crictl", "inspecti", "--output", "json", name])
        if code == 0:
            status = json.loads(stdout)["status"]
            if not status.get("repoDigests"):
                found[name] = status["id"].split(":")[-1]
    return found


def examine(app: App, pod: dict[str, Any]) -> None:
    """Raise why a pod is not ready; return when it is, or only needs time.

    Raises:
        RolloutError: with the cause.
    """
    if is_ready(pod):
        return
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        message = scheduled.get("message", "")
        if "persistentvolumeclaim" in message.lower():
            raise RolloutError(f"Pod {name} waits for a volume that nobody provides.", [message], certain=False)
        raise RolloutError(f"No node can run pod {name}.", [message], certain=False)
    status = pod.get("status", {})
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        _examine_container(app, pod, node, container)
    for message in app.events(pod, "FailedMount")[-1:]:
        raise RolloutError(f"Pod {name} cannot mount its volumes.", [message], certain=False)
    for message in app.events(pod, "Unhealthy")[-1:]:
        raise RolloutError(f"Pod {name} runs, but its readiness check fails.", [message], certain=False)


def _examine_container(app: App, pod: dict[str, Any], node: str, container: dict[str, Any]) -> None:
    image = container["image"]
    waiting = container.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason == "ErrImageNeverPull":
        raise RolloutError(
            f"Image {image} is not on node {node}, and its imagePullPolicy is Never.",
            [message, f"Add it to cluster_app_images, or run: kubestrap image push {image}"],
        )
    if reason in PULLING:
        detail = message or reason
        told = "If no registry holds it, add it to cluster_app_images and give its container imagePullPolicy: Never."
        raise RolloutError(f"Image {image} cannot be pulled on node {node}.", [detail, told], certain=False)
    last = (container.get("lastState") or {}).get("terminated") or (container.get("state") or {}).get("terminated")
    if last and last.get("exitCode", 0) != 0 and container.get("restartCount", 0) + 1 >= CRASHES:
        lines = app.log(pod, container["name"], previous="terminated" not in container.get("state", {}))
        why = f"{last.get('reason', 'Error')}, exit code {last['exitCode']}"
        raise RolloutError(f"Container {container['name']} of pod {pod['metadata']['name']} crashes ({why}).", lines)
    if reason in CERTAIN:
        raise RolloutError(
            f"Container {container['name']} of pod {pod['metadata']['name']} cannot start: {reason}.", [message]
        )


def examine_service(app: App, service: dict[str, Any], labels: list[dict[str, str]]) -> None:
    """Raise why a Service leads nowhere.

    Args:
        app: The app.
        service: The Service as the API has it.
        labels: Labels of the app's pods.

    Raises:
        RolloutError: with the cause.
    """
    name, selector = service["metadata"]["name"], service["spec"].get("selector")
    if not selector:
        return
    if not any(selector.items() <= found.items() for found in labels):
        have = "; ".join(sorted({_labels(found) for found in labels})) or "none"
        raise RolloutError(
            f"Service {name} has no endpoints: its selector {_labels(selector)} matches no pod.",
            [f"Labels of the app's pods: {have}"],
        )
    endpoints = app.endpoints(service)
    if not endpoints:
        ports = ", ".join(str(port.get("targetPort")) for port in service["spec"]["ports"])
        raise RolloutError(f"Service {name} has no endpoints: no ready pod has its targetPort {ports}.", certain=False)
    if not app.reaches_pods:
        return
    refused = [f"{address}:{port}" for address, port in endpoints if not listens(address, port)]
    if len(refused) == len(endpoints):
        ports = sorted({port for _, port in endpoints})
        raise RolloutError(
            f"Nothing listens on port {', '.join(map(str, ports))} in the pods behind Service {name}.",
            [
                f"Connection refused: {', '.join(refused)}",
                "Correct targetPort of the Service to the port the app listens on.",
            ],
            certain=False,
        )


def listens(address: str, port: int) -> bool:
    """Tell whether something takes a TCP connection there within 3 s."""
    try:
        with socket.create_connection((address, port), timeout=3):
            return True
    except OSError:
        return False


def urls(services: list[dict[str, Any]], nodes: list[dict[str, Any]]) -> list[str]:
    """Return where the Services answer from outside: the load balancer's address, else every node's."""
    found = []
    for service in services:
        kind = service["spec"].get("type", "ClusterIP")
        if kind not in ("LoadBalancer", "NodePort"):
            continue
        for port in service["spec"]["ports"]:
            if port.get("protocol", "TCP") != "TCP":
                continue
            scheme = "https" if port["port"] == 443 or port.get("name", "").startswith("https") else "http"  # noqa: PLR2004
            balancers = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
            if kind == "LoadBalancer" and balancers:
                standard = {"http": 80, "https": 443}[scheme]
                suffix = "" if port["port"] == standard else f":{port['port']}"
                found += [f"{scheme}://{entry.get('ip') or entry['hostname']}{suffix}" for entry in balancers]
            elif port.get("nodePort"):
                found += [f"{scheme}://{address_of(node)}:{port['nodePort']}" for node in nodes if is_ready(node)]
    return found


def wait(app: App, timeout: int) -> None:
    """Return when everything runs.

    Args:
        app: The app.
        timeout: Seconds.

    Raises:
        RolloutError: when it does not and will not, or the time is over.
    """
    started = time.monotonic()
    while True:
        waited = time.monotonic() - started
        try:
            if _runs(app):
                return
            error = RolloutError(f"The app was not rolled out within {timeout} s.")
        except RolloutError as found:
            error = found
            # A slow start and a failing readiness check look the same until the time is over.
            patience = timeout if "readiness" in error.cause else min(PATIENCE_SECONDS, timeout)
            if error.certain or waited > patience:
                raise
        if waited > timeout:
            raise error
        time.sleep(0.5)


def _runs(app: App) -> bool:
    workloads = app.of_kind(*WORKLOADS)
    waiting = [workload for workload in workloads if not rolled_out(workload)]
    for workload in waiting:
        for pod in app.pods(workload):
            examine(app, pod)
    if waiting:
        return False
    services = app.of_kind("Service")
    labels = (
        [pod["metadata"].get("labels") or {} for workload in workloads for pod in app.pods(workload)]
        if services
        else []
    )
    for service in services:
        examine_service(app, service, labels)
    return True


def _labels(labels: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def look(kubectl: Kubectl, verdict: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict on what we once applied to a namespace, as it is now; empty when there is nothing of ours."""
    kinds = ",".join([*(kind.lower() for kind in WORKLOADS), "service"])
    try:
        found = kubectl.items(f"--namespace={verdict['namespace']}", "get", kinds, "--show-managed-fields")
        objects = [obj for obj in found if is_ours(obj)]
        if not objects:
            return {}
        app = App(kubectl, objects, verdict["namespace"])
        verdict["urls"] = urls(app.of_kind("Service"), kubectl.items("get", "nodes"))
        wait(app, 0)
    except RolloutError as error:
        return {"app": {**verdict, "cause": error.cause, "evidence": [line for line in error.evidence if line]}}
    except KubectlError as error:
        return {"app": {**verdict, "cause": f"The cluster does not answer: {error}"}}
    return {"app": {**verdict, "ok": True}}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "look": {"type": "bool", "default": False},
            "objects": {"type": "list", "elements": "dict", "default": []},
            "namespace": {"type": "str", "default": "default"},
            "timeout": {"type": "int", "default": 300},
            "kubeconfig": {"type": "path", "default": ADMIN_KUBECONFIG},
            "on_node": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    changes = Changes(module)
    kubectl = Kubectl(params["kubeconfig"])
    verdict = {"ok": False, "cause": "", "evidence": [], "urls": [], "namespace": params["namespace"]}
    if params["look"]:
        module.exit_json(changed=False, **look(kubectl, verdict))
    if module.check_mode:
        changes.exit(app=verdict)
    on_node: bool = params["on_node"]
    app = App(kubectl, params["objects"], params["namespace"], reaches_pods=on_node)
    try:
        for workload in app.of_kind(*WORKLOADS):
            containers = workload["spec"]["template"]["spec"]["containers"]
            names = {container["image"] for container in containers}
            known = local_images(module, names) if on_node else {}
            replaced = stale(app.pods(workload), known) if known else []
            if replaced:
                what = f"{workload['kind']} {workload['metadata']['namespace']}/{workload['metadata']['name']}"
                changes.act(
                    what,
                    lambda workload=workload: app.restart(workload),
                    after=f"restarted: new {', '.join(replaced)}\n",
                )
        wait(app, params["timeout"])
        verdict["urls"] = urls(app.of_kind("Service"), kubectl.items("get", "nodes"))
    except RolloutError as error:
        verdict.update(cause=error.cause, evidence=[line for line in error.evidence if line])
        module.fail_json(msg="\n".join([verdict["cause"], *verdict["evidence"]]), app=verdict)
    except KubectlError as error:
        verdict.update(cause=f"The cluster did not answer while the app was rolled out: {error}")
        module.fail_json(msg=verdict["cause"], app=verdict)
    verdict["ok"] = True
    changes.exit(app=verdict)


if __name__ == "__main__":
    main()
