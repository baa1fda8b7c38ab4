"""Looks at the manifests and images of an app on this machine, before any host is touched."""

import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kubestrap.adapters.content import collection_module

_SECONDS = 30


class LocalAppFiles:
    """The files and the Docker of this machine."""

    def __init__(self) -> None:
        """Read manifests as the playbooks do."""
        self._manifests = collection_module("manifests")
        self._images = collection_module("images")

    def manifest_problems(self, paths: Sequence[str], directory: Path) -> tuple[str, ...]:
        """Return what is wrong with the manifests; relative paths start at `directory`."""
        return tuple(problem for path in paths for problem in self._problems(path, directory))

    def local_images(self, paths: Sequence[str], directory: Path) -> Mapping[str, str]:
        """Return the images in readable manifests that no registry is meant for, each with its file and line."""
        files = self._manifests.files(paths, directory)
        found: Mapping[str, str] = self._manifests.local_images(
            [manifest for file in files for manifest in self._manifests.read(file)]
        )
        return found

    def image_problems(self, images: Sequence[str], found: Mapping[str, str], directory: Path) -> tuple[str, ...]:
        """Return which images are neither an archive nor in the Docker of this machine.

        Args:
            images: Names and archives, as a person listed them.
            found: Names in manifests, each with its place. Those in an archive need no Docker.
            directory: Where relative paths of archives start.
        """
        problems, known = [], set(map(self._images.with_tag, images))
        for image in images:
            if image.endswith(".tar"):
                archive = directory / Path(image).expanduser()
                known |= _names_in(archive)
                if not archive.is_file():
                    problems.append(f"cluster_app_images: there is no archive {archive}; `docker save -o` makes one")
            elif self._images.reference(image).digest:
                problems.append(
                    f"cluster_app_images: {image} has a digest, which only a registry knows; name it by tag to have it "
                    "brought, or leave it to its registry (imagePullPolicy: IfNotPresent)"
                )
            elif problem := _image_problem(image):
                problems.append(f"cluster_app_images: {problem}")
        for image, place in found.items():
            if self._images.with_tag(image) not in known and (problem := _image_problem(image)):
                problems.append(f"{place}: imagePullPolicy is Never, but {problem}")
        return tuple(dict.fromkeys(problems))

    def _problems(self, path: str, directory: Path) -> Iterator[str]:
        try:
            files = self._manifests.files([path], directory)
        except self._manifests.ManifestError as error:
            yield f"cluster_app_manifests: {error}"
            return
        for file in files:
            try:
                if not self._manifests.read(file):
                    yield f"{file}: the manifest is empty"
            except self._manifests.ManifestError as error:
                yield str(error)


def _names_in(archive: Path) -> set[str]:
    """Return the names of the images in an archive; what is no archive is refused when it is sent."""
    try:
        with tarfile.open(archive) as tar, tar.extractfile("manifest.json") or archive.open("rb") as stream:
            return {name for image in json.load(stream) for name in image.get("RepoTags") or ()}
    except (OSError, tarfile.TarError, KeyError, ValueError):
        return set()


def _image_problem(image: str) -> str | None:
    try:
        done = subprocess.run(
            ["docker", "image", "inspect", "--format", "{{.Id}}", image],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return "there is no Docker on this machine; install it, or name archives made by `docker save`"
    except subprocess.TimeoutExpired:
        return f"the Docker on this machine did not answer in {_SECONDS} s; see `docker info`"
    if done.returncode == 0:
        return None
    said = done.stderr.strip()
    if "invalid reference format" in said.lower():
        return f"{image} cannot be the name of an image; write NAME:TAG, the name in lower case"
    if "no such image" in said.lower():
        return (
            f"there is no image {image} in the Docker of this machine; "
            f"build it (`docker build -t {image} DIRECTORY`) or correct the name"
        )
    return f"the Docker on this machine does not answer: {said}; see `docker info`"
