#!/usr/bin/python
"""Ansible module app_rollout."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_rollout
short_description: Wait until an app runs, or say why it does not
description:
  - Restarts workloads whose local image was replaced under the same name, waits until every workload is rolled out and
    every Service has something that listens, and gives up early when the cause is certain.
version_added: 0.1.0
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
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Wait until the app runs
  kubestrap.cluster.app_rollout:
    objects: "{{ manifests.objects }}"
"""

RETURN = r"""
app:
  description: C(ok), C(cause), C(evidence), C(urls), C(namespace), C(note) and C(state).
  returned: always, but when there is nothing to look at
  type: dict
"""

import json
import re
import time
from functools import partial
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_causes import CauseError, examine
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_view import (
    JOB,
    WORKLOADS,
    AppView,
    name_of,
    wanted,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    Kubectl,
    KubectlError,
    address_of,
    is_ours,
    is_ready,
    rolled_out,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.patience import HINT
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute

# How long an API may not answer before that is the verdict: one that is started anew is back before.
SILENCE_SECONDS = 60


def stale(pods: list[dict[str, Any]], local_images: dict[str, str]) -> list[str]:
    """Return the images that pods run in another version than this host has under the same name.

    Args:
        pods: Pods of one workload.
        local_images: ID by name of the images that came from no registry.
    """
    found = set()
    for pod in pods:
        names = {container["name"]: container["image"] for container in _containers(pod["spec"])}
        statuses = pod.get("status", {})
        for status in [*(statuses.get("initContainerStatuses") or []), *(statuses.get("containerStatuses") or [])]:
            image = names.get(status["name"], "")
            running = status.get("imageID", "")
            if image in local_images and running and not running.endswith(local_images[image]):
                found.add(image)
    return sorted(found)


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(spec.get("initContainers") or []), *spec["containers"]]


def local_images(module: AnsibleModule, names: set[str]) -> dict[str, str]:
    """Return the IDs of those images on this host that came from no registry: only these can change unseen."""
    found = {}
    for name in sorted(names):
        code, stdout, _ = execute(module, ["crictl", "inspecti", "--output", "json", name])
        if code == 0:
            status = json.loads(stdout)["status"]
            if not status.get("repoDigests"):
                found[name] = status["id"].split(":")[-1]
    return found


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


def wait(app: AppView, timeout: int) -> None:
    """Return when everything runs.

    Args:
        app: The app.
        timeout: Seconds.

    Raises:
        CauseError: when it does not and will not, or the time is over.
        KubectlError: when the cluster has not answered for SILENCE_SECONDS, or at the end of the time.
    """
    started = time.monotonic()
    progress: list[Any] = []
    since: Optional[float] = None
    silent: Optional[float] = None
    said: set[str] = set()
    while True:
        cause = None
        try:
            workloads = app.of_kind(*WORKLOADS)
            if examine(app, workloads):
                return
        except CauseError as error:
            cause = error
        except KubectlError:
            # A look that failed says nothing of the app.
            now = time.monotonic()
            silent = now if silent is None else silent
            if now - silent >= SILENCE_SECONDS or now - started >= timeout:
                raise
            time.sleep(0.5)
            continue
        silent = None
        # What an init container that works says is progress, too; one that waits says nothing it has not said before.
        said |= {re.sub(r"\d+", "", line) for line in cause.evidence} if cause else set()
        before, progress = progress, [*map(ready_and_new, workloads), len(said)]
        now = time.monotonic()
        if progress != before:
            since = None
        if cause:
            since = now if since is None else since
            if now - since >= cause.patience:
                raise cause
        if now - started >= timeout:
            too_long = f"The app was not rolled out within {timeout} s: {unfinished(workloads)}."
            raise cause or CauseError(f"{too_long} {HINT}")
        time.sleep(0.5)


def ready_and_new(workload: dict[str, Any]) -> tuple[int, int]:
    """Return how many replicas of a workload are ready, and how many run the newest version."""
    status = workload.get("status") or {}
    if workload["kind"] == "DaemonSet":
        return status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)
    return status.get("readyReplicas", 0), status.get("updatedReplicas", 0)


def unfinished(workloads: list[dict[str, Any]]) -> str:
    """Return how far the workloads are that are not rolled out."""
    told = []
    for workload in workloads:
        if not rolled_out(workload):
            ready, new = ready_and_new(workload)
            told.append(f"{name_of(workload)} has {ready} ready and {new} new of {wanted(workload)} replicas")
    return "; ".join(told) or "its Jobs are not complete, or its Services lead nowhere"


def still_serving(app: AppView) -> list[str]:
    """Return a line for each workload of which an earlier version still serves."""
    lines = []
    for workload in app.of_kind(*WORKLOADS):
        if not rolled_out(workload):
            new = sum(is_ready(pod) for pod in app.pods(workload, newest=True))
            old = sum(is_ready(pod) for pod in app.pods(workload)) - new
            if old > 0:
                lines.append(
                    f"The version before still serves: {name_of(workload)}, {old} of {wanted(workload)} replicas."
                )
    return lines


def look(kubectl: Kubectl, verdict: dict[str, Any]) -> dict[str, Any]:
    """Return the verdict on what we once applied to a namespace, as it is now; empty when there is nothing of ours."""
    kinds = ",".join([*(kind.lower() for kind in (*WORKLOADS, JOB)), "service", "ingress", "networkpolicy"])
    try:
        found = kubectl.items(f"--namespace={verdict['namespace']}", "get", kinds, "--show-managed-fields")
        objects = [obj for obj in found if is_ours(obj)]
        if not objects:
            return {}
        app = AppView(kubectl, objects, verdict["namespace"])
        verdict["urls"] = urls(app.of_kind("Service"), app.nodes())
        wait(app, 0)
    except CauseError as error:
        return {"app": {**verdict, "cause": error.cause, "evidence": error.evidence}}
    except KubectlError as error:
        return {"app": {**verdict, "cause": f"The cluster does not answer: {error}"}}
    return {"app": {**verdict, "ok": True, **remarks(app)}}


def remarks(app: AppView) -> dict[str, str]:
    """Return what to know of an app with which nothing is wrong: what in it has no effect, or that nothing runs."""
    runs = [*WORKLOADS, JOB, "CronJob", "Pod", "ReplicaSet", "Service"]
    state = "" if any(obj["kind"] in runs for obj in app.objects) else "applied; nothing in it runs"
    return {"state": state, "note": "; ".join(app.without_effect())}


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
    app = AppView(kubectl, params["objects"], params["namespace"], reaches_pods=on_node)
    try:
        for workload in app.of_kind(*WORKLOADS):
            containers = _containers(workload["spec"]["template"]["spec"])
            names = {container["image"] for container in containers}
            known = local_images(module, names) if on_node else {}
            replaced = stale(app.pods(workload), known) if known else []
            if replaced:
                what = f"{workload['kind']} {workload['metadata']['namespace']}/{workload['metadata']['name']}"
                changes.act(
                    what,
                    partial(app.restart, workload),
                    after=f"restarted: new {', '.join(replaced)}\n",
                )
        wait(app, params["timeout"])
        verdict["urls"] = urls(app.of_kind("Service"), app.nodes())
    except CauseError as error:
        serving = still_serving(app)
        verdict.update(cause=error.cause, evidence=[*error.evidence, *serving])
        if serving:
            verdict["urls"] = urls(app.of_kind("Service"), app.nodes())
        module.fail_json(msg="\n".join([verdict["cause"], *verdict["evidence"]]), app=verdict)
    except KubectlError as error:
        verdict.update(cause=f"The cluster did not answer while the app was rolled out: {error}")
        module.fail_json(msg=verdict["cause"], app=verdict)
    verdict.update(ok=True, **remarks(app))
    changes.exit(app=verdict)


if __name__ == "__main__":
    main()
