"""What is applied, and what counts as a change."""

import copy
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.modules.kubernetes_apply import Apply, as_text, key, refused

SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": {"ports": [{"port": 80}]}}
ROLE = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}}


class Api:
    """An API server that keeps what is applied, and refuses what has no spec but needs one."""

    def __init__(self, *namespaces: str) -> None:
        self.applied: list[tuple[str, str, str]] = []
        self.objects = {
            ("Namespace", "", name): {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in namespaces
        }

    def items(self, *arguments: str, stdin: str | None = None) -> list[dict[str, Any]]:
        if "namespaces" in arguments:
            return [obj for obj in self.objects.values() if obj["kind"] == "Namespace"]
        if "namespace" in arguments:
            found = self.objects.get(("Namespace", "", arguments[2]))
            return [found] if found else []
        return list(self.objects.values()) if stdin else []

    def apply(self, objects: list[dict[str, Any]], *, dry_run: bool = False) -> list[dict[str, Any]]:
        results = []
        for obj in objects:
            namespace = obj["metadata"].get("namespace", "")
            if namespace and ("Namespace", "", namespace) not in self.objects:
                raise KubectlError(f'namespaces "{namespace}" not found')
            if obj["kind"] == "Service" and "spec" not in obj:
                raise KubectlError("spec.ports: Required value")
            result = copy.deepcopy(obj)
            result["metadata"].update(resourceVersion="7", managedFields=[{"manager": "kubestrap"}])
            results.append(result)
            if not dry_run:
                self.objects[key(obj)] = result
                self.applied.append(key(obj))
        return results


def changes(*, check_mode: bool = False) -> Changes:
    return Changes(SimpleNamespace(check_mode=check_mode))  # type: ignore[arg-type]


def converge(api: Api, *objects: dict[str, Any], check_mode: bool = False) -> Changes:
    noted = changes(check_mode=check_mode)
    Apply(api, noted, "web").converge(list(objects))  # type: ignore[arg-type]
    return noted


def test_the_namespace_comes_first_and_only_where_it_belongs() -> None:
    api = Api("default")
    assert converge(api, SERVICE, ROLE)
    assert api.applied == [("Namespace", "", "web"), ("Service", "web", "shop"), ("ClusterRole", "", "reader")]


def test_the_second_time_nothing_is_applied() -> None:
    api = Api("default")
    converge(api, SERVICE, ROLE)
    api.applied.clear()
    assert not converge(api, SERVICE, ROLE)
    assert api.applied == []


def test_a_namespace_of_somebody_else_stays_theirs() -> None:
    api = Api("default", "web")
    converge(api, SERVICE)
    assert ("Namespace", "", "web") not in api.applied


def test_a_bare_namespace_among_the_objects_is_no_change_the_second_time() -> None:
    api = Api("default", "shop")
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    inside = {**SERVICE, "metadata": {"name": "shop", "namespace": "shop"}}
    converge(api, space, inside)
    # The API server notes nobody as the manager of no field.
    api.objects["Namespace", "", "shop"] = space
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
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"password": "aHVzaA=="},
        "stringData": {"x": "hush"},
    }
    assert "hush" not in as_text(secret)
    assert "aHVzaA" not in as_text(secret)
