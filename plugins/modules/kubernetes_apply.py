#!/usr/bin/python
"""Ansible module kubernetes_apply."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubernetes_apply
short_description: Make objects in the cluster what they should be
description:
  - Applies objects server-side, as field manager C(kubestrap). Everything is tried first, so that one bad object means
    that nothing is changed.
  - Reports a change only when the API says that an object differs.
  - A field that another manager has set since, such as an autoscaler, stays as it is, with a finding. What a person did
    by hand with kubectl gives way to the object.
  - What was applied is in no log of the host and no result of the task.
version_added: 0.1.0
author: kubestrap
options:
  objects: {description: The objects., type: list, elements: dict, default: []}
  manifests:
    description: In place of O(objects), files or directories on the operator's machine that hold them.
    type: list
    elements: str
    default: []
  base: {description: Directory at which relative paths of O(manifests) start., type: str, default: "."}
  sources:
    description: For messages, the C(file) each object was read from, and the C(lines) of its fields by their paths.
    type: list
    elements: dict
    default: []
  namespace: {description: Namespace of objects that name none; made when missing., type: str, default: default}
  wait_for_daemonset:
    description: C(namespace/name) of a DaemonSet to wait for on every node.
    type: str
    default: ""
  timeout: {description: Seconds to wait., type: int, default: 180}
  kubeconfig: {description: Access to the cluster., type: path, default: /etc/kubernetes/admin.conf}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Apply the objects
  kubestrap.cluster.kubernetes_apply:
    manifests: [shop.yaml]
    base: "{{ inventory_dir }}"
"""

RETURN = r"""
objects:
  description: What was applied, as C(apiVersion), C(kind) and in C(metadata) C(name) and C(namespace).
  returned: success
  type: list
  elements: dict
findings:
  description: Fields that were left to who set them, each with C(id), C(severity), C(evidence) and C(fix).
  returned: success
  type: list
  elements: dict
"""

import concurrent.futures
import copy
import json
import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.field_owners import conflicts, without
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, as_json, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    FIELD_MANAGER,
    Kubectl,
    KubectlError,
    as_list,
    is_ours,
    pod_state,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.refusals import explain, hidden

# Written by the API server with every change; says nothing about what was asked for.
BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
# What others need to be tried at all.
GROUNDS = ("Namespace", "CustomResourceDefinition")
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
SECONDS_FOR_DEFINITIONS = 20

Key = tuple[str, str, str, str]


def key(obj: dict[str, Any]) -> Key:
    """Return what tells objects apart: group, kind, namespace, name."""
    group = obj["apiVersion"].rpartition("/")[0]
    return group, obj["kind"], obj["metadata"].get("namespace") or "", obj["metadata"]["name"]


def label(obj: dict[str, Any]) -> str:
    """Return an object's name for people."""
    _, kind, namespace, name = key(obj)
    return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"


def substance(obj: dict[str, Any]) -> dict[str, Any]:
    """Return an object without status and what the API server notes for itself."""
    bare = {name: value for name, value in obj.items() if name != "status"}
    bare["metadata"] = {name: value for name, value in obj["metadata"].items() if name not in BOOKKEEPING}
    return bare


def has_fields(obj: dict[str, Any]) -> bool:
    """Tell whether an object is more than a name: who applied a bare Namespace, the API does not remember."""
    return bool(obj.keys() - {"apiVersion", "kind", "metadata"} or obj["metadata"].keys() - {"name", "namespace"})


def as_text(obj: dict[str, Any]) -> str:
    """Return an object as text for a diff; what a Secret holds is left out."""
    shown = substance(obj)
    if LAST_APPLIED in (shown["metadata"].get("annotations") or {}):
        # A whole object once more, a Secret's too.
        annotations = {k: v for k, v in shown["metadata"]["annotations"].items() if k != LAST_APPLIED}
        shown["metadata"] = {**shown["metadata"], "annotations": annotations}
    if obj["kind"] == "Secret":
        shown = {name: value for name, value in shown.items() if name not in ("data", "stringData")}
    return json.dumps(shown, indent=2, sort_keys=True) + "\n"


def identity(obj: dict[str, Any]) -> dict[str, Any]:
    """Return of an object only which one it is."""
    metadata = {name: value for name, value in obj["metadata"].items() if name in ("name", "namespace")}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}


class Discovery:
    """What kinds the API serves at this moment."""

    def __init__(self, kubectl: Kubectl) -> None:
        """Ask through this kubectl."""
        self.kubectl = kubectl
        self.known: dict[str, dict[str, bool]] = {}

    def namespaced(self, obj: dict[str, Any]) -> Optional[bool]:
        """Tell whether objects of this kind are in namespaces; None when the API does not know the kind.

        Raises:
            KubectlError: when the API does not say.
        """
        self.ask([obj])
        return self.known[obj["apiVersion"]].get(obj["kind"])

    def ask(self, objects: list[dict[str, Any]]) -> None:
        """Learn the kinds of the versions that these objects name."""
        versions = sorted({obj["apiVersion"] for obj in objects} - self.known.keys())
        if not versions:
            return
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            self.known.update(zip(versions, pool.map(self._kinds, versions)))

    def _kinds(self, version: str) -> dict[str, bool]:
        path = f"/apis/{version}" if "/" in version else f"/api/{version}"
        try:
            found = json.loads(self.kubectl.run("get", "--raw", path))
        except KubectlError as error:
            if "could not find the requested resource" in str(error):
                return {}
            raise
        return {one["kind"]: one["namespaced"] for one in found["resources"] if "/" not in one["name"]}


class Apply:
    """Objects on their way into the cluster."""

    def __init__(self, kubectl: Kubectl, namespace: str) -> None:
        """Use this namespace for objects that name none."""
        self.kubectl = kubectl
        self.namespace = namespace
        self.discovery = Discovery(kubectl)
        self.applied: list[str] = []
        self.left: list[tuple[dict[str, Any], str, str, Any]] = []
        """Objects with a field that was left to another manager: its path, the manager, its value in the cluster."""

    def complete(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the objects with their namespace, and the namespace itself first when it has to be made."""
        complete = copy.deepcopy(objects)
        self.discovery.ask(complete)
        scopes = {kind: (one.get("spec") or {}).get("scope") for kind, one in _definitions(complete).items()}
        for obj in complete:
            group, kind = key(obj)[:2]
            inside = self.discovery.namespaced(obj)
            if inside is None:
                inside = scopes.get((group, kind)) != "Cluster"
            # An empty namespace is none; what is cluster-wide has none, whatever its file says.
            space = obj["metadata"].pop("namespace", None)
            if inside:
                obj["metadata"]["namespace"] = space or self.namespace
        own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        used = any(obj["metadata"].get("namespace") == self.namespace for obj in complete)
        if used and not any(key(obj) == key(own) for obj in complete):
            found = self.kubectl.items("get", "namespace", self.namespace, "--ignore-not-found")
            # One that somebody else made stays theirs.
            if not found or is_ours(found[0]):
                complete.insert(0, own)
        return complete

    def look(self, objects: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
        """Return those of the objects that exist, by key."""
        if not objects:
            return {}
        listed = self.kubectl.items(
            "get", "--ignore-not-found", "--show-managed-fields", "-f", "-", stdin=as_list(objects)
        )
        return {key(obj): obj for obj in listed}

    def trial(self, objects: list[dict[str, Any]]) -> dict[Key, dict[str, Any]]:
        """Return what the API would make of the objects, by key, without doing it.

        What belongs into a namespace that is not there yet is tried in the default one, under a name that is free.
        """
        if not objects:
            return {}
        coming = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        if coming:
            there = self.kubectl.items("get", "namespaces")
            coming -= {obj["metadata"]["name"] for obj in there}
        tried = copy.deepcopy(objects)
        moved = [obj for obj in tried if obj["metadata"].get("namespace") in coming]
        for obj in moved:
            obj["metadata"]["namespace"] = "default"
        taken = self.look(moved)
        for obj in moved:
            if key(obj) in taken:
                obj["metadata"]["name"] = f"{obj['metadata']['name'][:40]}-kubestrap-trial"
        results = self.kubectl.apply(tried, dry_run=True, force=True)
        for wanted, result in zip(objects, results):
            if "namespace" in wanted["metadata"]:
                result["metadata"].update(namespace=wanted["metadata"]["namespace"], name=wanted["metadata"]["name"])
        return {key(wanted): result for wanted, result in zip(objects, results)}

    def converge(self, objects: list[dict[str, Any]], changes: Changes) -> list[dict[str, Any]]:
        """Apply what differs, noted as changes; return all objects, complete.

        Raises:
            KubectlError: when the API refuses something; `applied` says what it has taken before.
        """
        wanted = self.complete(objects)
        self._each_once(wanted)
        definitions = _definitions(wanted)
        custom = [obj for obj in wanted if key(obj)[:2] in definitions]
        before = self.look([obj for obj in wanted if self.discovery.namespaced(obj) is not None])
        ready = self._compare([obj for obj in wanted if obj not in custom], before, changes)
        noted = {entry["after_header"] for entry in changes.diff}
        # What its definition brings is judged when that is there: here the API may know the kind, and not the field.
        later = [
            obj for obj in custom if self.discovery.namespaced(obj) is None or label(definitions[key(obj)[:2]]) in noted
        ]
        ready += self._compare([obj for obj in custom if obj not in later], before, changes)
        if changes.module.check_mode:
            for obj in later:
                if key(obj) not in before:
                    changes.note(label(obj), before="", after=as_text(obj))
            return wanted
        if changes or later:
            self._apply([obj for obj in ready if obj["kind"] in GROUNDS])
            ready += self._after_definitions(later, before, changes)
        if changes:
            self._apply([obj for obj in ready if obj["kind"] not in GROUNDS])
        return wanted

    def _compare(
        self, objects: list[dict[str, Any]], before: dict[Key, dict[str, Any]], changes: Changes
    ) -> list[dict[str, Any]]:
        """Note what would change; return the objects without the fields that are left to others."""
        after = self.trial(objects)
        result = []
        again = []
        for obj in objects:
            was, will = before.get(key(obj)), after[key(obj)]
            found = conflicts(was, will, obj, own=FIELD_MANAGER) if was else []
            self.left += [(obj, one.path, one.manager, one.value) for one in found]
            kept = without(obj, found)
            result.append(kept)
            if found:
                again.append(kept)
        after.update(self.trial(again))
        for obj in result:
            was, will = before.get(key(obj)), after[key(obj)]
            if was is None:
                changes.note(label(obj), before="", after=as_text(will))
            elif substance(was) != substance(will) or (has_fields(obj) and not is_ours(was)):
                changes.note(label(obj), before=as_text(was), after=as_text(will))
        return result

    def _apply(self, objects: list[dict[str, Any]]) -> None:
        if objects:
            # What another manager holds was taken out: what is left to take over is what a person did by hand.
            self.kubectl.apply(objects, force=True)
            self.applied += [label(obj) for obj in objects]
        definitions = [f"crd/{obj['metadata']['name']}" for obj in objects if obj["kind"] == GROUNDS[1]]
        if definitions:
            self.kubectl.run("wait", "--for=condition=Established", "--timeout=60s", *definitions, timeout=90)

    def _after_definitions(
        self, objects: list[dict[str, Any]], before: dict[Key, dict[str, Any]], changes: Changes
    ) -> list[dict[str, Any]]:
        """Judge what the API did not know before; it may need a moment until it does."""
        deadline = time.monotonic() + SECONDS_FOR_DEFINITIONS
        while True:
            try:
                return self._compare(objects, before, changes)
            except KubectlError as error:
                unknown = any(text in str(error) for text in ("no matches for kind", "not declared in schema"))
                if not unknown or time.monotonic() > deadline:
                    raise
            time.sleep(1)

    def _each_once(self, objects: list[dict[str, Any]]) -> None:
        seen: set[Key] = set()
        for obj in objects:
            if key(obj) in seen:
                raise KubectlError(f"{label(obj)} is there twice; one of the two has to go")
            seen.add(key(obj))


def _definitions(objects: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the definitions among objects by the group and the kind that they define."""
    return {
        (spec.get("group", ""), (spec.get("names") or {}).get("kind", "")): obj
        for obj in objects
        for spec in [obj.get("spec") or {}]
        if obj["kind"] == "CustomResourceDefinition"
    }


def findings(left: list[tuple[dict[str, Any], str, str, Any]], places: dict[Key, dict[str, Any]]) -> list[Finding]:
    """Return a finding for each object of which fields were left to others."""
    found = []
    for obj, path, manager, value in left:
        source = places.get(key(obj), {})
        place = f" ({source['file']}:{source['lines'].get(path, 1)})" if source.get("file") else ""
        shown = "" if obj["kind"] == "Secret" else f" at {json.dumps(value)}"
        found.append(
            warning(
                "field-of-another",
                f"{label(obj)}: {path} was left{shown}, which {manager} set.",
                f"Take {path} out of the manifest{place}, or end what {manager} does.",
            )
        )
    return found


def refused(
    kubectl: Kubectl, objects: list[dict[str, Any]], sources: list[dict[str, Any]], namespace: str
) -> list[str]:
    """Return a line for each mistake for which the API refuses an object: where it stands, and what it is."""
    lines = []
    grounds = [obj for obj in objects if obj["kind"] in GROUNDS]
    for number, obj in enumerate(objects):
        trial = Apply(kubectl, namespace)
        around = [other for other in grounds if other is not obj]
        try:
            known = {kind for one in around for kind in _definitions([one])}
            complete = trial.complete([*around, obj])
            # What the API learns only from a definition among them cannot be tried before.
            trial.trial(
                [one for one in complete if trial.discovery.namespaced(one) is not None or key(one)[:2] not in known]
            )
        except KubectlError as error:
            source = sources[number] if number < len(sources) else {}
            lines += [f"{line} ({label(obj)})" for line in explain(str(error), obj, source, namespace)]
    return list(dict.fromkeys(lines))


def wait_for_daemonset(kubectl: Kubectl, name: str, timeout: int) -> None:
    """Wait until a DaemonSet runs on every node it is meant for.

    Args:
        kubectl: Access to the cluster.
        name: `namespace/name`.
        timeout: Seconds.

    Raises:
        KubectlError: with the pods that do not run and why.
    """
    namespace, _, name = name.partition("/")
    deadline = time.monotonic() + timeout
    while True:
        daemonset = kubectl.json(f"--namespace={namespace}", "get", "daemonset", name)
        status = daemonset["status"]
        wanted = status.get("desiredNumberScheduled", 0)
        if (
            wanted > 0
            and status.get("observedGeneration") == daemonset["metadata"]["generation"]
            and status.get("numberReady", 0) >= wanted
            and status.get("updatedNumberScheduled", 0) >= wanted
        ):
            return
        if time.monotonic() > deadline:
            labels = ",".join(f"{k}={v}" for k, v in daemonset["spec"]["selector"]["matchLabels"].items())
            pods = kubectl.items(f"--namespace={namespace}", "get", "pods", f"--selector={labels}")
            reasons = [f"  {pod['spec'].get('nodeName', 'no node')}: {pod_state(pod)}" for pod in pods]
            raise KubectlError(
                "\n".join(
                    [
                        f"DaemonSet {namespace}/{name} does not run on every node after {timeout} s.",
                        *reasons,
                    ]
                )
            )
        time.sleep(0.5)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "objects": {"type": "list", "elements": "dict", "default": []},
            # Read by the action plugin, which gives the objects.
            "manifests": {"type": "list", "elements": "str", "default": []},
            "base": {"type": "str", "default": "."},
            "sources": {"type": "list", "elements": "dict", "default": []},
            "namespace": {"type": "str", "default": "default"},
            "wait_for_daemonset": {"type": "str", "default": ""},
            "timeout": {"type": "int", "default": 180},
            "kubeconfig": {"type": "path", "default": ADMIN_KUBECONFIG},
        },
        supports_check_mode=True,
    )
    changes = Changes(module)
    params = module.params
    objects, sources, namespace = params["objects"], params["sources"], params["namespace"]

    def fail(text: str) -> None:
        module.fail_json(msg=hidden(text, objects), invocation={})

    if not objects:
        changes.exit(objects=[], findings=[], invocation={})
    kubectl = Kubectl(params["kubeconfig"])
    if module.check_mode and not kubectl.ready():
        for obj in objects:
            changes.note(label(obj), before="", after=as_text(obj))
        changes.exit(objects=[identity(obj) for obj in objects], findings=[], invocation={})
    apply = Apply(kubectl, namespace)
    try:
        complete = apply.converge(objects, changes)
    except KubectlError as error:
        if not kubectl.ready():
            fail(f"The cluster does not answer: {error}")
        lines = refused(kubectl, objects, sources, namespace) or [str(error)]
        done = f"Applied before: {', '.join(apply.applied)}. Nothing else" if apply.applied else "Nothing"
        fail("\n".join([*lines, f"The cluster does not accept this. {done} was changed."]))
    try:
        if params["wait_for_daemonset"] and not module.check_mode:
            wait_for_daemonset(kubectl, params["wait_for_daemonset"], params["timeout"])
    except KubectlError as error:
        fail(str(error))
    # With the namespaces that the objects got, in case they named none.
    places = dict(zip((key(obj) for obj in complete[len(complete) - len(objects) :]), sources))
    changes.exit(
        objects=[identity(obj) for obj in complete], findings=as_json(findings(apply.left, places)), invocation={}
    )


if __name__ == "__main__":
    main()
