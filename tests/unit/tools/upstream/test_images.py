"""Images come out the same each time, and the registry finds them."""

import hashlib
import json
import pathlib
import tarfile

import pytest

from tools.upstream import images
from tools.upstream.cache import Cache
from tools.upstream.recipes import Image

IMAGE = Image(names=("thing:1", "group/thing:1"), files={"usr/bin/thing": "thing"}, entrypoint=("/usr/bin/thing",))


@pytest.fixture
def program(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "thing"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def _manifest(image: pathlib.Path) -> dict[str, list[dict[str, str]]]:
    digest = (image / "manifest").read_text().removeprefix("sha256:")
    manifest: dict[str, list[dict[str, str]]] = json.loads((image / digest).read_text())
    return manifest


def test_same_content_gives_the_same_digest(tmp_path: pathlib.Path, program: pathlib.Path) -> None:
    made = [images.build(Cache(tmp_path / name), IMAGE, {"thing": program}, tmp_path) for name in ("one", "two")]
    assert made[0] != made[1]
    assert (made[0] / "manifest").read_text() == (made[1] / "manifest").read_text()


def test_layer_holds_the_program_owned_by_root(tmp_path: pathlib.Path, program: pathlib.Path) -> None:
    image = images.build(Cache(tmp_path / "cache"), IMAGE, {"thing": program}, tmp_path)
    (layer,) = _manifest(image)["layers"]
    with tarfile.open(image / layer["digest"].removeprefix("sha256:")) as archive:
        members = {member.name: member for member in archive}
    assert list(members) == ["usr", "usr/bin", "usr/bin/thing"]
    assert (members["usr/bin/thing"].mode, members["usr/bin/thing"].uid) == (0o755, 0)


def test_every_blob_of_a_published_image_is_where_the_registry_looks(
    tmp_path: pathlib.Path, program: pathlib.Path
) -> None:
    image = images.build(Cache(tmp_path / "cache"), IMAGE, {"thing": program}, tmp_path)
    for name in IMAGE.names:
        images.publish(tmp_path / "shelf", name, image)
    root = tmp_path / "shelf/docker/registry/v2"
    for repository in ("thing", "group/thing"):
        link = root / "repositories" / repository / "_manifests/tags/1/current/link"
        assert link.read_text() == (image / "manifest").read_text()
        for layer in _manifest(image)["layers"]:
            digest = layer["digest"].removeprefix("sha256:")
            assert (root / "repositories" / repository / "_layers/sha256" / digest / "link").exists()
    for data in root.glob("blobs/sha256/*/*/data"):
        assert hashlib.sha256(data.read_bytes()).hexdigest() == data.parent.name


def test_publishing_another_image_moves_the_tag(tmp_path: pathlib.Path, program: pathlib.Path) -> None:
    cache, shelf = Cache(tmp_path / "cache"), tmp_path / "shelf"
    first = images.build(cache, IMAGE, {"thing": program}, tmp_path)
    images.publish(shelf, "thing:1", first)
    other = program.with_name("other")
    other.write_text("different")
    second = images.build(cache, IMAGE, {"thing": other}, tmp_path)
    images.publish(shelf, "thing:1", second)
    link = shelf / "docker/registry/v2/repositories/thing/_manifests/tags/1/current/link"
    assert link.read_text() == (second / "manifest").read_text() != (first / "manifest").read_text()
