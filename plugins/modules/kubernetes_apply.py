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
author: kubestrap
options:
  objects: {description: The objects., type: list, elements: dict, required: true}
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
"""

EXAMPLES = r"""
- name: Apply the objects
  kubestrap.cluster.kubernetes_apply:
    objects: "{{ objects }}"
"""

RETURN = r"""
objects:
  description: What was applied, as kind, namespace and name.
  returned: always
  type: list
  elements: dict
"""

import copy
import json
import time
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    ADMIN_KUBECONFIG,
    Kubectl,
    KubectlError,
    as_list,
    is_ours,
    pod_state,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.refusals import explain

# Written by the API server with every change; says nothing about what was asked for.
BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")
CLUSTER_WIDE = frozenset(
    {
        "APIService", "CSIDriver", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass",
        "MutatingWebhookConfiguration", "Namespace", "PersistentVolume", "PriorityClass", "RuntimeClass",
        "StorageClass", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
    }
)  # fmt: skip


def key(obj: dict[str, Any]) -> tuple[str, str, str]:
    """Return what tells objects apart: kind, namespace, name."""
    return obj["kind"], obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def label(obj: dict[str, Any]) -> str:
    """Return an object's name for people."""
    kind, namespace, name = key(obj)
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
    if obj["kind"] == "Secret":
        shown = {name: value for name, value in shown.items() if name not in ("data", "stringData")}
    return json.dumps(shown, indent=2, sort_keys=True) + "\n"


class Apply:
    """Objects on their way into the cluster."""

    def __init__(self, kubectl: Kubectl, changes: Optional[Changes], namespace: str) -> None:
        """Use this namespace for objects that name none."""
        self.kubectl = kubectl
        self.changes = changes
        self.namespace = namespace

    def complete(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the objects with their namespace, and the namespace itself first when it has to be made."""
        complete = copy.deepcopy(objects)
        custom = {
            obj["spec"]["names"]["kind"]: obj["spec"].get("scope")
            for obj in complete
            if obj["kind"] == "CustomResourceDefinition"
        }
        for obj in complete:
            if obj["kind"] not in CLUSTER_WIDE and custom.get(obj["kind"]) != "Cluster":
                obj["metadata"].setdefault("namespace", self.namespace)
        used = any(obj["metadata"].get("namespace") == self.namespace for obj in complete)
        if used and not any(key(obj) == ("Namespace", "", self.namespace) for obj in complete):
            found = self.kubectl.items("get", "namespace", self.namespace, "--ignore-not-found")
            # One that somebody else made stays theirs.
            if not found or is_ours(found[0]):
                own = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
                complete.insert(0, own)
        return complete

    def look(self, objects: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
        """Return those of the objects that exist, by key."""
        listed = self.kubectl.items(
            "get", "--ignore-not-found", "--show-managed-fields", "-f", "-", stdin=as_list(objects)
        )
        return {key(obj): obj for obj in listed}

    def trial(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what the API would make of the objects, without doing it.

        What belongs into a namespace that is not there yet is tried in the default one.
        """
        coming = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        if coming:
            there = self.kubectl.items("get", "namespaces")
            coming -= {obj["metadata"]["name"] for obj in there}
        defined = {obj["spec"]["names"]["kind"] for obj in objects if obj["kind"] == "CustomResourceDefinition"}
        tried = copy.deepcopy([obj for obj in objects if obj["kind"] not in defined])
        for obj in tried:
            if obj["metadata"].get("namespace") in coming:
                obj["metadata"]["namespace"] = "default"
        results = self.kubectl.apply(tried, dry_run=True)
        if coming:
            for wanted, result in zip([obj for obj in objects if obj["kind"] not in defined], results):
                if "namespace" in wanted["metadata"]:
                    result["metadata"]["namespace"] = wanted["metadata"]["namespace"]
        return results

    def converge(self, objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Apply what differs; return all objects, complete."""
        wanted = self.complete(objects)
        if not wanted:
            return []
        before = self.look([obj for obj in wanted if not self._unknown_kind(obj, wanted)])
        after = {key(obj): obj for obj in self.trial(wanted)}
        for obj in wanted:
            was, will = before.get(key(obj)), after.get(key(obj), obj)
            if was is None:
                self.changes.note(label(obj), before="", after=as_text(will))
            elif substance(was) != substance(will) or (has_fields(obj) and not is_ours(was)):
                self.changes.note(label(obj), before=as_text(was), after=as_text(will))
        if self.changes and not self.changes.module.check_mode:
            first = [obj for obj in wanted if obj["kind"] in ("Namespace", "CustomResourceDefinition")]
            rest = [obj for obj in wanted if obj not in first]
            definitions = [
                f"crd/{obj['metadata']['name']}" for obj in first if obj["kind"] == "CustomResourceDefinition"
            ]
            if first:
                self.kubectl.apply(first)
            if definitions:
                self.kubectl.run("wait", "--for=condition=Established", "--timeout=60s", *definitions, timeout=90)
            if rest:
                self.kubectl.apply(rest)
        return wanted

    def _unknown_kind(self, obj: dict[str, Any], wanted: list[dict[str, Any]]) -> bool:
        """Tell whether the API learns this object's kind only from a definition among the objects."""
        definitions = {
            other["spec"]["names"]["kind"]: other["metadata"]["name"]
            for other in wanted
            if other["kind"] == "CustomResourceDefinition"
        }
        if obj["kind"] not in definitions:
            return False
        return not self.kubectl.items("get", "crd", definitions[obj["kind"]], "--ignore-not-found")


def refused(
    kubectl: Kubectl, objects: list[dict[str, Any]], sources: list[dict[str, Any]], namespace: str
) -> list[str]:
    """Return a line for each mistake for which the API refuses an object: where it stands, and what it is."""
    lines = []
    # What others of the objects need to be tried at all.
    grounds = [obj for obj in objects if obj["kind"] in ("Namespace", "CustomResourceDefinition")]
    for number, obj in enumerate(objects):
        trial = Apply(kubectl, None, namespace)
        around = [other for other in grounds if other is not obj]
        try:
            trial.trial(trial.complete([*around, obj]))
        except KubectlError as error:
            source = sources[number] if number < len(sources) else {}
            lines += [f"{line} ({label(obj)})" for line in explain(str(error), obj, source)]
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
            "objects": {"type": "list", "elements": "dict", "required": True},
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
    kubectl = Kubectl(params["kubeconfig"])
    if module.check_mode and not kubectl.ready():
        for obj in params["objects"]:
            changes.note(label(obj), before="", after=as_text(obj))
        changes.exit(objects=[])
    try:
        objects = Apply(kubectl, changes, params["namespace"]).converge(params["objects"])
    except KubectlError as error:
        if changes:
            module.fail_json(msg=f"The cluster accepted the objects when they were tried, but not now: {error}")
        if not kubectl.ready():
            module.fail_json(msg=f"The cluster does not answer: {error}")
        lines = refused(kubectl, params["objects"], params["sources"], params["namespace"]) or [str(error)]
        module.fail_json(msg="\n".join([*lines, "The cluster does not accept this. Nothing was changed."]))
    try:
        if params["wait_for_daemonset"] and not module.check_mode:
            wait_for_daemonset(kubectl, params["wait_for_daemonset"], params["timeout"])
    except KubectlError as error:
        module.fail_json(msg=str(error))
    changes.exit(objects=[dict(zip(("kind", "namespace", "name"), key(obj))) for obj in objects])


if __name__ == "__main__":
    main()
