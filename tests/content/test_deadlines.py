"""Every program that is started has a deadline, or is bounded by progress that somebody watches."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Only these start programs without a deadline, each for its reason.
WITHOUT = {
    "bootstrap/kubestrap/lab/labs.py": "a person at a shell",
    # Streams: whoever reads or feeds them sees whether they move.
    "bootstrap/kubestrap/lab/image.py": "tar, which ends with `docker import`",
    "bootstrap/kubestrap/adapters/ssh.py": "a look with a clock of its own for each host",
    "plugins/plugin_utils/shared_output.py": "docker save, watched by its readers",
    "plugins/module_utils/relay.py": "the loader, watched by the one who feeds it",
    "plugins/action/node_images.py": "docker save and the loader behind ssh, watched by the one who feeds it",
}
THE_ONE_PLACE = "plugins/module_utils/programs.py"


def calls() -> Iterator[tuple[str, ast.Call]]:
    for part in ("bootstrap", "plugins"):
        for path in sorted((ROOT / part).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield str(path.relative_to(ROOT)), node


def is_of(node: ast.Call, module: str, *names: str) -> bool:
    function = node.func
    assert isinstance(function, ast.Attribute)
    return function.attr in names and isinstance(function.value, ast.Name) and function.value.id == module


def test_programs_have_a_deadline() -> None:
    missing = {
        f"{path}:{node.lineno}"
        for path, node in calls()
        if is_of(node, "subprocess", "run", "call", "check_call", "check_output")
        and "timeout" not in {keyword.arg for keyword in node.keywords}
        and path not in WITHOUT
    }
    assert missing == set()


def test_streams_are_the_known_ones() -> None:
    started = {path for path, node in calls() if is_of(node, "subprocess", "Popen")}
    assert started <= WITHOUT.keys()


def test_exceptions_are_needed() -> None:
    used = {path for path, node in calls() if is_of(node, "subprocess", "run", "Popen")}
    assert WITHOUT.keys() - used == set()


def test_modules_start_programs_in_one_place() -> None:
    found = {
        f"{path}:{node.lineno}"
        for path, node in calls()
        if isinstance(node.func, ast.Attribute) and node.func.attr == "run_command" and path != THE_ONE_PLACE
    }
    found |= {
        f"{path}:{node.lineno}"
        for path, node in calls()
        if path.startswith(("plugins/modules/", "plugins/module_utils/"))
        and is_of(node, "subprocess", "run")
        and path != THE_ONE_PLACE
    }
    assert found == set()


def test_nothing_is_started_past_subprocess() -> None:
    assert not [path for path, node in calls() if is_of(node, "os", "system", "popen", "spawnv", "spawnvp")]
