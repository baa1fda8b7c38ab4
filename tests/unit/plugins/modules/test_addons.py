"""When an add-on works, and what goes when it is not asked for any more."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.modules import addons as module
from ansible_collections.kubestrap.cluster.plugins.modules.addons import INSIDE as KINDS_INSIDE
from ansible_collections.kubestrap.cluster.plugins.modules.addons import AddonError, Addons

Objects = list[dict[str, Any]]
INSIDE = ",".join(KINDS_INSIDE)


def obj(kind: str, name: str, *, addon: str = "", namespace: str = "", manager: str = "kubestrap") -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "managedFields": [{"manager": manager}]}
    if addon:
        metadata["labels"] = {"kubestrap/addon": addon}
    if namespace:
        metadata["namespace"] = namespace
    return {"kind": kind, "metadata": metadata}


def volume(name: str, claim: str, provisioner: str) -> dict[str, Any]:
    return {
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": {"claimRef": {"namespace": "default", "name": claim}},
    }


def service(name: str, *, address: str = "", of_metallb: bool = False) -> dict[str, Any]:
    ingress = {"ingress": [{"ip": address}]} if address else {}
    annotations = {"metallb.io/ip-allocated-from-pool": "kubestrap"} if of_metallb else {}
    return {
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "annotations": annotations},
        "spec": {"type": "LoadBalancer"},
        "status": {"loadBalancer": ingress},
    }


class Api:
    """A cluster that has these objects, and notes what is done to it."""

    def __init__(
        self,
        labelled: Objects | None = None,
        *,
        volumes: Objects | None = None,
        services: Objects | None = None,
        nodes: Objects | None = None,
    ) -> None:
        self.lists = {"persistentvolumes": volumes or [], "services": services or [], "nodes": nodes or []}
        self.labelled = labelled or []
        self.deleted: list[tuple[str, str]] = []
        self.patched: list[tuple[str, ...]] = []
        self.webhook: str | None = None
        self.measured: list[str] = []

    def items(self, *arguments: str) -> Objects:
        words = [word for word in arguments if not word.startswith("--")]
        return list(self.lists.get(words[1], self.labelled))

    def apply(self, _objects: Objects, *, dry_run: bool, force: bool) -> None:
        assert dry_run
        assert force
        if self.webhook:
            raise KubectlError(self.webhook)

    def run(self, *arguments: str, stdin: str = "", timeout: int = 0) -> str:
        if "delete" in arguments:
            assert timeout
            objects = [json.loads(document) for document in stdin.splitlines()]
            self.deleted += [(one["kind"], one["metadata"]["name"]) for one in objects]
        elif "patch" in arguments:
            self.patched.append(arguments)
        else:
            return json.dumps({"items": [{"metadata": {"name": name}} for name in self.measured]})
        return ""


def addons(api: Api, *, check_mode: bool = False) -> Addons:
    return Addons(api, Changes(SimpleNamespace(check_mode=check_mode)), [{}])  # type: ignore[arg-type]


METALLB = [
    obj("Namespace", "metallb-system", addon="metallb"),
    obj("Deployment", "controller", addon="metallb", namespace="metallb-system"),
    {
        **obj("CustomResourceDefinition", "ipaddresspools.metallb.io", addon="metallb"),
        "spec": {"names": {"kind": "IPAddressPool"}},
    },
    {
        **obj("CustomResourceDefinition", "servicel2statuses.metallb.io", addon="metallb"),
        "spec": {"names": {"kind": "ServiceL2Status"}},
    },
    obj("ValidatingWebhookConfiguration", "metallb", addon="metallb"),
]


def test_what_is_asked_for_stays() -> None:
    api = Api(METALLB)
    subject = addons(api)
    assert subject.remove(["metallb"]) == []
    assert (api.deleted, bool(subject.changes)) == ([], False)


def test_removal_ends_with_what_tells_that_the_addon_is_there() -> None:
    api = Api(METALLB)
    assert addons(api).remove([]) == ["metallb"]
    assert [kind for kind, _ in api.deleted] == [
        "ValidatingWebhookConfiguration",
        "CustomResourceDefinition",
        "CustomResourceDefinition",
        "Namespace",
    ]


@pytest.mark.parametrize(
    ("kind", "name"), [("IPAddressPool", "theirs"), ("ConfigMap", "settings"), ("Secret", "bgp"), ("Pod", "debug")]
)
def test_what_people_made_keeps_the_addon_and_the_finding_names_it(kind: str, name: str) -> None:
    api = Api(METALLB)
    theirs = obj(kind, name, namespace="metallb-system", manager="kubectl-create")
    api.lists["ipaddresspools.metallb.io" if kind == "IPAddressPool" else INSIDE] = [theirs]
    subject = addons(api)
    assert subject.remove([]) == []
    assert api.deleted == []
    (finding,) = subject.findings
    assert finding.id == "addon-in-use"
    assert f"{kind} metallb-system/{name}" in finding.evidence


@pytest.mark.parametrize("kind", ["networkpolicies", "poddisruptionbudgets", "resourcequotas", "replicasets"])
def test_every_usual_kind_in_the_namespace_of_an_addon_is_looked_for(kind: str) -> None:
    assert kind in INSIDE.split(",")


def test_an_object_of_another_programs_kind_keeps_the_addon_too() -> None:
    api = Api(METALLB)
    api.lists["customresourcedefinitions"] = [
        {**obj("CustomResourceDefinition", name, manager="helm"), "spec": {"scope": scope, "names": {"kind": kind}}}
        for name, scope, kind in (
            ("servicemonitors.monitoring.coreos.com", "Namespaced", "ServiceMonitor"),
            ("clusterissuers.cert-manager.io", "Cluster", "ClusterIssuer"),
        )
    ]
    monitor = obj("ServiceMonitor", "theirs", namespace="metallb-system", manager="helm")
    api.lists["servicemonitors.monitoring.coreos.com"] = [monitor]
    subject = addons(api)
    assert subject.remove([]) == []
    assert api.deleted == []
    assert "ServiceMonitor metallb-system/theirs" in subject.findings[0].evidence


def test_what_the_cluster_and_the_addon_made_does_not_keep_it() -> None:
    api = Api(METALLB)
    owned = obj("Pod", "controller-1", namespace="metallb-system", manager="kube-controller-manager")
    owned["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet"}]
    made = ["kube-root-ca.crt", "metallb-memberlist", "metallb-webhook-cert"]
    api.lists[INSIDE] = [owned, *(obj("Secret", name, namespace="metallb-system") for name in made)]
    api.lists["servicel2statuses.metallb.io"] = [obj("ServiceL2Status", "l2-1", namespace="metallb-system")]
    assert addons(api).remove([]) == ["metallb"]


def test_what_somebody_else_applied_stays() -> None:
    api = Api([obj("Namespace", "metallb-system", addon="metallb", manager="helm")])
    assert addons(api).remove([]) == []


def test_check_mode_only_tells() -> None:
    api = Api(METALLB, services=[service("shop", address="192.0.2.7", of_metallb=True)])
    subject = addons(api, check_mode=True)
    assert subject.remove([]) == ["metallb"]
    assert (api.deleted, api.patched) == ([], [])
    assert "Service default/shop" in [entry["before_header"] for entry in subject.changes.diff]


def test_services_lose_an_address_nobody_answers_for_and_no_other() -> None:
    services = [service("shop", address="192.0.2.7", of_metallb=True), service("cloud", address="192.0.2.8")]
    api = Api(METALLB, services=services)
    addons(api).remove([])
    assert {arguments[3] for arguments in api.patched} == {"shop"}
    assert any("--subresource=status" in arguments for arguments in api.patched)


def test_volumes_keep_local_path_and_the_finding_names_them() -> None:
    storage = [obj("Namespace", "local-path-storage", addon="local-path")]
    api = Api(storage, volumes=[volume("pvc-1", "data-db-0", "rancher.io/local-path")])
    subject = addons(api)
    assert subject.remove([]) == []
    assert api.deleted == []
    (finding,) = subject.findings
    assert finding.id == "addon-has-volumes"
    assert (finding.severity, "default/data-db-0 (pvc-1)" in finding.evidence) == ("warning", True)


def test_volumes_of_others_do_not_keep_local_path() -> None:
    storage = [obj("Namespace", "local-path-storage", addon="local-path")]
    api = Api(storage, volumes=[volume("pvc-1", "data-db-0", "nfs.example")])
    assert addons(api).remove([]) == ["local-path"]


def test_metrics_are_there_when_every_ready_node_is_measured() -> None:
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    nodes = [{**obj("Node", name), "status": ready} for name in ("cp1", "worker1")]
    api = Api(nodes=[*nodes, {**obj("Node", "down"), "status": {}}])
    api.measured = ["cp1"]
    assert addons(api).missing("metrics-server") == "no measurement yet of worker1"
    api.measured.append("worker1")
    assert addons(api).missing("metrics-server") == ""


def test_workload_that_is_not_rolled_out_is_named() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "controller", "generation": 1, "labels": {"kubestrap/addon": "metallb"}},
        "spec": {"replicas": 1},
        "status": {},
    }
    assert "controller" in addons(Api([deployment])).missing("metallb")


def test_webhook_is_waited_for_and_bad_addresses_are_not() -> None:
    api = Api()
    api.webhook = 'failed calling webhook "x": connection refused'
    assert "webhook" in addons(api).missing("metallb")
    api.webhook = "CIDR overlaps with already defined CIDR"
    with pytest.raises(AddonError, match="cluster_metallb_addresses"):
        addons(api).missing("metallb")


def test_service_without_address_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_FOR_ADDRESSES", -1)
    subject = addons(Api(services=[service("shop"), service("other", address="192.0.2.9")]))
    subject.addresses()
    (finding,) = subject.findings
    assert finding.id == "service-without-address"
    assert "default/shop" in finding.evidence
    assert "other" not in finding.evidence
