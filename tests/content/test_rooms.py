"""What differs between systems, runtimes and minors of Kubernetes is said in its room, and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils import versions
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.systems import MANAGERS
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtime_findings import LOOKS
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import DEFAULT, RUNTIMES
from kubestrap.model.versions import SUPPORTED_MINORS

ROOT = Path(__file__).parents[2]
# Its hosts are Debian, made by us.
LAB = "bootstrap/kubestrap/lab/"


def texts(*outside: str) -> Iterator[tuple[str, str]]:
    """Yield the files of the program and the modules, by name, outside these places."""
    for part in ("plugins", "bootstrap"):
        for path in sorted((ROOT / part).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(outside):
                yield name, path.read_text()


def trees(*outside: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the same files, parsed."""
    for name, text in texts(*outside):
        yield name, ast.parse(text)


def test_package_managers_are_named_in_their_room() -> None:
    # An example for a host of which nothing is known yet.
    example = "such as `apt-get install python3`"
    found = [
        f"{name}:{number}"
        for name, text in texts("plugins/module_utils/packages/", LAB)
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(r"\bapt\b|\bdpkg\b|/apt/", line.replace(example, ""))
    ]
    assert found == []


def test_runtimes_are_keys_of_tables_and_nothing_else() -> None:
    allowed = (
        "plugins/module_utils/runtimes/",
        *(f"plugins/modules/{name}_runtime.py" for name in RUNTIMES),
        # Minikube's driver, whatever runs elsewhere; a package repository that is called so; the operator's own Docker,
        # whose images are sent; the lab's.
        "plugins/modules/minikube.py",
        "bootstrap/kubestrap/model/validation.py",
        "plugins/module_utils/packages/",
        "plugins/action/node_images.py",
        "bootstrap/kubestrap/adapters/app_files.py",
        LAB,
    )
    words = {*RUNTIMES, *(one.socket for one in RUNTIMES.values()), *(one.socket_file for one in RUNTIMES.values())}
    found = []
    for name, tree in trees(*allowed):
        keys = {id(key) for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys}
        found += [
            f"{name}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and node.value in words and id(node) not in keys
        ]
    assert found == []


def test_each_runtime_has_a_role_a_module_a_look_and_packages() -> None:
    for name in RUNTIMES:
        assert (ROOT / "roles" / name).is_dir()
        assert (ROOT / f"plugins/modules/{name}_runtime.py").exists()
        assert f"'{name}': __preflight_{name}_packages" in (ROOT / "roles/preflight/tasks/main.yml").read_text()
    assert LOOKS.keys() == RUNTIMES.keys()


def test_preflight_looks_for_the_packages_that_the_roles_install() -> None:
    looked = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())
    for name in RUNTIMES:
        installed = yaml.safe_load((ROOT / f"roles/{name}/vars/main.yml").read_text())
        for source, systems_of in looked[f"__preflight_{name}_packages"].items():
            first = {system: packages[:1] for system, packages in installed[f"__{name}_packages"][source].items()}
            assert {system: first[system] for system in systems_of} == systems_of
            assert systems_of.keys() == MANAGERS.keys()
    docker = yaml.safe_load((ROOT / "roles/docker/vars/main.yml").read_text())
    assert looked["__preflight_docker_conflicting_packages"] == docker["__docker_conflicting_packages"]
    assert looked["__preflight_systems"].keys() == MANAGERS.keys()


def test_modules_document_the_runtimes_there_are() -> None:
    for name in ("preflight", "kubeadm_init", "kubeadm_join", "node_images"):
        tree = ast.parse((ROOT / f"plugins/modules/{name}.py").read_text())
        text = next(
            node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and node.targets[0].id == "DOCUMENTATION"  # type: ignore[attr-defined]
            and isinstance(node.value, ast.Constant)
        )
        option = yaml.safe_load(str(text))["options"]["container_runtime"]
        assert (option["choices"], option["default"]) == (list(RUNTIMES), DEFAULT), name


def test_minors_are_told_apart_in_their_room() -> None:
    minors = "|".join(map(str, versions.MINORS))
    found = []
    for name, tree in trees("plugins/module_utils/versions.py", "bootstrap/kubestrap/model/versions.py"):
        for node in ast.walk(tree):
            is_minor = isinstance(node, ast.Constant) and (
                re.fullmatch(rf"v?1\.({minors})(\..*)?|kubeadm\.k8s\.io/.*", str(node.value))
                if isinstance(node.value, str)
                else type(node.value) is int and node.value in versions.MINORS
            )
            if is_minor:
                found.append(f"{name}:{node.lineno}")  # type: ignore[attr-defined]
    assert found == []


def test_the_program_takes_the_minors_there_are() -> None:
    assert tuple(versions.MINORS) == SUPPORTED_MINORS
    described = f"Minors 1.{SUPPORTED_MINORS[0]} to 1.{SUPPORTED_MINORS[-1]} are supported"
    assert described in (ROOT / "roles/cluster/meta/argument_specs.yml").read_text()
