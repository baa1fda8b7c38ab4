"""Why an app does not run: what its pods, its Services and the nodes say, boiled down to one sentence.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.app_view import (
    JOB,
    AppView,
    as_selector,
    name_of,
    noticed,
    wanted,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import NO_IMAGE, reference, unserved_digest
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import condition, is_ready, rolled_out
from ansible_collections.kubestrap.cluster.plugins.module_utils.quantities import as_text, quantity, requests

if TYPE_CHECKING:
    from collections.abc import Iterable

# How long a cause may last, in seconds without any progress of the rollout, before it is believed. No waiting cures
# the certain ones. Some pass within seconds: a controller that has not come round yet, an app that opens its port. Some
# within half a minute: a registry that starts, a node that becomes Ready. Some look like a slow start all the time.
CERTAIN, SOON, LATER, NEVER = 0, 5, 30, 10**9
# An init container may have work to do; nobody looks at a screen for five minutes for one that waits.
INIT = 120
LAST_LINES = 5
# Kubernetes restarts a crashed container at once, then after 10 s, 20 s ...: by now it crashed with every chance.
CRASHES = 3
# What a registry says of an image it does not have, and of one it does not give to everybody.
NO_ACCESS = re.compile(r"denied|unauthorized|authentication required|no basic auth|forbidden", re.IGNORECASE)
NEVER_STARTED = ("ContainerCannotRun", "StartError")
SHOWN_NODES = 3


class CauseError(Exception):
    """Why the app does not run: the cause in one sentence, evidence below it."""

    def __init__(self, cause: str, evidence: Iterable[str] = (), *, patience: int = CERTAIN) -> None:
        """Say it; patience is how many seconds it may last before it is believed."""
        super().__init__(cause)
        self.cause = cause
        self.evidence = [line for line in evidence if line]
        self.patience = patience


def examine(app: AppView, workloads: list[dict[str, Any]]) -> bool:
    """Tell whether the workloads are rolled out and every Service of the app leads somewhere.

    False means that nothing is seen but that it is not ready yet.

    Raises:
        CauseError: with what stands in the way.
    """
    for workload in workloads:
        if workload["kind"] == "DaemonSet" and noticed(workload) and not wanted(workload):
            raise CauseError(f"{name_of(workload)} runs nowhere: {_why_nowhere(app, workload)}.", patience=SOON)
    waiting = [workload for workload in workloads if not rolled_out(workload)]
    for workload in waiting:
        examine_workload(app, workload)
    unfinished = [job for job in app.of_kind(JOB) if not examine_job(app, job)]
    if waiting or unfinished:
        return False
    for service in app.of_kind("Service"):
        examine_service(app, service, workloads)
    return True


def examine_workload(app: AppView, workload: dict[str, Any]) -> None:
    """Raise why a workload is not rolled out; return when nothing is wrong but that it needs time."""
    if not noticed(workload):
        return
    if workload["spec"].get("paused"):
        raise CauseError(f"{name_of(workload)} is paused: its new version is not rolled out.")
    pods = app.pods(workload, newest=True)
    for pod in pods:
        examine_pod(app, pod)
    if len(pods) < wanted(workload):
        _examine_creation(app, workload)


def examine_job(app: AppView, job: dict[str, Any]) -> bool:
    """Tell whether a Job is complete.

    Raises:
        CauseError: when it failed, or one of its pods cannot run.
    """
    if (
        condition(job, "Complete").get("status") == "True"
        or condition(job, "SuccessCriteriaMet").get("status") == "True"
    ):
        return True
    pods = app.job_pods(job)
    failed = condition(job, "Failed")
    if failed.get("status") == "True":
        reason = f"{failed.get('message') or failed.get('reason') or 'it gave up'}"
        cause, evidence = _why_failed(app, pods)
        raise CauseError(f"Job {job['metadata']['name']} failed: {cause or _short(reason)}.", [reason, *evidence])
    for pod in pods:
        if pod.get("status", {}).get("phase") not in ("Failed", "Succeeded"):
            examine_pod(app, pod)
    return False


def _why_failed(app: AppView, pods: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return why the last failed pod of a Job ended, and its last lines."""
    for pod in reversed(pods):
        status = pod.get("status", {})
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            end = container.get("state", {}).get("terminated") or {}
            if end.get("exitCode", 0) == 0 and end.get("reason") not in NEVER_STARTED:
                continue
            whose = f"container {container['name']} of pod {pod['metadata']['name']}"
            if end.get("reason") in NEVER_STARTED:
                return f"{whose} cannot start: {_short(_last_part(end.get('message'), 3))}", [end.get("message", "")]
            why = "it needs more memory than its limit" if end.get("reason") == "OOMKilled" else ""
            lines = app.log(pod, container["name"], previous=False) or ["It wrote nothing."]
            return f"{whose} ended with {why or 'exit code ' + str(end['exitCode'])}", lines
    return "", []


def _why_nowhere(app: AppView, workload: dict[str, Any]) -> str:
    """Return why no node takes a pod of a DaemonSet, in words."""
    template = workload["spec"]["template"]
    selector = template["spec"].get("nodeSelector") or {}
    nodes = app.nodes()
    if selector and not any(selector.items() <= (one["metadata"].get("labels") or {}).items() for one in nodes):
        return f"no node matches {as_selector(selector)}"
    reasons = {why: node["metadata"]["name"] for node in nodes for why, _ in [why_not_on(node, template, [])] if why}
    told = [f"{name} {why}" for why, name in reasons.items()]
    return "; ".join(told[:SHOWN_NODES]) or "no node matches its nodeAffinity"


def _examine_creation(app: AppView, workload: dict[str, Any]) -> None:
    """Raise why there are not as many pods as there should be."""
    failure = condition(workload, "ReplicaFailure")
    refusals = [failure["message"]] if failure.get("status") == "True" else []
    if workload["kind"] != "Deployment":
        refusals = app.events(workload, "FailedCreate")
    if not refusals:
        return
    message = refusals[-1]
    name, space = name_of(workload), workload["metadata"]["namespace"]
    exceeded = re.search(r"exceeded quota: (?P<quota>[^,]+), (?P<numbers>.*)", message)
    unsaid = re.search(r"failed quota: (?P<quota>[^:]+): must specify (?P<what>[^;]*)", message)
    if exceeded:
        raise CauseError(
            f"The quota {exceeded['quota']} of namespace {space} allows no more pods of {name}: {exceeded['numbers']}.",
            [message, f"Raise ResourceQuota {exceeded['quota']}, or ask for less."],
            patience=LATER,
        )
    if unsaid:
        raise CauseError(
            f"The quota {unsaid['quota']} of namespace {space} wants every container to say its {unsaid['what']}, "
            f"and those of {name} do not.",
            [message],
            patience=SOON,
        )
    raise CauseError(f"The cluster refuses the pods of {name}: {_last_part(message)}.", [message], patience=LATER)


def examine_pod(app: AppView, pod: dict[str, Any]) -> None:
    """Raise why a pod is not ready; return when it is, or only needs time."""
    if is_ready(pod):
        return
    name, node = pod["metadata"]["name"], pod["spec"].get("nodeName", "")
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") == "False":
        _examine_placement(app, pod, scheduled.get("message", ""))
    status = pod.get("status", {})
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        _examine_container(app, pod, node, container)
    for container in _waiting_init_containers(pod):
        lines = app.log(pod, container["name"], previous=False)
        raise CauseError(
            f"Pod {name} waits for its init container {container['name']}, which runs and does not end.",
            lines[-LAST_LINES:] or ["It wrote nothing."],
            patience=INIT,
        )
    for message in app.events(pod, "FailedMount", "FailedAttachVolume")[-1:]:
        raise CauseError(f"Pod {name} cannot mount its volumes: {_last_part(message, 2)}.", [message], patience=LATER)
    for message in app.events(pod, "FailedCreatePodSandBox")[-1:]:
        raise CauseError(f"Node {node} cannot set up pod {name}.", [message], patience=LATER)
    for message in app.events(pod, "Unhealthy")[-1:]:
        probe, _, said = message.partition(" probe failed: ")
        what = "does not finish its start" if probe == "Startup" else "runs, but is not ready"
        raise CauseError(
            f"Pod {name} {what}: its {probe.lower()} probe fails: {_short(said)}.",
            [*_probes(pod, f"{probe.lower()}Probe"), *_last_words(app, pod)],
            patience=NEVER,
        )


def _waiting_init_containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the init containers that run, but for those that are meant to stay (sidecars)."""
    stay = {
        one["name"] for one in pod["spec"].get("initContainers") or [] if one.get("restartPolicy", "Never") == "Always"
    }
    return [
        container
        for container in pod.get("status", {}).get("initContainerStatuses") or []
        if "running" in container.get("state", {}) and container["name"] not in stay
    ]


def _examine_container(app: AppView, pod: dict[str, Any], node: str, container: dict[str, Any]) -> None:
    image, whose = container["image"], f"Container {container['name']} of pod {pod['metadata']['name']}"
    # The status has the image's ID once it runs; people know it by its name.
    for spec in [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]:
        if spec["name"] == container["name"]:
            image = spec["image"]
    waiting = container.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason == "InvalidImageName":
        raise CauseError(f"{image} cannot be the name of an image: {_last_part(message)}.", [message])
    if reason == "ErrImageNeverPull":
        raise CauseError(
            f"Image {image} is not on node {node}, and its imagePullPolicy is Never.",
            [*_elsewhere(app, image, node), _way_to_node(image)],
        )
    if reason in ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"):
        _examine_pull(app, image, node, message or reason)
    _examine_end(app, pod, container, whose)
    if reason in ("CreateContainerConfigError", "CreateContainerError", "RunContainerError"):
        # Whose container it is stands in brackets behind the kubelet's reason.
        told = re.sub(r'\s*\(pod: "[^"]*", container: [^)]*\)$', "", message)
        raise CauseError(f"{whose} cannot start: {_short(_last_part(told, 2) or reason)}.", [message])


def _way_to_node(image: str) -> str:
    if reference(image).digest:
        return "By its digest only a registry gives it: let it be pulled (imagePullPolicy: IfNotPresent)."
    return f"kubestrap image push {image} brings it to every node."


def _examine_pull(app: AppView, image: str, node: str, message: str) -> None:
    never = "If no registry is meant to hold it, give its container imagePullPolicy: Never; kubestrap brings it then."
    evidence = [message, *_elsewhere(app, image, node), never]
    # Which image it was about stands in the message too, and may be called anything.
    said = message.replace(image, "")
    if NO_ACCESS.search(said):
        raise CauseError(
            f"The registry of image {image} has no such image, or does not give it to node {node}.", evidence
        )
    if NO_IMAGE.search(said) and "no such host" not in said:
        by_digest = [unserved_digest(image)] if reference(image).digest else []
        raise CauseError(f"The registry has no image {image}, says node {node}.", [*evidence, *by_digest])
    raise CauseError(
        f"Image {image} cannot be pulled on node {node}: {_short(_last_part(message))}.", evidence, patience=LATER
    )


def _elsewhere(app: AppView, image: str, node: str) -> list[str]:
    """Return a line that says which other nodes have an image, if any."""
    others = [name for name in app.nodes_with(image) if name != node]
    return [f"It is on {', '.join(others)}."] if others else []


def _examine_end(app: AppView, pod: dict[str, Any], container: dict[str, Any], whose: str) -> None:
    """Raise why a container ends again and again."""
    running = "terminated" not in container.get("state", {})
    last = (container.get("lastState") if running else container.get("state")) or {}
    end = last.get("terminated") or {}
    if not end:
        return
    # For these two it is the program's name or the user that is wrong, not its run.
    if end.get("reason") in NEVER_STARTED:
        raise CauseError(
            f"{whose} cannot start: {_short(_last_part(end.get('message'), 3))}.", [end.get("message") or ""]
        )
    if container.get("restartCount", 0) + 1 < CRASHES:
        return
    lines = app.log(pod, container["name"], previous=running)
    killed = [text for text in app.events(pod, "Killing") if "probe" in text]
    if end.get("reason") == "OOMKilled":
        limit = _limit(pod, container["name"])
        raise CauseError(f"{whose} is killed because it needs more memory than its limit{limit}.", lines)
    if killed:
        probe = "startup" if "startup" in killed[-1] else "liveness"
        said = [text for text in app.events(pod, "Unhealthy") if text.lower().startswith(probe)][-1:]
        detail = f": {_short(said[0].partition(' probe failed: ')[2])}" if said else ""
        raise CauseError(f"{whose} is restarted because its {probe} probe fails{detail}.", lines)
    if end.get("exitCode", 0) != 0 or pod["spec"].get("restartPolicy", "Always") == "Always":
        why = f"exit code {end.get('exitCode', 0)}"
        raise CauseError(f"{whose} ends again and again ({why}).", lines or ["It wrote nothing."])


def _limit(pod: dict[str, Any], name: str) -> str:
    for container in pod["spec"]["containers"]:
        limit = (container.get("resources", {}).get("limits") or {}).get("memory")
        if container["name"] == name and limit:
            return f" of {limit}"
    return ""


def _probes(pod: dict[str, Any], kind: str) -> list[str]:
    """Return a line for each probe of a kind: what is asked, how often."""
    lines = []
    for container in pod["spec"]["containers"]:
        probe = container.get(kind)
        if not probe:
            continue
        http, tcp, command = probe.get("httpGet"), probe.get("tcpSocket"), probe.get("exec")
        what = "gRPC"
        if http:
            what = f"GET {http.get('path', '/')} on port {http['port']}"
        elif tcp:
            what = f"a connection to port {tcp['port']}"
        elif command:
            what = f"the command {' '.join(command['command'])}"
        lines.append(f"Asked of container {container['name']} every {probe.get('periodSeconds', 10)} s: {what}")
    return lines


def _last_words(app: AppView, pod: dict[str, Any]) -> list[str]:
    lines = []
    for container in pod["spec"]["containers"]:
        lines += app.log(pod, container["name"], previous=False)[-5:]
    return lines


def _examine_placement(app: AppView, pod: dict[str, Any], message: str) -> None:
    """Raise why no node takes a pod."""
    name = pod["metadata"]["name"]
    for volume in pod["spec"].get("volumes") or []:
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim:
            _examine_claim(app, pod, claim)
    if "persistentvolumeclaim" in message.lower():
        raise CauseError(f"Pod {name} waits for a volume that nobody provides.", [message], patience=LATER)
    nodes = app.nodes()
    pods = app.kubectl.items("get", "pods", "--all-namespaces")
    reasons: dict[str, list[str]] = {}
    hopeless = True
    for node in nodes:
        why, final = why_not_on(node, pod, pods)
        hopeless &= final
        reasons.setdefault(why, []).append(node["metadata"]["name"])
    told = [f"{_some(names)} {why}" for why, names in reasons.items() if why]
    raise CauseError(
        f"No node can run pod {name}: {'; '.join(told[:SHOWN_NODES]) or message}.",
        [*(f"{line}" for line in told[SHOWN_NODES:]), f"The scheduler says: {message}"],
        patience=SOON if hopeless and told else LATER,
    )


def why_not_on(node: dict[str, Any], pod: dict[str, Any], pods: list[dict[str, Any]]) -> tuple[str, bool]:
    """Return why a pod cannot run on a node, empty when that is not plain, and whether no waiting cures it.

    Args:
        node: The node.
        pod: The pod.
        pods: All pods of the cluster.
    """
    labels = node["metadata"].get("labels") or {}
    lacking = {key: value for key, value in (pod["spec"].get("nodeSelector") or {}).items() if labels.get(key) != value}
    if lacking:
        return f"lacks the label {as_selector(lacking)}", True
    for taint in node["spec"].get("taints") or []:
        if taint["effect"] != "PreferNoSchedule" and not _tolerated(taint, pod["spec"].get("tolerations") or []):
            value = f"={taint['value']}" if taint.get("value") else ""
            # Kubernetes itself taints nodes that are in trouble, and takes that back.
            passing = taint["key"].startswith("node.kubernetes.io/")
            return (
                f"has the taint {taint['key']}{value}:{taint['effect']}, which the pod does not tolerate",
                not passing,
            )
    asked = requests(pod)
    room = node["status"].get("allocatable") or {}
    for what, amount in asked.items():
        total = quantity(room.get(what, "0"))
        taken = sum(
            requests(other).get(what, 0)
            for other in pods
            if other["spec"].get("nodeName") == node["metadata"]["name"]
            and other.get("status", {}).get("phase") not in ("Succeeded", "Failed")
        )
        if amount > total - taken:
            free = as_text(what, max(total - taken, 0))
            told = (
                f"has {as_text(what, total)} of {what}, {free} of it free, and the pod asks for {as_text(what, amount)}"
            )
            return told, amount > total
    return "", False


def _tolerated(taint: dict[str, Any], tolerations: list[dict[str, Any]]) -> bool:
    for toleration in tolerations:
        same_key = toleration.get("key") in (None, "", taint["key"])
        same_effect = toleration.get("effect") in (None, "", taint["effect"])
        any_value = toleration.get("operator") == "Exists"
        if same_key and same_effect and (any_value or toleration.get("value", "") == taint.get("value", "")):
            return True
    return False


def _examine_claim(app: AppView, pod: dict[str, Any], name: str) -> None:
    """Raise why a claim has no volume; return when it has one."""
    whose = f"Pod {pod['metadata']['name']} waits for PersistentVolumeClaim {name}"
    claims = {claim["metadata"]["name"]: claim for claim in app.near(pod, "get", "persistentvolumeclaims")}
    if name not in claims:
        there = ", ".join(sorted(claims)) or "none"
        raise CauseError(
            f"{whose}, and there is no such claim in namespace {pod['metadata']['namespace']}.",
            [f"Claims there are: {there}"],
            patience=SOON,
        )
    claim = claims[name]
    if claim.get("status", {}).get("phase") == "Bound":
        return
    classes = {one["metadata"]["name"]: one for one in app.kubectl.items("get", "storageclasses")}
    have = f"StorageClasses there are: {', '.join(sorted(classes)) or 'none'}"
    asked = claim["spec"].get("storageClassName")
    said = app.events(claim, "FailedBinding", "ProvisioningFailed")[-1:]
    if asked is None:
        raise CauseError(
            f"{whose}, which names no StorageClass, and the cluster has no default one.", [*said, have], patience=SOON
        )
    if asked and asked not in classes:
        raise CauseError(f"{whose}, whose StorageClass {asked} does not exist.", [*said, have], patience=SOON)
    if said or not asked:
        raise CauseError(f"{whose}, for which there is no volume.", said, patience=LATER)


def examine_service(app: AppView, service: dict[str, Any], workloads: list[dict[str, Any]]) -> None:
    """Raise why a Service leads nowhere.

    Args:
        app: The app.
        service: The Service as the API has it.
        workloads: The app's workloads, for the labels their pods have.
    """
    name, selector = service["metadata"]["name"], service["spec"].get("selector")
    ports = [port for port in service["spec"].get("ports") or [] if port.get("protocol", "TCP") == "TCP"]
    if not selector or not ports:
        return
    endpoints = app.endpoints(service)
    if not endpoints:
        selected = app.selected(service)
        resting = [
            one for one in workloads if one["metadata"]["namespace"] == service["metadata"]["namespace"]
            and selector.items() <= _labels(one).items() and not wanted(one)
        ]  # fmt: skip
        if not selected and resting:
            names = " and ".join(map(name_of, resting))
            raise CauseError(f"{names} asks for 0 replicas, so Service {name} leads nowhere.", patience=SOON)
        if not selected:
            space = service["metadata"]["namespace"]
            near = [one for one in workloads if one["metadata"]["namespace"] == space]
            labels = {as_selector(one["spec"]["template"]["metadata"].get("labels") or {}) for one in near}
            have = " or ".join(sorted(labels)) or "no pods here"
            raise CauseError(
                f"Service {name} has no endpoints: its selector {as_selector(selector)} matches no pod; "
                f"the app's pods have {have}.",
                ["Give the selector of the Service labels that the pods' template has."],
                patience=CERTAIN
                if near and not any(selector.items() <= _labels(one).items() for one in near)
                else SOON,
            )
        targets = ", ".join(str(port.get("targetPort", port["port"])) for port in ports)
        raise CauseError(
            f"Service {name} has no endpoints: no ready pod has its targetPort {targets}.",
            [_declared(selected)],
            patience=LATER,
        )
    if not app.reaches_pods:
        return
    refused = [(address, port) for address, port in endpoints if not listens(address, port)]
    # Each port on its own: one that answers says nothing about the next.
    dead = sorted({port for _, port in endpoints} - {port for _, port in set(endpoints) - set(refused)})
    if dead:
        selected = app.selected(service)
        numbers = ", ".join(map(str, dead))
        # A pod that passed a readiness probe has started, whatever it listens on.
        probed = all(any("readinessProbe" in one for one in pod["spec"]["containers"]) for pod in selected)
        raise CauseError(
            f"Nothing listens on port {numbers} in the pods behind Service {name}.",
            [
                f"Tried: {', '.join(f'{address}:{port}' for address, port in refused if port in dead)}",
                _declared(selected),
                "Correct targetPort of the Service to the port the app listens on.",
            ],
            patience=SOON if probed else LATER,
        )


def _labels(workload: dict[str, Any]) -> dict[str, str]:
    return workload["spec"]["template"]["metadata"].get("labels") or {}


def _declared(pods: list[dict[str, Any]]) -> str:
    """Return a line with the ports that the containers of pods declare."""
    ports = {
        f"{port['containerPort']} ({port['name']})" if port.get("name") else str(port["containerPort"])
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or []
    }
    return f"Ports the containers declare: {', '.join(sorted(ports)) or 'none'}"


def listens(address: str, port: int) -> bool:
    """Tell whether something takes a TCP connection there within 3 s."""
    try:
        with socket.create_connection((address, port), timeout=3):
            return True
    except OSError:
        return False


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_NODES])
    return shown if len(names) <= SHOWN_NODES else f"{shown} and {len(names) - SHOWN_NODES} more"


def _last_part(text: Optional[str], parts: int = 1) -> str:
    """Return the end of a message in which every layer put its own words before a colon."""
    told = (text or "").strip().rstrip(".").removesuffix(": unknown")
    return ": ".join(told.split(": ")[-parts:])


def _short(text: str) -> str:
    """Return text as one line that fits into a sentence."""
    line = " ".join(text.split()).rstrip(".")
    return line if len(line) <= 160 else f"{line[:157]}..."  # noqa: PLR2004 - as long as a screen is wide
