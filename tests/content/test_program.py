"""Static truths about the program: what it ships, says and imports."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from kubestrap import __version__
from kubestrap.adapters.environment import clean_environment
from kubestrap.cli import parser
from kubestrap.verbs import ALL

from tools.docs import every_command, generated

ROOT = Path(__file__).parent.parent.parent
PLAYBOOKS = sorted((ROOT / "playbooks").glob("*.yml"))
# What each part of the program may import of it.
DIRECTION = {
    "errors.py": ("model",),
    "model": ("errors", "model"),
    "ports.py": ("errors", "model"),
    "session.py": ("errors", "model", "ports"),
    "verbs": ("errors", "model", "ports", "verbs", "lab"),
    "adapters": ("errors", "model", "ports", "adapters"),
}


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_playbook_parses(playbook):
    command = ["ansible-playbook", "--syntax-check", "-i", ROOT / "inventory/sample/hosts.yml"]
    done = subprocess.run(
        [*command, f"kubestrap.cluster.{playbook.stem}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_one_version_everywhere():
    assert yaml.safe_load((ROOT / "galaxy.yml").read_text())["version"] == __version__
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]


@pytest.mark.parametrize("path", sorted(generated()), ids=str)
def test_generated_file_is_current(path):
    if path.name == "commands.md" and sys.version_info < (3, 13):
        pytest.skip("this Python words its help differently")
    assert (ROOT / path).read_text() == generated()[path], "run `make docs`"


def test_every_documented_command_exists():
    commands = {name for name, _ in every_command(parser())}
    documented = [line[3:] for line in (ROOT / "docs/commands.md").read_text().splitlines() if line.startswith("## ")]
    assert set(documented) == commands


def test_every_verb_has_its_playbook_and_no_playbook_is_without_one():
    assert {verb.playbook for verb in ALL if verb.run is None} == {playbook.stem for playbook in PLAYBOOKS}


def test_every_verb_is_in_the_readme_and_shown_on_real_hosts():
    page = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `kubestrap ([a-z ]+)` \|", page, re.MULTILINE)
    assert rows == [verb.name for verb in ALL], "run `make docs`"
    shown = {path.stem.removeprefix("test_") for path in (ROOT / "tests/e2e/verbs").glob("test_*.py")}
    # Verbs that undo each other share the file of their first word.
    names = {verb.name.replace(" ", "_") for verb in ALL}
    assert shown - names == {verb.name.split()[0] for verb in ALL if verb.name.replace(" ", "_") not in shown}


def test_no_verb_is_known_by_name_outside_of_its_file():
    names = {verb.name for verb in ALL if verb.run is None}
    for path in (ROOT / "bootstrap/kubestrap").rglob("*.py"):
        if path.parent.name == "verbs":
            continue
        sides = [
            side
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Compare | ast.MatchValue)
            for side in ([node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.value])
        ]
        sides += [element for side in sides for element in getattr(side, "elts", ())]
        compared = {side.value for side in sides if isinstance(side, ast.Constant)}
        assert compared.isdisjoint(names), path


def test_wheel_holds_the_content_and_no_tests(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    base = "kubestrap/_ansible/ansible_collections/kubestrap/cluster/"
    expected = {f"{base}playbooks/{playbook.name}" for playbook in PLAYBOOKS}
    expected |= {f"{base}roles/cluster/meta/argument_specs.yml", f"{base}plugins/module_utils/changes.py"}
    expected |= {"kubestrap/_ansible/ansible.cfg", "kubestrap/templates/inventory.yml.j2", "kubestrap/cli.py"}
    assert expected <= set(names)
    assert not [name for name in names if name.startswith("tests/") or "/tests/" in name or name.endswith(".pyc")]


@pytest.mark.parametrize("part", DIRECTION)
def test_imports_go_one_way(part):
    place = ROOT / "bootstrap/kubestrap" / part
    for path in [place] if place.is_file() else sorted(place.rglob("*.py")):
        for module in imported(path):
            if module.startswith("kubestrap."):
                assert module.split(".")[1] in DIRECTION[part], f"{path} imports {module}"


@pytest.mark.parametrize("path", sorted((ROOT / "bootstrap/kubestrap/model").glob("*.py")), ids=lambda path: path.name)
def test_model_is_the_standard_library_only(path):
    assert {module.split(".")[0] for module in imported(path)} <= {*sys.stdlib_module_names, "kubestrap"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
