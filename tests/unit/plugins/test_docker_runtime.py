import io
import tarfile

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.apt import upstream_version
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError
from ansible_collections.kubestrap.cluster.plugins.modules.docker_runtime import extract_binary


def archive(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


@pytest.mark.parametrize("path", ["cri-dockerd/cri-dockerd", "./cri-dockerd", "a/b/cri-dockerd"])
def test_binary_is_found_wherever_the_archive_has_it(path: str) -> None:
    assert extract_binary(archive(path, b"binary"), "cri-dockerd") == b"binary"


@pytest.mark.parametrize(
    ("content", "told"), [(b"<html>", "no tar archive"), (archive("README", b"text"), "holds no file cri-dockerd")]
)
def test_archive_of_something_else_is_told(content: bytes, told: str) -> None:
    with pytest.raises(DownloadError, match=told):
        extract_binary(content, "cri-dockerd")


@pytest.mark.parametrize(
    ("version", "numbers"),
    [
        ("26.1.5+dfsg1-9+deb13u1+b1", (26, 1, 5)),
        ("20.10.24+dfsg1-1+deb12u1+b2", (20, 10, 24)),
        ("5:28.5.2-1~debian.13~trixie", (28, 5, 2)),
        ("28.2.2-0ubuntu1~24.04.1", (28, 2, 2)),
    ],
)
def test_numbers_of_a_package_version(version: str, numbers: tuple[int, ...]) -> None:
    assert upstream_version(version) == numbers
