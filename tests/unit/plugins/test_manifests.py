from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.modules.manifests import ManifestError, files, read

GOOD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def test_directory_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b.yml", "a.yaml", "notes.txt"):
        (tmp_path / name).write_text(GOOD)
    assert [path.name for path in files(["."], str(tmp_path))] == ["a.yaml", "b.yml"]


def test_documents_know_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"{GOOD}---\n---\n{GOOD}")
    assert [source for _, source in read(path)] == [f"{path}, document 1", f"{path}, document 3"]


def test_items_of_a_list_are_objects(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {name: s}}\n")
    assert [obj["kind"] for obj, _ in read(path)] == ["Secret"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\nb: 2\n", "line 2"),
        ("just text\n", "everything from apiVersion on"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "kind is missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {labels: {}}\n", "metadata.name is missing"),
    ],
)
def test_mistake_is_told_with_file_and_place(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError, match=told) as raised:
        read(path)
    assert "bad.yaml" in str(raised.value)


def test_missing_file_and_empty_directory_are_told(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"There is no manifest .*nope\.yaml"):
        files(["nope.yaml"], str(tmp_path))
    with pytest.raises(ManifestError, match="holds no"):
        files(["."], str(tmp_path))
