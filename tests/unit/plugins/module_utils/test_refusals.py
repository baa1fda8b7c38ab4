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


STRUCT = (
    'core.PodTemplateSpec{ObjectMeta:v1.ObjectMeta{Labels:map[string]string{"a":"b"}}, Spec:core.PodSpec{' + "x" * 3000
)
CLAIM = """\
The PersistentVolumeClaim "web" is invalid: spec: Forbidden: spec is immutable after creation except \
resources.requests and volumeAttributesClassName for bound claims
  core.PersistentVolumeClaimSpec{
  \t... // 2 identical fields
-\u00a0\tStorageClassName: &"a",
+\u00a0\tStorageClassName: &"b",
  }
"""
POD_CHANGED = """\
The Pod "web" is invalid: spec: Forbidden: pod updates may not change fields other than \
`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`
  core.PodSpec{
- \tEnv: []core.EnvVar{{Name: "PASSWORD", Value: "s3cret"}},
  }
"""
SET = (
    'The StatefulSet "web" is invalid: spec: Forbidden: updates to statefulset spec for fields other than '
    "'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
    "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
IMMUTABLE = "Forbidden: field is immutable when `immutable` is set"


@pytest.mark.parametrize(
    ("kind", "said", "told"),
    [
        (
            "Job",
            f'The Job "web" is invalid: spec.template: Invalid value: {STRUCT}}}: field is immutable',
            (
                "spec.template: a Job's template cannot be changed: give it another name, or delete it "
                "(`kubectl delete job web -n shop`)"
            ),
        ),
        (
            "Deployment",
            (
                'The Deployment "web" is invalid: spec.selector: Invalid value: '
                '{"matchLabels":{"app":"other"}}: field is immutable'
            ),
            "spec.selector: a Deployment's selector cannot be changed: put it back",
        ),
        (
            "DaemonSet",
            (
                'The DaemonSet "web" is invalid: spec.selector: Invalid value: '
                'v1.LabelSelector{MatchLabels:map[string]string{"app":"other"}}: field is immutable'
            ),
            "spec.selector: a DaemonSet's selector cannot be changed",
        ),
        ("StatefulSet", SET, "--cascade=orphan`) and run again; volumes that are there stay as they are"),
        ("PersistentVolumeClaim", CLAIM, "spec: a claim can only ask for more storage"),
        (
            "PersistentVolumeClaim",
            (
                'The PersistentVolumeClaim "web" is invalid: spec.resources.requests.storage: Forbidden: field can '
                "not be less than status.capacity"
            ),
            "spec.resources.requests.storage: a claim can only ask for more storage",
        ),
        (
            "Service",
            'The Service "web" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.0.9"]: may not change once set',
            "a Service's clusterIP cannot be changed: take the field out",
        ),
        ("ConfigMap", f'The ConfigMap "web" is invalid: data: {IMMUTABLE}', "data: this ConfigMap is on the cluster"),
        ("Secret", f'The Secret "web" is invalid: data: {IMMUTABLE}', "data: this Secret is on the cluster"),
        (
            "Secret",
            'The Secret "web" is invalid: type: Invalid value: "Opaque": field is immutable',
            "type: a Secret's type cannot be changed: put back what was there",
        ),
        ("Pod", POD_CHANGED, "spec: of a Pod that is there, only images and little else can be changed"),
        (
            "RoleBinding",
            'The RoleBinding "web" is invalid: roleRef: Invalid value: {"kind":"Role"}: cannot change roleRef',
            "roleRef: a RoleBinding's roleRef cannot be changed: give it another name",
        ),
        (
            "StorageClass",
            'The StorageClass "web" is invalid: parameters: Forbidden: updates to parameters are forbidden.',
            "parameters: a StorageClass's parameters cannot be changed",
        ),
    ],
)
def test_what_cannot_be_changed_is_told_in_one_sentence(kind: str, said: str, told: str) -> None:
    sentences = explain(said, {"kind": kind, "metadata": {"name": "web", "namespace": "shop"}}, {"file": "a.yaml"})
    assert len(sentences) == 1
    assert sentences[0].startswith("a.yaml:1: ")
    assert told in sentences[0]
    assert len(sentences[0]) < 400
    assert [word for word in ("{", "Forbidden", "Invalid value", "s3cret") if word in sentences[0]] == []


def test_two_refusals_of_which_one_shows_structures_are_two() -> None:
    said = (
        'The PersistentVolumeClaim "web" is invalid: \n* spec: Forbidden: spec is immutable after creation\n'
        '  core.PersistentVolumeClaimSpec{\n+ \tA: 1,\n  }\n* metadata.labels: Invalid value: "a b": no label'
    )
    obj = {"kind": "PersistentVolumeClaim", "metadata": {"name": "web"}}
    assert [one.partition(":")[0] for one in explain(said, obj, {})] == ["spec", "metadata.labels"]


def test_a_structure_is_never_shown_whole() -> None:
    said = f'The Deployment "web" is invalid: spec.template: Invalid value: {STRUCT}}}: it is wrong'
    assert explain(said, DEPLOYMENT, {}) == ["spec.template: it is wrong"]
    assert len(explain("x" * 9000, DEPLOYMENT, {})[0]) < 500


def test_what_to_delete_is_named_with_its_namespace() -> None:
    job = {"kind": "Job", "metadata": {"name": "load"}}
    said = 'The Job "load" is invalid: spec.template: Invalid value: {}: field is immutable'
    assert "`kubectl delete job load -n shop`" in explain(said, job, {}, "shop")[0]
