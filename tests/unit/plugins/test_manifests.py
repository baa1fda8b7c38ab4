from pathlib import Path

import pytest
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
