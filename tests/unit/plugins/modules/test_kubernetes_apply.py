"""What is applied, and what counts as a change."""

import copy
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.field_owners import conflicts, without
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.module_utils.refusals import hidden
from ansible_collections.kubestrap.cluster.plugins.modules.kubernetes_apply import (
    LAST_APPLIED,
    Apply,
    as_text,
    findings,
    key,
    refused,
)

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}


CORE = {"Namespace": False, "Service": True, "ConfigMap": True, "Secret": True, "Deployment": True}


class Api:
    """An API server that keeps what is applied, and refuses what has no spec but needs one."""

    def __init__(self, *namespaces: str) -> None:
        self.applied: list[tuple[str, ...]] = []
        self.kinds = {
            "v1": dict(CORE),
            "apps/v1": {"Deployment": True},
            "rbac.authorization.k8s.io/v1": {"ClusterRole": False},
            "apiextensions.k8s.io/v1": {"CustomResourceDefinition": False},
            "cert-manager.io/v1": {"ClusterIssuer": False},
            "gateway.networking.k8s.io/v1": {"Gateway": True},
            "networking.istio.io/v1": {"Gateway": True},
        }
        self.down = ""
        self.objects: dict[tuple[str, ...], dict[str, Any]] = {
            ("", "Namespace", "", name): {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in namespaces
        }

    def run(self, *arguments: str, timeout: int = 60) -> str:
        if arguments[0] == "wait":
            assert timeout > 60
            return ""
        version = arguments[2].removeprefix("/apis/").removeprefix("/api/")
        if version == self.down:
            raise KubectlError("the server is currently unable to handle the request")
        if version not in self.kinds:
            raise KubectlError("Error from server (NotFound): the server could not find the requested resource")
        kinds = self.kinds[version].items()
        return json.dumps({"resources": [{"name": k.lower(), "kind": k, "namespaced": inside} for k, inside in kinds]})

    def items(self, *arguments: str, stdin: str | None = None) -> list[dict[str, Any]]:
        if "namespaces" in arguments:
            return [obj for obj in self.objects.values() if obj["kind"] == "Namespace"]
        if "namespace" in arguments:
            found = self.objects.get(("", "Namespace", "", arguments[2]))
            return [found] if found else []
        asked = [json.loads(text) for text in (stdin or "").splitlines()]
        return [copy.deepcopy(self.objects[key(obj)]) for obj in asked if key(obj) in self.objects]

    def apply(self, objects: list[dict[str, Any]], *, dry_run: bool = False, force: bool) -> list[dict[str, Any]]:
        assert force
        results = []
        for obj in objects:
            namespace = obj["metadata"].get("namespace", "")
            if obj["kind"] not in self.kinds.get(obj["apiVersion"], {}):
                raise KubectlError(f'no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"')
            if namespace and ("", "Namespace", "", namespace) not in self.objects:
                raise KubectlError(f'namespaces "{namespace}" not found')
            if obj["kind"] == "Service" and "spec" not in obj:
                raise KubectlError("spec.ports: Required value")
            result = self.merged(copy.deepcopy(obj))
            results.append(result)
            if not dry_run:
                self.objects[key(obj)] = result
                self.applied.append(key(obj))
                if obj["kind"] == "CustomResourceDefinition":
                    spec = obj["spec"]
                    self.kinds[f"{spec['group']}/v1"] = {spec["names"]["kind"]: spec["scope"] == "Namespaced"}
        return results

    def merged(self, obj: dict[str, Any]) -> dict[str, Any]:
        others = self.objects.get(key(obj), {}).get("metadata", {}).get("managedFields", [])
        others = [entry for entry in others if entry["manager"] != "kubestrap"]
        if obj["kind"] == "Route":
            # A default of the schema.
            obj.setdefault("spec", {}).setdefault("weight", 1)
        if obj["kind"] == "Deployment" and key(obj) in self.objects:
            obj["spec"] = {**self.objects[key(obj)]["spec"], **obj["spec"]}
        obj["metadata"].update(resourceVersion="7", managedFields=[{"manager": "kubestrap"}, *others])
        return obj


def changes(*, check_mode: bool = False) -> Changes:
    return Changes(SimpleNamespace(check_mode=check_mode))  # type: ignore[arg-type]


def converge(api: Api, *objects: dict[str, Any], check_mode: bool = False) -> Changes:
    noted = changes(check_mode=check_mode)
    Apply(api, "web").converge(list(objects), noted)  # type: ignore[arg-type]
    return noted


def test_the_namespace_comes_first_and_only_where_it_belongs() -> None:
    api = Api("default")
    assert converge(api, SERVICE, ROLE)
    assert api.applied == [
        ("", "Namespace", "", "web"),
        ("", "Service", "web", "shop"),
        (ROLE["apiVersion"][:-3], "ClusterRole", "", "reader"),
    ]


def test_the_second_time_nothing_is_applied() -> None:
    api = Api("default")
    converge(api, SERVICE, ROLE)
    api.applied.clear()
    assert not converge(api, SERVICE, ROLE)
    assert api.applied == []


def test_a_namespace_of_somebody_else_stays_theirs() -> None:
    api = Api("default", "web")
    converge(api, SERVICE)
    assert ("", "Namespace", "", "web") not in api.applied


def test_a_bare_namespace_among_the_objects_is_no_change_the_second_time() -> None:
    api = Api("default", "shop")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    inside = {**SERVICE, "metadata": {"name": "shop", "namespace": "shop"}}
    converge(api, space, inside)
    # The API server notes nobody as the manager of no field.
    api.objects["", "Namespace", "", "shop"] = space
    assert not converge(api, space, inside)


def test_check_mode_tells_the_same_and_does_nothing() -> None:
    api = Api("default")
    noted = converge(api, SERVICE, check_mode=True)
    assert [entry["after_header"] for entry in noted.diff] == ["Namespace web", "Service web/shop"]
    assert api.applied == []


def test_one_bad_object_means_nothing_is_applied() -> None:
    api = Api("default")
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}}
    with pytest.raises(KubectlError):
        converge(api, SERVICE, bad)
    assert api.applied == []
    sources = [{"file": "shop.yaml", "lines": {"": 1}}, {"file": "shop.yaml", "lines": {"": 5}}]
    lines = refused(api, [SERVICE, bad], sources, "web")  # type: ignore[arg-type]
    assert lines == ["shop.yaml:5: spec.ports: Required value (Service bad)"]


def test_an_object_in_a_namespace_that_comes_along_is_not_to_blame() -> None:
    api = Api("default")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    inside = {**SERVICE, "metadata": {"name": "shop", "namespace": "shop"}}
    bad = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bad"}}
    assert refused(api, [space, inside, bad], [], "web") == ["spec.ports: Required value (Service bad)"]  # type: ignore[arg-type]


def test_what_a_secret_holds_is_not_in_the_diff() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"password": "aHVzaA=="},
        "stringData": {"x": "hush"},
    }
    assert "hush" not in as_text(secret)
    assert "aHVzaA" not in as_text(secret)
    exported = {**secret, "metadata": {"name": "s", "annotations": {LAST_APPLIED: '{"data":"aHVzaA=="}', "a": "b"}}}
    assert "aHVzaA" not in as_text(exported)
    assert '"a": "b"' in as_text(exported)


def test_gateways() -> None:
    api = Api("default", "web")
    one = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "web"},
        "spec": {"a": 1},
    }
    two = {**one, "apiVersion": "networking.istio.io/v1"}
    converge(api, one, two)
    noted = converge(api, {**one, "spec": {"a": 2}}, two)
    assert len(noted.diff) == 1
    assert api.objects["gateway.networking.k8s.io", "Gateway", "web", "web"]["spec"] == {"a": 2}


def test_issuer() -> None:
    api = Api("default", "web")
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "site"}, "spec": {}}
    converge(api, issuer)
    assert api.applied == [("cert-manager.io", "ClusterIssuer", "", "site")]
    assert not converge(api, issuer)
    assert not converge(api, {**issuer, "metadata": {"name": "site", "namespace": "web"}})


def test_emptyns() -> None:
    api = Api("default", "web")
    one = {**SERVICE, "metadata": {"name": "a", "namespace": None}}
    two = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": ""}}
    converge(api, one, two)
    assert [found[2] for found in api.applied] == ["web", "web"]
    assert not converge(api, one, two)


def _definition() -> tuple[dict[str, Any], dict[str, Any]]:
    spec = {"group": "demo.example.org", "scope": "Namespaced", "names": {"kind": "Route", "plural": "routes"}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "routes.demo.example.org"}, "spec": spec,
    }  # fmt: skip
    return definition, {
        "apiVersion": "demo.example.org/v1",
        "kind": "Route",
        "metadata": {"name": "web"},
        "spec": {"to": "a"},
    }


def test_crdcr() -> None:
    api = Api("default", "web")
    definition, route = _definition()
    # In any order.
    assert [entry["after_header"] for entry in converge(api, route, definition).diff] == [
        f"CustomResourceDefinition {definition['metadata']['name']}",
        "Route web/web",
    ]
    assert [found[1] for found in api.applied] == ["CustomResourceDefinition", "Route"]
    # The schema's default is no change.
    assert not converge(api, route, definition)


def test_check_mode_tells_what_comes_after_its_definition() -> None:
    api = Api("default", "web")
    noted = converge(api, *_definition(), check_mode=True)
    assert [entry["after_header"].split()[0] for entry in noted.diff] == ["CustomResourceDefinition", "Route"]
    assert api.applied == []


def test_a_kind_that_nobody_defines_is_refused_and_nothing_is_applied() -> None:
    api = Api("default", "web")
    _, route = _definition()
    with pytest.raises(KubectlError, match="no matches for kind"):
        converge(api, SERVICE, route)
    assert api.applied == []


def test_who_cannot_ask_what_a_kind_is_does_nothing() -> None:
    api = Api("default", "web")
    api.down = "cert-manager.io/v1"
    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "site"}, "spec": {}}
    with pytest.raises(KubectlError, match="unable to handle"):
        converge(api, issuer)


def test_an_object_that_is_there_twice_is_refused() -> None:
    with pytest.raises(KubectlError, match="Service web/shop is there twice"):
        converge(Api("default", "web"), SERVICE, {**SERVICE, "metadata": {"name": "shop", "namespace": "web"}})


def test_a_trial_in_another_namespace_does_not_meet_what_is_there() -> None:
    api = Api("default")
    api.objects["", "Service", "default", "shop"] = {**SERVICE, "metadata": {"name": "shop", "namespace": "default"}}
    assert [entry["before"] for entry in converge(api, SERVICE).diff] == ["", ""]


REPLICAS = {"f:spec": {"f:replicas": {}}}


def _deployment(manager: str) -> tuple[Api, dict[str, Any]]:
    """An app of which a manager has set the replicas to 3."""
    api = Api("default", "web")
    app = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "image": "x"},
    }
    converge(api, app)
    there = api.objects["apps", "Deployment", "web", "a"]
    there["spec"]["replicas"] = 3
    there["metadata"]["managedFields"].append({"manager": manager, "fieldsV1": REPLICAS})
    return api, app


def test_the_field_of_an_autoscaler_is_left_to_it_and_told() -> None:
    api, app = _deployment("kube-controller-manager")
    noted = changes()
    apply = Apply(api, "web")  # type: ignore[arg-type]
    complete = apply.converge([app], noted)
    assert not noted
    (told,) = findings(apply.left, {key(complete[0]): {"file": "a.yaml", "lines": {"spec.replicas": 7}}})
    assert told.id == "field-of-another"
    assert "spec.replicas was left at 3, which kube-controller-manager set" in told.evidence
    assert "(a.yaml:7)" in told.fix
    # What else differs is applied without it.
    assert converge(api, {**app, "spec": {"replicas": 1, "image": "y"}})
    assert api.objects["apps", "Deployment", "web", "a"]["spec"] == {"replicas": 3, "image": "y"}


def test_what_was_typed_by_hand_gives_way_to_the_manifest() -> None:
    api, app = _deployment("kubectl-edit")
    assert converge(api, app)
    assert api.objects["apps", "Deployment", "web", "a"]["spec"]["replicas"] == 1


def test_a_field_of_another_is_found_in_lists_by_their_keys() -> None:
    fields = {"f:spec": {"f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:nodePort": {}}}, "f:x": {}}}
    was = {
        "metadata": {"managedFields": [{"manager": "other", "fieldsV1": fields}]},
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30001}]},
    }
    obj = {"metadata": {}, "spec": {"ports": [{"port": 79}, {"port": 80, "nodePort": 30002, "name": "a"}]}}
    will = {"metadata": {}, "spec": {"ports": [{"port": 80, "protocol": "TCP", "nodePort": 30002}]}}
    (found,) = conflicts(was, will, obj, own="kubestrap")
    assert (found.path, found.manager, found.value) == ("spec.ports[1].nodePort", "other", 30001)
    assert without(obj, [found])["spec"]["ports"] == [{"port": 79}, {"port": 80, "name": "a"}]


def test_what_a_secret_holds_is_hidden_in_any_text() -> None:
    secret = {
        "kind": "Secret",
        "data": {"a": "aHVzaC1odXNo", "n": 5},
        "stringData": {"b": "line one\nline two", "c": ""},
    }
    said = "a hush-hush aHVzaC1odXNo 'line two' bGluZSBvbmUKbGluZSB0d28= line one\\nline two"
    assert hidden(said, [secret, {"kind": "ConfigMap", "data": {"a": "said"}}]) == (
        "a (secret) (secret) '(secret)' (secret) (secret)"
    )
