"""What `deploy` applies: which objects are meant, whose fields they are, and that a Secret stays one."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Hosts, Program, Result
from tests.e2e import canary
from tests.e2e.conftest import IMAGE

SPACE = "applied"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"to": {"type": "string"}, "weight": {"type": "integer", "default": 1}},
        }
    },
}


def definition(group: str, kind: str, scope: str = "Namespaced") -> dict[str, Any]:
    """A definition of a kind whose spec has a field with a default."""
    plural = f"{kind.lower()}s"
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural}, "versions": [version]},
    }


def custom(group: str, kind: str, to: str = "a") -> dict[str, Any]:
    """An object of such a kind."""
    return {"apiVersion": f"{group}/v1", "kind": kind, "metadata": {"name": "web"}, "spec": {"to": to}}


@pytest.fixture
def deploy(cluster: Hosts, program: Program, tmp_path: Path) -> Iterator[Callable[..., Result]]:
    """Write objects, and deploy them into a namespace of this test's."""

    def run(*objects: dict[str, Any] | str, expect: int = 0, options: tuple[str, ...] = ()) -> Result:
        path = tmp_path / "objects.yaml"
        path.write_text("\n---\n".join(one if isinstance(one, str) else json.dumps(one) for one in objects))
        variables = {"cluster_app_manifests": [str(path)], "cluster_app_namespace": SPACE, "cluster_app_timeout": 60}
        extra = ["-e", json.dumps(variables), "--output", "json", *options]
        return program.run("deploy", "-i", cluster.inventory, *extra, expect=expect)

    yield run
    cluster.kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    listed = cluster.kubectl("get", "crd", "-o", "name").split()
    if ours := [name for name in listed if name.endswith(".example.org")]:
        cluster.kubectl("delete", *ours)


def test_crdcr_issuer_gateways_and_emptyns(
    cluster: Hosts, deploy: Callable[..., Result], measured: Callable[[str, str], None]
) -> None:
    objects = [
        custom("one.example.org", "Gateway"),
        custom("two.example.org", "Gateway"),
        custom("site.example.org", "Issuer"),
        definition("one.example.org", "Gateway"),
        definition("two.example.org", "Gateway"),
        definition("site.example.org", "Issuer", "Cluster"),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "settings", "namespace": ""},
            "data": {"a": "b"},
        },
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  namespace:\nspec: {ports: [{port: 80}]}",
    ]
    assert deploy(*objects).summary["changed"] > 0
    assert deploy(*objects).summary["changed"] == 0
    # Without their definitions they are what they are.
    assert deploy(*objects[:3]).summary["changed"] == 0
    objects[0] = custom("one.example.org", "Gateway", "b")
    assert deploy(*objects).summary["changed"] > 0
    to = ("-o", "jsonpath={.spec.to}", f"--namespace={SPACE}")
    assert cluster.kubectl("get", "gateways.one.example.org", "web", *to) == "b"
    assert cluster.kubectl("get", "gateways.two.example.org", "web", *to) == "a"
    assert cluster.kubectl("get", "configmap", "settings", "-o", "name", f"--namespace={SPACE}")
    # A definition that learns a field, and an object that uses it, in one go.
    more = json.loads(json.dumps(objects))
    properties = more[3]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["port"] = {"type": "integer"}
    more[0]["spec"]["port"] = 80
    assert deploy(*more).summary["changed"] > 0
    assert deploy(*more).summary["changed"] == 0
    measured("custom kinds with their definitions", "applied in one deploy; the second changes nothing")


def test_objects_exported_with_kubectl_get(cluster: Hosts, deploy: Callable[..., Result]) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}}
    deploy(service, settings)
    exported = cluster.kubectl(
        f"--namespace={SPACE}", "get", "svc/web", "cm/settings", "-o", "yaml", "--show-managed-fields"
    )
    assert "resourceVersion" in exported
    assert deploy(exported).summary["changed"] == 0
    cluster.kubectl("delete", "namespace", SPACE)
    assert deploy(exported).summary["changed"] > 0


def unchangeable(value: str) -> list[dict[str, Any]]:
    """Objects of which the API takes no other value; they run nothing."""
    labels = {"app": value}
    container = {"name": "web", "image": IMAGE, "env": [{"name": "PASSWORD", "value": f"hidden-{value}"}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    claim = {"storageClassName": value, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    head = {"metadata": {"name": "stays"}}
    job = {"suspend": True, "template": {"spec": {**template["spec"], "restartPolicy": "Never"}}}
    many = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    same = {"selector": {"matchLabels": {"app": "a"}}, "template": {**template, "metadata": {"labels": {"app": "a"}}}}
    volumes = [{"metadata": {"name": "data"}, "spec": claim}]
    address = {"a": "10.96.77.1", "b": "10.96.77.2"}[value]
    return [
        {"apiVersion": "batch/v1", "kind": "Job", **head, "spec": job},
        {"apiVersion": "apps/v1", "kind": "Deployment", **head, "spec": many},
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            **head,
            "spec": {**many, **same, "serviceName": "stays", "volumeClaimTemplates": volumes},
        },
        {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **head, "spec": claim},
        {"apiVersion": "v1", "kind": "Service", **head, "spec": {"clusterIP": address, "ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", **head, "immutable": True, "data": {"key": value}},
        {"apiVersion": "v1", "kind": "Secret", **head, "immutable": True, "stringData": {"key": f"hidden-{value}"}},
    ]


@pytest.mark.proof
def test_what_cannot_be_changed_is_told_in_one_sentence(deploy: Callable[..., Result]) -> None:
    deploy(*unchangeable("a"), expect=None)
    result = deploy(*unchangeable("b"), expect=7)
    text = result.stdout + result.stderr
    for told in (
        f"give it another name, or delete it (`kubectl delete job stays -n {SPACE}`)",
        "a Job's template.spec cannot be changed",
        "a Deployment's selector cannot be changed",
        "of a StatefulSet, selector, serviceName, volumeClaimTemplates and podManagementPolicy cannot be changed",
        "a claim can only ask for more storage",
        "a Service's clusterIP cannot be changed",
        "this ConfigMap is on the cluster with `immutable: true`",
        "this Secret is on the cluster with `immutable: true`",
    ):
        assert told in text, result.stdout
    for structure in ("Invalid value", "Forbidden", "core.", "v1.", "hidden-"):
        assert structure not in text, result.stdout


@pytest.mark.proof
def test_an_autoscaler_keeps_its_replicas(
    cluster: Hosts, deploy: Callable[..., Result], measured: Callable[[str, str], None]
) -> None:
    container = {"name": "web", "image": IMAGE, "imagePullPolicy": "Never", "command": ["sh", "-c", "exec sleep 600"]}
    labels = {"app": "scaled"}
    spec = {"terminationGracePeriodSeconds": 0, "containers": [container]}
    app = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scaled"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "scaled"}
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "scaled"},
        "spec": {"scaleTargetRef": target, "minReplicas": 3, "maxReplicas": 4, "metrics": [metric]},
    }
    deploy(app, scaler)

    def replicas() -> str:
        return cluster.kubectl(f"--namespace={SPACE}", "get", "deployment", "scaled", "-o", "jsonpath={.spec.replicas}")

    deadline = time.monotonic() + 90
    while replicas() != "3":
        assert time.monotonic() < deadline, "the autoscaler did nothing"
        time.sleep(2)
    again = deploy(app, scaler)
    assert replicas() == "3"
    assert again.summary["changed"] == 0
    assert "spec.replicas was left at 3, which kube-controller-manager set" in again.stdout
    container["env"] = [{"name": "A", "value": "b"}]
    assert deploy(app, scaler).summary["changed"] > 0
    assert replicas() == "3"
    # What a person typed is not another's.
    label = ("label", "deployment", "scaled", "app=mine")
    app["metadata"]["labels"] = {"app": "theirs"}  # type: ignore[index]
    deploy(app, scaler)
    cluster.kubectl(f"--namespace={SPACE}", *label, "--overwrite")
    assert deploy(app, scaler).summary["changed"] > 0
    measured("an autoscaler's replicas", "3 stay 3 when the manifest that says 1 is deployed again")


def test_a_secret_is_nowhere(
    cluster: Hosts,
    deploy: Callable[..., Result],
    program: Program,
    tmp_path: Path,
    measured: Callable[[str, str], None],
) -> None:
    values = {name: f"canary-{name}-{secrets.token_hex(12)}" for name in ("data", "text", "broken", "changed")}
    head = {"apiVersion": "v1", "kind": "Secret"}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    first = {**head, "metadata": {"name": "one"}, "data": {"key": canary.forms(values["data"])[1]}}
    second = {**head, "metadata": {"name": "two"}, "stringData": {"key": values["text"]}}
    results = [deploy(service, first, second), deploy(service, first, second, options=("-vvv",))]
    assert results[1].summary["changed"] == 0
    cluster.kubectl(
        "-n", SPACE, "annotate", "secret", "two", f"kubectl.kubernetes.io/last-applied-configuration={values['text']}"
    )
    results.append(deploy(service, {**second, "stringData": {"key": values["changed"]}}, options=("-vvv",)))
    # Refused by the API, which quotes what it does not like.
    broken = {
        **head,
        "metadata": {"name": "three"},
        "stringData": {"key": values["broken"], "bad key/": values["broken"]},
    }
    results.append(deploy(service, broken, expect=7, options=("-vvv",)))
    results.append(deploy(service, {**head, "metadata": {"name": "four"}, "data": {"key": values["broken"]}}, expect=7))
    for secret in values.values():
        assert not any(canary.said(result, secret) for result in results)
        assert canary.here(program.directory, secret) == []
        assert canary.here(tmp_path, secret, besides=[tmp_path / "objects.yaml"]) == []
        assert canary.on_hosts(cluster, ["cp1", "worker1"], secret) == []
    # The look itself finds what is there.
    cluster.sh("cp1", f"logger seen-{values['data']}; sleep 1")
    assert canary.on_hosts(cluster, ["cp1"], f"seen-{values['data']}")
    measured(
        "a Secret of the app's manifests",
        "in no journal, log, file or command line of any host, with -vvv and failures",
    )
