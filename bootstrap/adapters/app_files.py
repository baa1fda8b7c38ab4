"""Looks at the manifests and images of an app on this machine, before any host is touched."""

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

_SECONDS = 30
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class LocalAppFiles:
    """The files and the Docker of this machine."""

    def manifest_problems(self, paths: Sequence[str], directory: Path) -> tuple[str, ...]:
        """Return what is wrong with the manifests; relative paths start at `directory`."""
        return tuple(problem for path in paths for problem in _manifest_problems(directory / Path(path).expanduser()))

    def image_problems(self, images: Sequence[str], directory: Path) -> tuple[str, ...]:
        """Return which images are neither an archive nor in the Docker of this machine."""
        problems = []
        for image in images:
            if image.endswith(".tar"):
                archive = directory / Path(image).expanduser()
                if not archive.is_file():
                    problems.append(f"cluster_app_images: there is no archive {archive}; `docker save -o` makes one")
            elif problem := _image_problem(image):
                problems.append(problem)
        return tuple(dict.fromkeys(problems))


def _manifest_problems(path: Path) -> Iterator[str]:
    if not path.exists():
        yield f"cluster_app_manifests: there is no file or directory {path}; correct the path"
        return
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.suffix in {".yaml", ".yml"})
    if not files:
        yield f"cluster_app_manifests: the directory {path} holds no *.yaml or *.yml file"
    for file in files:
        yield from _file_problems(file)


def _file_problems(path: Path) -> Iterator[str]:
    found = 0
    try:
        for document in yaml.load_all(path.read_text(encoding="utf-8"), Loader=_LOADER):
            if document is None:
                continue
            found += 1
            if not isinstance(document, dict) or not {"apiVersion", "kind"} <= document.keys():
                yield f"{path}: document {found} is no Kubernetes object; it needs apiVersion and kind"
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        yield f"{path}{line}: not valid YAML: {error.problem}"
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        yield f"{path}: not valid YAML: {error}"
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror}"
    else:
        if not found:
            yield f"{path}: the manifest is empty"


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
        return (
            "cluster_app_images: there is no Docker on this machine; install it, or name archives made by `docker save`"
        )
    except subprocess.TimeoutExpired:
        return f"cluster_app_images: the Docker on this machine did not answer in {_SECONDS} s; see `docker info`"
    if done.returncode == 0:
        return None
    if "no such image" in done.stderr.lower():
        return (
            f"cluster_app_images: there is no image {image} in the Docker of this machine; "
            f"build it (`docker build -t {image} DIRECTORY`) or correct the name"
        )
    return f"cluster_app_images: the Docker on this machine does not answer: {done.stderr.strip()}; see `docker info`"
