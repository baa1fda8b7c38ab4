#!/usr/bin/python
"""Ansible module addons."""

from __future__ import annotations

DOCUMENTATION = r"""
module: addons
short_description: Add-ons that are asked for work, and others are gone
description:
  - With O(step=converge), waits until every add-on that was applied works, and removes what was applied for an add-on
    that is not asked for any more. Its objects are known by their label and by the field manager C(kubestrap).
  - local-path stays, with a finding, as long as there are volumes it made; every add-on, as long as there is something
    of people's that would go with it, in its namespace or of a kind that it defines.
  - With O(step=addresses), waits a moment until Services of type LoadBalancer have their address.
version_added: 0.1.0
author: kubestrap contributors
options:
  step: {description: What to do., type: str, default: converge, choices: [converge, addresses]}
  wanted:
    description: Add-ons that are asked for.
    type: list
    elements: str
    choices: [metrics-server, local-path, metallb]
    default: []
  pool:
    description: Objects that give MetalLB its addresses, to try whether it takes them. They are not applied.
    type: list
    elements: dict
    default: []
  timeout: {description: Seconds to wait until everything works., type: int, default: 300}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Wait until the add-ons work and remove what is not asked for
  kubestrap.cluster.addons:
    wanted: [metrics-server]
"""

RETURN = r"""
removed:
  description: Add-ons that were removed.
  returned: always
  type: list
  elements: str
findings:
  description: What a person should know, each with C(id), C(severity), C(evidence) and C(fix).
  returned: always
  type: list
  elements: dict
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.addons import LABEL, POOL_NAMESPACE, addon_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, as_json, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import unserved
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import (
    Kubectl,
    KubectlError,
    as_list,
    condition,
    is_ours,
    is_ready,
    last_warnings,
    pod_state,
    rolled_out,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.patience import HINT, Patience

# Everything add-ons consist of, in the order in which it goes: what answers for the API first, so that nothing waits
# for an answer of something that is gone; what tells that an add-on is there last, so that a cut removal is seen.
KINDS = (
    "ValidatingWebhookConfiguration", "APIService", "StorageClass", "ClusterRoleBinding", "ClusterRole", "RoleBinding",
    "Role", "Service", "ConfigMap", "Secret", "ServiceAccount", "CustomResourceDefinition", "DaemonSet", "Deployment",
    "Namespace",
)  # fmt: skip
# Namespace and labels of an add-on's pods.
PODS = {
    "metrics-server": ("kube-system", "k8s-app=metrics-server"),
    "local-path": ("local-path-storage", "app=local-path-provisioner"),
    "metallb": (POOL_NAMESPACE, "app=metallb"),
}
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
LOCAL_PATH = "rancher.io/local-path"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
ADDRESS_OF_METALLB = "metallb.io/ip-allocated-from-pool"
SECONDS_FOR_ADDRESSES = 15


# What people may have put into an add-on's namespace; what is made there without them; kinds an add-on fills.
INSIDE = (
    "configmaps", "secrets", "services", "serviceaccounts", "roles", "rolebindings", "persistentvolumeclaims", "pods",
    "deployments", "daemonsets", "statefulsets", "jobs", "cronjobs", "ingresses", "replicasets",
    "replicationcontrollers", "networkpolicies", "poddisruptionbudgets", "horizontalpodautoscalers", "resourcequotas",
    "limitranges",
)  # fmt: skip
MADE_THERE = ("kube-root-ca.crt", "default", "memberlist", "metallb-memberlist", "metallb-webhook-cert")
REPORTS = ("Status", "State")


def is_made_by_people(obj: dict[str, Any]) -> bool:
    """Tell whether an object near an add-on is neither the add-on's nor made by the cluster or by other objects."""
    metadata = obj["metadata"]
    made = metadata["name"] in MADE_THERE or metadata["name"].startswith("helper-pod-")
    return not (made or addon_of(obj) or metadata.get("ownerReferences"))


def name_of(obj: dict[str, Any]) -> str:
    """Return an object's name for people."""
    return f"{obj['kind']} {obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}".replace(" /", " ")


class AddonError(Exception):
    """An add-on does not work. The text says which and why."""


class Addons:
    """The add-ons of a cluster."""

    def __init__(self, kubectl: Kubectl, changes: Changes, pool: list[dict[str, Any]]) -> None:
        """Look through this kubectl."""
        self.kubectl = kubectl
        self.changes = changes
        self.pool = pool
        self.findings: list[Finding] = []

    def wait(self, wanted: list[str], timeout: int) -> None:
        """Return when all of them work.

        Raises:
            AddonError: with what does not, and the state of its pods.
        """
        patience = Patience(timeout)
        while True:
            missing = {addon: self.missing(addon) for addon in wanted}
            if not any(missing.values()):
                return
            patience.see(missing.values())
            if patience.over():
                lines = [f"Not every add-on works after {patience.elapsed()} s. {HINT}"]
                for addon, what in missing.items():
                    if what:
                        lines += [f"  {addon}: {what}", *self.pods(addon)]
                raise AddonError("\n".join(lines))
            time.sleep(1)

    def missing(self, addon: str) -> str:
        """Return what an add-on lacks to do its work, empty when it does it."""
        namespace, labels = PODS[addon]
        workloads = self.kubectl.items(f"--namespace={namespace}", "get", "deployments,daemonsets", f"-l={LABEL}")
        unready = [obj["metadata"]["name"] for obj in workloads if addon_of(obj) == addon and not rolled_out(obj)]
        if unready:
            return f"{', '.join(unready)} (namespace {namespace}, pods {labels}) is not ready"
        return {"metrics-server": self._metrics, "local-path": self._storage, "metallb": self._pool}[addon]()

    def pods(self, addon: str) -> list[str]:
        """Return the pods of an add-on that are not ready, a line each."""
        namespace, labels = PODS[addon]
        found = self.kubectl.items(f"--namespace={namespace}", "get", "pods", f"--selector={labels}")
        warnings = last_warnings(self.kubectl, f"--namespace={namespace}")
        return [
            f"    pod {pod['metadata']['name']} on {pod['spec'].get('nodeName', 'no node')}: {pod_state(pod)}"
            f" {warned} {unserved(pod, warned)}".rstrip()
            for pod in found
            for warned in [warnings.get(f"Pod/{pod['metadata']['name']}", "")]
            if not is_ready(pod)
        ]

    def _metrics(self) -> str:
        nodes = {node["metadata"]["name"] for node in self.kubectl.items("get", "nodes") if is_ready(node)}
        try:
            measured = json.loads(self.kubectl.run("get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"))["items"]
        except KubectlError as error:
            return f"the metrics API does not answer: {error}"
        unknown = sorted(nodes - {item["metadata"]["name"] for item in measured})
        return f"no measurement yet of {', '.join(unknown)}" if unknown else ""

    def _storage(self) -> str:
        classes = self.kubectl.items("get", "storageclasses")
        default = [one for one in classes if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"]
        return "" if default else "there is no default StorageClass"

    def _pool(self) -> str:
        try:
            self.kubectl.apply(self.pool, dry_run=True, force=True)
        except KubectlError as error:
            # Its webhook answers a little later than its pods are ready.
            if "failed calling webhook" in str(error):
                return f"its webhook does not answer: {error}"
            raise AddonError(f"MetalLB does not take the addresses of cluster_metallb_addresses: {error}") from error
        return ""

    def remove(self, wanted: list[str]) -> list[str]:
        """Remove add-ons that are here and not asked for; return their names."""
        listed = self.kubectl.items(
            "get", ",".join(KINDS), "--all-namespaces", f"--selector={LABEL}", "--show-managed-fields"
        )
        ours = [obj for obj in listed if is_ours(obj) and addon_of(obj) in PODS]
        removed = []
        for addon in sorted({addon_of(obj) for obj in ours} - set(wanted)):
            own = [obj for obj in ours if addon_of(obj) == addon]
            if (addon == "local-path" and self._volumes()) or self._in_use(addon, own):
                continue
            removed.append(addon)
            self._remove(own)
            if addon == "metallb":
                self._release()
        return removed

    def _volumes(self) -> list[str]:
        """Return the volumes that local-path made; with them comes a finding."""
        volumes = []
        for volume in self.kubectl.items("get", "persistentvolumes"):
            if (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) == LOCAL_PATH:
                claim = volume["spec"].get("claimRef") or {}
                volumes.append(f"{claim.get('namespace')}/{claim.get('name')} ({volume['metadata']['name']})")
        if volumes:
            self.findings.append(
                warning(
                    "addon-has-volumes",
                    "local-path is not in cluster_addons any more, and stays, because it keeps volumes of: "
                    f"{', '.join(sorted(volumes))}.",
                    "When their data is needed no more: `kubectl delete pvc`, then run this again. Else put it "
                    "back into cluster_addons.",
                )
            )
        return volumes

    def _in_use(self, addon: str, own: list[dict[str, Any]]) -> list[str]:
        """Return what people made that would go with an add-on; with it comes a finding."""
        spaces = [obj["metadata"]["name"] for obj in own if obj["kind"] == "Namespace"]
        kinds = [",".join(INSIDE), ",".join(self._kinds_of_others(own))] if spaces else []
        listed = [
            obj
            for name in spaces
            for kind in filter(None, kinds)
            for obj in self.kubectl.items(f"--namespace={name}", "get", kind)
        ]
        for obj in own:
            # Objects of such kinds are what the add-on itself reports.
            if obj["kind"] == "CustomResourceDefinition" and not obj["spec"]["names"]["kind"].endswith(REPORTS):
                listed += self.kubectl.items("get", obj["metadata"]["name"], "--all-namespaces")
        found = sorted({name_of(obj) for obj in listed if is_made_by_people(obj)})
        if found:
            self.findings.append(
                warning(
                    "addon-in-use",
                    f"{addon} is not in cluster_addons any more, and stays: with it would go, "
                    f"which it did not bring: {', '.join(found)}.",
                    "Move or delete what is needed no more, then run this again. Else put the add-on back into "
                    "cluster_addons.",
                )
            )
        return found

    def _kinds_of_others(self, own: list[dict[str, Any]]) -> list[str]:
        """Return the kinds that other programs brought and of which there may be objects in a namespace."""
        ours = {obj["metadata"]["name"] for obj in own}
        return [
            obj["metadata"]["name"]
            for obj in self.kubectl.items("get", "customresourcedefinitions")
            if obj["metadata"]["name"] not in ours
            and obj.get("spec", {}).get("scope") == "Namespaced"
            and condition(obj, "Established").get("status") != "False"
        ]

    def _remove(self, objects: list[dict[str, Any]]) -> None:
        going = {obj["metadata"]["name"] for obj in objects if obj["kind"] == "Namespace"}
        for obj in objects:
            namespace = obj["metadata"].get("namespace")
            name = f"{namespace}/{obj['metadata']['name']}" if namespace else obj["metadata"]["name"]
            self.changes.note(f"{obj['kind']} {name}", before="present\n", after="")
        # What is in a namespace goes with it.
        chosen = [obj for obj in objects if obj["metadata"].get("namespace") not in going]
        chosen.sort(key=lambda obj: KINDS.index(obj["kind"]))
        if not self.changes.module.check_mode:
            self.kubectl.run(
                "delete", "--ignore-not-found", "--timeout=150s", "-f", "-", stdin=as_list(chosen), timeout=180
            )

    def _release(self) -> None:
        """Take from Services the addresses that nobody answers for any more."""
        for service in self.kubectl.items("get", "services", "--all-namespaces"):
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            if ADDRESS_OF_METALLB not in (service["metadata"].get("annotations") or {}):
                continue
            addresses = [entry.get("ip", "") for entry in service["status"]["loadBalancer"].get("ingress") or []]
            self.changes.note(f"Service {namespace}/{name}", before=f"address {', '.join(addresses)}\n", after="")
            if not self.changes.module.check_mode:
                one = (f"--namespace={namespace}", "patch", "service", name, "--type=merge")
                self.kubectl.run(*one, "--subresource=status", '-p={"status":{"loadBalancer":null}}')
                self.kubectl.run(*one, f'-p={{"metadata":{{"annotations":{{"{ADDRESS_OF_METALLB}":null}}}}}}')

    def addresses(self) -> None:
        """Wait until Services have the addresses they ask for, or say which have none."""
        deadline = time.monotonic() + SECONDS_FOR_ADDRESSES
        while True:
            without = [
                f"{service['metadata']['namespace']}/{service['metadata']['name']}"
                for service in self.kubectl.items("get", "services", "--all-namespaces")
                if service["spec"]["type"] == "LoadBalancer"
                and not service["spec"].get("loadBalancerClass")
                and not service["status"]["loadBalancer"].get("ingress")
            ]
            if not without:
                return
            if time.monotonic() > deadline:
                break
            time.sleep(0.5)
        self.findings.append(
            warning(
                "service-without-address",
                f"Services that got no address: {', '.join(without)}.",
                "`kubectl describe service` says why; more cluster_metallb_addresses help when all are taken.",
            )
        )


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "step": {"type": "str", "default": "converge", "choices": ["converge", "addresses"]},
            "wanted": {"type": "list", "elements": "str", "choices": list(PODS), "default": []},
            "pool": {"type": "list", "elements": "dict", "default": []},
            "timeout": {"type": "int", "default": 300},
        },
        supports_check_mode=True,
    )
    params = module.params
    changes = Changes(module)
    kubectl = Kubectl()
    addons = Addons(kubectl, changes, params["pool"])
    removed: list[str] = []
    if module.check_mode and not kubectl.ready():
        changes.exit(removed=removed, findings=[])
    try:
        if params["step"] == "addresses":
            addons.addresses()
        else:
            if not module.check_mode:
                addons.wait(params["wanted"], params["timeout"])
            removed = addons.remove(params["wanted"])
    except (AddonError, KubectlError) as error:
        module.fail_json(msg=str(error))
    changes.exit(removed=removed, findings=as_json(addons.findings))


if __name__ == "__main__":
    main()
