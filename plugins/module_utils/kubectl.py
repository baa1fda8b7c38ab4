"""The Kubernetes API as seen with kubectl on a host that has a kubeconfig.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import ended

ADMIN_KUBECONFIG = "/etc/kubernetes/admin.conf"
FIELD_MANAGER = "kubestrap"


class KubectlError(Exception):
    """kubectl ended with an error; the text is what it said."""


class Kubectl:
    """kubectl with one kubeconfig."""

    def __init__(self, kubeconfig: str = ADMIN_KUBECONFIG, *, server: str = "") -> None:
        """Use this kubeconfig for every call, whatever the environment says.

        Args:
            kubeconfig: Path of the file.
            server: Address of the API instead of the one in the file: with several control planes, a particular one.
        """
        self.kubeconfig = kubeconfig
        self.options = [f"--server={server}"] if server else []

    def usable(self) -> bool:
        """Tell whether there is a kubeconfig to talk to an API with."""
        return Path(self.kubeconfig).exists()

    def run(self, *arguments: str, stdin: Optional[str] = None, timeout: int = 60) -> str:
        """Return what kubectl prints.

        Args:
            arguments: After `kubectl --kubeconfig FILE`. No secrets: other users of the host see them.
            stdin: Text for kubectl to read.
            timeout: Seconds.

        Raises:
            KubectlError: with what kubectl said.
        """
        command = ["kubectl", "--kubeconfig", self.kubeconfig, *self.options, *arguments]
        try:
            done = ended(command, seconds=timeout, stdin=stdin or "", environment=environment())
        except FileNotFoundError:
            raise KubectlError("kubectl is not installed on this host") from None
        except subprocess.TimeoutExpired:
            raise KubectlError(f"kubectl {' '.join(arguments[:3])} did not end within {timeout} s") from None
        if done.returncode != 0:
            raise KubectlError(without_noise(done.stderr or done.stdout))
        return done.stdout

    def json(self, *arguments: str, stdin: Optional[str] = None) -> Any:
        """Return what kubectl prints with `-o json`, parsed; None when it prints nothing."""
        text = self.run(*arguments, "-o", "json", stdin=stdin)
        return json.loads(text) if text.strip() else None

    def items(self, *arguments: str, stdin: Optional[str] = None) -> list[dict[str, Any]]:
        """Return the objects of a list, or the one object, that kubectl prints."""
        found = self.json(*arguments, stdin=stdin)
        if found is None:
            return []
        return found["items"] if found.get("kind", "").endswith("List") and "items" in found else [found]

    def ready(self) -> bool:
        """Tell whether the API server says that it is ready."""
        if not self.usable():
            return False
        try:
            return self.run("get", "--raw", "/readyz", "--request-timeout=5s", timeout=15).strip() == "ok"
        except KubectlError:
            return False

    def apply(
        self, objects: list[dict[str, Any]], *, dry_run: bool = False, force: bool = False
    ) -> list[dict[str, Any]]:
        """Apply objects server-side as field manager kubestrap; return them as the API has them afterwards.

        Args:
            objects: The objects.
            dry_run: Only try.
            force: Take fields over from other managers; without, the API refuses where another value is theirs.
        """
        arguments = ["apply", "--server-side", f"--field-manager={FIELD_MANAGER}", "-f", "-"]
        if force:
            arguments.append("--force-conflicts")
        if dry_run:
            arguments.append("--dry-run=server")
        return self.items(*arguments, stdin=as_list(objects))


def is_ours(obj: dict[str, Any]) -> bool:
    """Tell whether an object, read with its managed fields, was applied by us."""
    return any(entry.get("manager") == FIELD_MANAGER for entry in obj["metadata"].get("managedFields") or [])


def as_list(objects: list[dict[str, Any]]) -> str:
    """Return a list of objects as text that kubectl reads.

    One document each: the fields of an object are judged by the API server, those in a List by kubectl, in other words.
    """
    return "\n".join(json.dumps(obj) for obj in objects)


def without_noise(text: str) -> str:
    """Return an error of kubectl without klog's lines, its prefixes and its hint to look away."""
    lines = [line for line in text.strip().splitlines() if not re.match(r"[EWI]\d{4} ", line)]
    said = "\n".join(line.removeprefix("Error from server: ") for line in lines)
    return re.sub(r'error: error validating "STDIN": error validating data: |; if you choose to ignore .*', "", said)


def condition(obj: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return a condition of an object's status, empty when it has none of that kind."""
    for item in obj.get("status", {}).get("conditions") or []:
        if item.get("type") == kind:
            return dict(item)
    return {}


def is_ready(obj: dict[str, Any]) -> bool:
    """Tell whether an object's Ready condition is true."""
    return condition(obj, "Ready").get("status") == "True"


def pod_state(pod: Optional[dict[str, Any]]) -> str:
    """Return in a few words what a pod waits for."""
    if pod is None:
        return "not scheduled yet"
    status = pod.get("status", {})
    for container in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"{waiting.get('reason', 'waiting')} {waiting.get('message', '')}".strip()
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        return str(scheduled.get("message", "unschedulable"))
    # Such as Evicted, with what the node is short of.
    return " ".join(filter(None, [status.get("phase", "unknown"), status.get("reason"), status.get("message")]))


def last_warnings(kubectl: Kubectl, *namespace: str) -> dict[str, str]:
    """Return what the cluster last complained about each object, by C(kind/name); empty when it cannot be asked.

    A kubelet and an admission policy say in events why a pod does not come; its status only says that it does not.
    """
    try:
        events = kubectl.items(*namespace, "get", "events", "--field-selector=type=Warning")
    except KubectlError:
        return {}
    events.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
    return {
        f"{event['involvedObject'].get('kind')}/{event['involvedObject'].get('name')}": " ".join(
            (event.get("message") or event.get("reason") or "").split()
        )[:400]
        for event in events
    }


def rolled_out(workload: dict[str, Any]) -> bool:
    """Tell whether every replica runs the newest version and no old one is left."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"]["generation"]:
        return False
    if workload["kind"] == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        return bool(wanted == status.get("updatedNumberScheduled", 0) == status.get("numberReady", 0))
    wanted = workload["spec"].get("replicas", 1)
    return bool(
        wanted == status.get("updatedReplicas", 0) == status.get("replicas", 0) == status.get("readyReplicas", 0)
    )


def environment() -> dict[str, str]:
    """Return the environment of kubectl.

    No proxy knows the way to the API; and what root prefers on the command line (kuberc), such as to be asked before
    something is deleted, is not for us.
    """
    return {**proxy.without(dict(os.environ)), "KUBERC": "off"}


def server_of(kubeconfig: str) -> str:
    """Return host:port of the API server in a kubeconfig; empty when it names none."""
    match = re.search(r"^\s*server:\s*[\"']?https?://([^\s\"'/]+)", kubeconfig, re.MULTILINE)
    if match is None:
        return ""
    return match[1] if re.search(r":\d+$", match[1]) else f"{match[1]}:443"


def address_of(node: dict[str, Any]) -> str:
    """Return the address of a node inside the cluster, empty while it has none."""
    for entry in node.get("status", {}).get("addresses") or []:
        if entry.get("type") == "InternalIP":
            return str(entry["address"])
    return ""


def describe_node(node: dict[str, Any]) -> dict[str, Any]:
    """Return what people want to know about a node."""
    prefix = "node-role.kubernetes.io/"
    info = node.get("status", {}).get("nodeInfo") or {}
    labels = node["metadata"].get("labels") or {}
    return {
        "name": node["metadata"]["name"],
        "ready": is_ready(node),
        "roles": sorted(label[len(prefix) :] for label in labels if label.startswith(prefix)) or ["worker"],
        "version": info.get("kubeletVersion", "").lstrip("v"),
        "runtime": info.get("containerRuntimeVersion", ""),
        "address": address_of(node),
    }
