"""An app's objects in the cluster, as kubectl on a host shows them.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
JOB = "Job"
SERVES_NETWORK_POLICY = ("calico-node", "cilium", "kube-router", "weave-net", "antrea-agent")
REVISION = "deployment.kubernetes.io/revision"
GENERATION = "deprecated.daemonset.template.generation"
LOG_LINES = 15


class AppView:
    """The app's objects, and what the cluster made of them."""

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

    def pods(self, workload: dict[str, Any], *, newest: bool = False) -> list[dict[str, Any]]:
        """Return the pods of a workload that are neither on their way out nor over, such as evicted ones.

        Args:
            workload: A workload as the API has it.
            newest: Leave out those of earlier versions: what is wrong with them is past.
        """
        owners, marks = {workload["metadata"]["uid"]}, {}
        if workload["kind"] == "Deployment":
            sets = self._owned(workload, "replicasets", owners)
            if newest:
                sets = sorted(sets, key=lambda one: int(one["metadata"]["annotations"].get(REVISION, 0)))[-1:]
            owners = {one["metadata"]["uid"] for one in sets}
        elif newest and workload["kind"] == "StatefulSet":
            marks = {"controller-revision-hash": workload["status"].get("updateRevision")}
        elif newest:
            marks = {"pod-template-generation": workload["metadata"]["annotations"].get(GENERATION)}
        return [
            pod
            for pod in self._owned(workload, "pods", owners)
            if "deletionTimestamp" not in pod["metadata"]
            and pod.get("status", {}).get("phase") not in ("Failed", "Succeeded")
            and marks.items() <= pod["metadata"]["labels"].items()
        ]

    def selected(self, service: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the pods a Service selects, whoever made them."""
        return self.near(service, "get", "pods", f"--selector={as_selector(service['spec']['selector'])}")

    def endpoints(self, service: dict[str, Any]) -> list[tuple[str, int]]:
        """Return the addresses and ports a Service leads to."""
        name = service["metadata"]["name"]
        slices = self.near(service, "get", "endpointslices", f"--selector=kubernetes.io/service-name={name}")
        return [
            (address, port["port"])
            for part in slices
            for endpoint in part.get("endpoints") or []
            if (endpoint.get("conditions") or {}).get("ready")
            for address in endpoint["addresses"]
            for port in part.get("ports") or []
            if port.get("protocol", "TCP") == "TCP" and port.get("port")
        ]

    def events(self, obj: dict[str, Any], *reasons: str) -> list[str]:
        """Return the messages of an object's events of these reasons, newest last."""
        chosen = f"involvedObject.name={obj['metadata']['name']},involvedObject.uid={obj['metadata'].get('uid', '')}"
        events = self.near(obj, "get", "events", f"--field-selector={chosen}")
        wanted = [event for event in events if event.get("reason") in reasons]
        wanted.sort(key=lambda event: event.get("lastTimestamp") or event.get("eventTime") or "")
        return [event.get("message", "").strip() for event in wanted]

    def log(self, pod: dict[str, Any], container: str, *, previous: bool) -> list[str]:
        """Return the last lines a container wrote, or one that says why they could not be read."""
        arguments = ["logs", pod["metadata"]["name"], f"--container={container}", f"--tail={LOG_LINES}"]
        arguments += ["--previous"] if previous else []
        try:
            return self.kubectl.run(f"--namespace={pod['metadata']['namespace']}", *arguments).splitlines()
        except KubectlError as error:
            return [f"Its last lines could not be read: {error}"]

    def job_pods(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the pods of a Job, the failed ones too, newest last."""
        name = f"--selector=batch.kubernetes.io/job-name={job['metadata']['name']}"
        pods = self.near(job, "get", "pods", name)
        return sorted(pods, key=lambda pod: pod["metadata"].get("creationTimestamp", ""))

    def without_effect(self) -> list[str]:
        """Return a sentence for each kind of object that this cluster takes and nothing in it acts on."""
        told = []
        kinds = {(obj["apiVersion"].partition("/")[0], obj["kind"]) for obj in self.objects}
        if ("networking.k8s.io", "NetworkPolicy") in kinds:
            networks = {one["metadata"]["name"] for one in self.kubectl.items("get", "daemonsets", "--all-namespaces")}
            if "kube-flannel-ds" in networks and not networks & set(SERVES_NETWORK_POLICY):
                told.append("flannel enforces no NetworkPolicy: all pods reach each other")
        if ("networking.k8s.io", "Ingress") in kinds and not self.kubectl.items("get", "ingressclasses"):
            told.append("nothing in this cluster serves Ingress: install an ingress controller, or use a Service")
        return told

    def nodes(self) -> list[dict[str, Any]]:
        """Return all nodes."""
        return self.kubectl.items("get", "nodes")

    def nodes_with(self, image: str) -> list[str]:
        """Return the names of nodes that say they have an image."""
        asked = reference(image).tagged()
        if asked.digest:
            # A node lists it by tag and by digest, not by both at once.
            asked = asked._replace(tag="")

        def has(node: dict[str, Any]) -> bool:
            entries = node["status"].get("images") or []
            return any(asked == reference(name) for entry in entries for name in entry.get("names") or [])

        return sorted(node["metadata"]["name"] for node in self.nodes() if has(node))

    def near(self, obj: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
        """Return what kubectl finds in the namespace of an object."""
        return self.kubectl.items(f"--namespace={obj['metadata']['namespace']}", *arguments)

    def restart(self, workload: dict[str, Any]) -> None:
        """Replace the workload's pods, as many at a time as it allows."""
        name = f"{workload['kind'].lower()}/{workload['metadata']['name']}"
        self.kubectl.run(f"--namespace={workload['metadata']['namespace']}", "rollout", "restart", name)

    def _owned(self, workload: dict[str, Any], kind: str, owners: set[str]) -> list[dict[str, Any]]:
        labels = workload["spec"]["selector"].get("matchLabels") or {}
        return [
            obj
            for obj in self.near(workload, "get", kind, f"--selector={as_selector(labels)}")
            if owners & {owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []}
        ]


def as_selector(labels: dict[str, str]) -> str:
    """Return labels as kubectl and people write them."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items()))


def noticed(workload: dict[str, Any]) -> bool:
    """Tell whether the cluster has seen the newest version of a workload."""
    seen = (workload.get("status") or {}).get("observedGeneration", 0)
    return bool(seen >= workload["metadata"]["generation"])


def wanted(workload: dict[str, Any]) -> int:
    """Return how many pods a workload is meant to have."""
    if workload["kind"] == "DaemonSet":
        return int((workload.get("status") or {}).get("desiredNumberScheduled", 0))
    return int(workload["spec"].get("replicas", 1))


def name_of(workload: dict[str, Any]) -> str:
    """Return a workload's name for people."""
    return f"{workload['kind']} {workload['metadata']['name']}"
