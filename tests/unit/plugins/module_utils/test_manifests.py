from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubernetes_yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.manifests import (
    ManifestError,
    files,
    local_images,
    read,
)

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_directory_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "notes.txt"):
        (tmp_path / name).write_text(GOOD)
    assert [path.name for path in files(["."], str(tmp_path))] == ["a.yaml", "b.yml"]


def test_objects_know_where_they_and_their_fields_stand(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"{GOOD}---\n---\n{GOOD}spec:\n  ports:\n    - name: http\n      port: 80\n")
    first, second = read(path)
    assert (first.file, first.lines[""], first.lines["metadata.name"]) == (str(path), 1, 3)
    assert (second.lines[""], second.lines["spec.ports[0].port"]) == (6, 12)


def test_items_of_a_list_are_objects(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n")
    assert [(one.obj["kind"], one.lines[""]) for one in read(path)] == [("Secret", 4)]


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    path = tmp_path / "merge.yaml"
    path.write_text(f"{GOOD}data: &common {{a: b}}\nbinaryData: {{<<: *common}}\n")
    (only,) = read(path)
    assert only.obj["binaryData"] == {"a": "b"}
    assert only.lines["binaryData.a"] == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2\n", "yaml:2: this is not valid YAML"),
        ("just text\n", "yaml:1: .*everything from apiVersion on"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "kind is missing"),
        (f"{GOOD}---\napiVersion: v1\nkind: Pod\nmetadata: {{labels: {{}}}}\n", r"yaml:5: .*metadata\.name is missing"),
    ],
)
def test_mistake_is_told_with_file_and_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=told):
        read(path)


def test_missing_file_and_empty_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"There is no file or directory .*nope\.yaml"):
        files(["nope.yaml"], str(tmp_path))
    with pytest.raises(ManifestError, match="holds no"):
        files(["."], str(tmp_path))


def test_images_never_pulled_are_found_in_every_kind_of_container(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_text("""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  template:
    spec:
      initContainers:
        - {name: prepare, image: "tool:1", imagePullPolicy: Never}
      containers:
        - {name: web, image: "shop:1", imagePullPolicy: Never}
        - {name: proxy, image: "envoy:1"}
        - {name: log, image: "log:1", imagePullPolicy: IfNotPresent}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  jobTemplate:
    spec:
      template:
        spec:
          containers:
            - {name: again, image: "tool:1", imagePullPolicy: Never}
            - name: report
              imagePullPolicy: Never
              image: report:1
""")
    assert local_images(read(path)) == {"tool:1": f"{path}:8", "shop:1": f"{path}:10", "report:1": f"{path}:26"}


def test_an_image_by_digest_is_none_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "pod.yml"
    container = f"{{name: a, image: 'tool:1@sha256:{'ab' * 32}', imagePullPolicy: Never}}"
    path.write_text(f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{container}]}}\n")
    assert local_images(read(path)) == {}


def test_equals() -> None:
    assert kubernetes_yaml.load("enum:\n- '!='\n- =\n- =~\n") == {"enum": ["!=", "=", "=~"]}


def test_times(tmp_path: Path) -> None:
    path = tmp_path / "hours.yaml"
    data = "opens: 10:30, closes: 18:45:10, mac: 12:34:56, country: NO, mode: 0o644, big: 1_000"
    path.write_text(f"{GOOD.replace('{name: a}', '{name: a, annotations: {released: 2026-03-01}}')}data: {{{data}}}\n")
    (only,) = read(path)
    assert only.obj["metadata"]["annotations"] == {"released": "2026-03-01"}
    assert only.obj["data"] == {
        "opens": "10:30", "closes": "18:45:10", "mac": "12:34:56", "country": False, "mode": 420, "big": 1000
    }  # fmt: skip


def test_rolelist(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    head = "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBindingList\nitems:\n"
    path.write_text(f"{head}- {{apiVersion: x/v1, kind: Own, metadata: {{name: a}}}}\n- metadata: {{name: b}}\n")
    assert [(one.obj["apiVersion"], one.obj["kind"], one.lines[""]) for one in read(path)] == [
        ("x/v1", "Own", 4),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", 5),
    ]
    path.write_text(f"{head}\n")
    assert read(path) == []


def test_mixed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap",\n "metadata": {"name": "b"}}')
    found = [one for path in files(["."], tmp_path) for one in read(path)]
    assert [(one.obj["metadata"]["name"], one.lines["metadata"]) for one in found] == [("a", 3), ("b", 2)]


def test_objects_of_a_cluster_are_read_without_its_notes(tmp_path: Path) -> None:
    path = tmp_path / "exported.yaml"
    path.write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  uid: 1-2\n  resourceVersion: '7'\n  generation: 2\n"
        "  selfLink: /a\n  creationTimestamp: 2026-01-01T00:00:00Z\n  managedFields: [{manager: kubectl}]\n"
        "  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}\nstatus: {x: 1}\ndata: {a: b}\n"
        "---\napiVersion: x/v1\nkind: Own\nmetadata: {name: b, creationTimestamp: null}\nstatus: {mine: 1}\n"
    )
    first, second = read(path)
    assert first.obj == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"a": "b"}}
    # A status that no cluster wrote may be a field like others.
    assert second.obj == {"apiVersion": "x/v1", "kind": "Own", "metadata": {"name": "b"}, "status": {"mine": 1}}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("chart/templates/app.yaml", 'kind: {{ include "x" . }}\n', r"app\.yaml:1: .*`helm template NAME .*/chart > "),
        ("app.yaml", 'metadata:\n  name: {{ include "x" . }}\n  labels:\n    {{- x }}\n', r"`helm template NAME CHART"),
        ("app.yaml", GOOD.replace("{name: a}", '{name: "{{ .Release.Name }}"}'), "`helm template NAME CHART"),
        ("values.yaml", "replicas: 1\n", r"values for a Helm chart.*`helm template NAME CHART -f .*/values\.yaml"),
        ("values-prod.yml", "image: {tag: v1}\n", "values for a Helm chart"),
        ("Chart.yaml", "apiVersion: v2\nname: a\nversion: 1.0.0\n", "this is a Helm chart"),
        ("kustomization.yaml", "resources: [a.yaml]\n", "`kubectl kustomize .* > app.yaml`"),
        ("k.yaml", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n", "`kubectl kustomize"),
        ("compose.yaml", "services: {web: {image: a}}\n", r"`kompose convert --file .*/compose\.yaml --stdout"),
        ("app.yml", "version: '3'\nservices: {web: {image: a}}\n", "Compose file"),
        ("app.yaml", GOOD.replace("name: a", "name: a${SUFFIX}"), r"`envsubst < .*app\.yaml > app.yaml`"),
        ("app.yaml", f"{GOOD}spec: {{template: {{spec: {{containers: [{{image: 'x:$TAG'}}]}}}}}}\n", "`envsubst"),
        ("app.yaml", f"{GOOD}spec:\n  replicas: ${{REPLICAS}}\n", "`envsubst"),
        ("app.yaml", f"{GOOD}data:\n\ta: b\n", r"app\.yaml:5: there is a tab.*`expand -t 2 "),
        ("app.yaml", "{% if a %}\na: 1\n{% endif %}\n", "Jinja"),
        ("app.yaml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", "`ansible-vault view"),
        ("app.yaml", "<!DOCTYPE html>\n<html><body>a: b: c\n", "web page"),
        ("app.yaml", f"{GOOD}<<<<<<< HEAD\na: 1\n=======\na: 2\n>>>>>>> b\n", "merge could not decide"),
        ("app.yaml", "- hosts: all\n  tasks: []\n", "playbook of Ansible"),
        ("app.yaml", f"{GOOD}sops: {{mac: x}}\n", "`sops --decrypt"),
        (
            "app.yaml",
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n",
            "configuration file of kubeadm",
        ),
        ("app.yaml", "apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\n", "kubeconfig"),
        ("my app.yaml", GOOD.replace("name: a", "name: ${name}"), r"`envsubst < '.*/my app\.yaml' > app.yaml`"),
        ("app.yaml", f"{GOOD}spec: {{rules: [{{host: 'app.${{DOMAIN}}'}}]}}\n", "`envsubst"),
        ("app.yaml", f"{GOOD}spec: {{containers: [{{image: 'x:{{{{ .Values.tag }}}}'}}]}}\n", "`helm template"),
        ("app.yaml", "\x1f\u008b\x08", "this file is packed"),
        ("app.yaml", "PK\x03\x04", "this is an archive"),
        ("app.yaml", "apiVersion: v1\nkind: List\nitems: 5\n", "yaml:3: .*everything from apiVersion on"),
        ("app.yaml", "apiVersion: v1\nkind: List\nitems: {a: 1}\n", "yaml:3: .*apiVersion is missing"),
        ("app.yaml", GOOD.replace("name: a", "generateName: a-"), "with generateName"),
        ("app.yaml", GOOD.replace("name: a", "name: 123"), "metadata.name is no text; write it in quotes"),
        ("app.yaml", f"{GOOD}data: {{a: 1}}\ndata: {{b: 1}}\n", "data is there twice, in lines 4 and 5"),
    ],
)
def test_files_for_other_programs_are_named(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if "/templates/" in name:
        (path.parent.parent / "Chart.yaml").write_text("name: a\n")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ManifestError, match=told):
        read(path)


def test_latin1(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    path.write_bytes(f"{GOOD}data: {{a: \u00e9}}\n".encode("latin-1"))
    with pytest.raises(ManifestError, match=r"app\.yaml:4: .*`iconv -f LATIN1 -t UTF-8`"):
        read(path)


@pytest.mark.parametrize(
    ("name", "told"), [("Chart.yaml", "helm template"), ("kustomization.yml", "kubectl kustomize")]
)
def test_directories_for_other_programs_are_named(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / "app.yaml").write_text(GOOD)
    (tmp_path / name).write_text("resources: [app.yaml]\n")
    with pytest.raises(ManifestError, match=told):
        files(["."], tmp_path)


def test_dollars_and_braces_for_the_container_are_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.yaml"
    own = 'data: {a: "${HOME} {{ .Values }}"}\nspec: {args: ["${PORT}"], env: [{name: A, value: $B}], on: "{{ $x }}"}'
    path.write_text(f"{GOOD}{own}\n")
    assert len(read(path)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec: {expr: $X, to: '${X}'}\n",
        "apiVersion: argoproj.io/v1alpha1\nkind: WorkflowTemplate\nspec: {image: '{{x}}'}\n",
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {default: $X}\n",
    ],
)
def test_dollars_and_braces_for_another_program_are_its_own(tmp_path: Path, text: str) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(f"{text}metadata: {{name: a}}\n")
    assert len(read(path)) == 1


@pytest.mark.parametrize("annotations", ["[a]", "a", "null"])
def test_exported_object_with_strange_annotations(tmp_path: Path, annotations: str) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a, uid: x, annotations: {annotations}}}\n")
    assert read(path)[0].obj["metadata"]["name"] == "a"
