"""What an API server of 1.36 said, word for word, and what people read."""

from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.refusals import explain

DEPLOYMENT: dict[str, Any] = {
    "kind": "Deployment",
    "spec": {
        "replicas": "many",
        "template": {
            "spec": {
                "containers": [
                    {"name": "log"},
                    {"name": "web", "env": [{"name": "A", "value": 1}], "ports": [{"containerPort": 80}]},
                ]
            }
        },
    },
}
POD = {"kind": "Pod", "spec": {"containers": [{"resources": {"requests": {"cpu": "50m", "memory": "12Mb"}}}]}}
SERVICE = {"kind": "Service", "spec": {"ports": [{"port": 80}, {"port": "http"}]}}
LINES = {
    "": 1,
    "kind": 2,
    "spec": 4,
    "spec.replicas": 5,
    "spec.ports": 6,
    "spec.ports[1].port": 8,
    "spec.template.spec.containers": 10,
    "spec.template.spec.containers[1]": 12,
    "spec.template.spec.containers[1].env[0].value": 14,
    "spec.containers[0].resources.requests.memory": 16,
    "data.password": 18,
}
WEB = '.spec.template.spec.containers[name="web"]'
SEVERAL_TYPES = f"""failed to create typed patch object (default/bad; apps/v1, Kind=Deployment): errors:
  {WEB}.env[name="A"].value: expected string, got &value.valueUnstructured{{Value:1}}
  .spec.replicas: expected numeric (int or float), got string"""
ONE_TYPE = f"""failed to create typed patch object (default/bad; apps/v1, Kind=Deployment): \
{WEB}.imagee: field not declared in schema"""
SEVERAL_VALUES = """The Pod "bad" is invalid:
* spec.containers[0].volumeMounts[0].name: Not found: "v"
* spec.containers[0].imagePullPolicy: Unsupported value: "Nevver": supported values: "Always", "Never\""""
UNKNOWN_KIND = """error: resource mapping not found for name: "bad" namespace: "" from "STDIN": \
no matches for kind "Thing" in version "example.com/v1"
ensure CRDs are installed first"""
LIST_KEYS = """failed to create typed patch object (default/bad; /v1, Kind=Service): errors:
  .spec.ports: duplicate entries for key [port=80,protocol="TCP"]
  .spec.ports[port="http",protocol="TCP"].port: expected numeric (int or float), got string"""
QUANTITY = """failed to convert new object (default/bad; /v1, Kind=Pod) to proper version: unable to convert \
unstructured object to /v1, Kind=Pod: quantities must match the regular expression '^(...)$'"""
CONFIDENTIAL = """failed to create typed patch object (default/s; /v1, Kind=Secret): .data.password: expected string, \
got &value.valueUnstructured{Value:12345}"""


@pytest.mark.parametrize(
    ("said", "obj", "told"),
    [
        (
            SEVERAL_TYPES,
            DEPLOYMENT,
            """\
a.yaml:5: spec.replicas: expected numeric (int or float), got string
a.yaml:14: spec.template.spec.containers[1].env[0].value: expected string, got 1; write it in quotes""",
        ),
        (ONE_TYPE, DEPLOYMENT, "a.yaml:12: spec.template.spec.containers[1].imagee: there is no such field"),
        (
            'The Deployment "bad" is invalid: spec.template.spec.containers[0].image: Required value',
            DEPLOYMENT,
            "a.yaml:10: spec.template.spec.containers[0].image: Required value",
        ),
        (
            SEVERAL_VALUES,
            POD,
            """\
a.yaml:4: spec.containers[0].volumeMounts[0].name: Not found: "v"
a.yaml:4: spec.containers[0].imagePullPolicy: Unsupported value: "Nevver": supported values: "Always", "Never\"""",
        ),
        (UNKNOWN_KIND, {"kind": "Thing"}, 'a.yaml:2: kind: no matches for kind "Thing" in version "example.com/v1"'),
        (
            LIST_KEYS,
            SERVICE,
            """\
a.yaml:6: spec.ports: duplicate entries for key [port=80,protocol="TCP"]
a.yaml:8: spec.ports[1].port: expected numeric (int or float), got string""",
        ),
        (
            QUANTITY,
            POD,
            """\
a.yaml:16: spec.containers[0].resources.requests.memory: this is no quantity; write one such as 500m, 2, 512Mi or \
1.5Gi""",
        ),
        (CONFIDENTIAL, {"kind": "Secret"}, "a.yaml:18: data.password: expected string, got something else"),
        ('namespaces "nope" not found', DEPLOYMENT, 'a.yaml:1: namespaces "nope" not found'),
    ],
)
def test_mistake_is_told_with_field_and_line(said: str, obj: dict[str, Any], told: str) -> None:
    assert explain(said, obj, {"file": "a.yaml", "lines": LINES}) == told.splitlines()


def test_object_of_no_file_is_told_by_its_field() -> None:
    said = 'The Deployment "bad" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0'
    assert explain(said, DEPLOYMENT, {}) == ["spec.replicas: Invalid value: -1: must be greater than or equal to 0"]
