"""Flags, errors and exit codes."""

import json
import os
import shlex
import subprocess
import sys

import pytest
from kubestrap import __version__, cli
from kubestrap.errors import InventoryError, StepFailedError, UsageError

from tests.conftest import ROOT


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.run(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"kubestrap {__version__}\n"


@pytest.mark.parametrize("words", [[], ["upp"], ["image"], ["lab"], ["up", "--outptu", "json"]])
def test_wrong_usage_is_2(words):
    with pytest.raises(SystemExit) as caught:
        cli.run(words)
    assert caught.value.code == 2


def test_no_inventory_here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["up"]) == 2
    assert "kubestrap init" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InventoryError("2 mistakes", details=["a", "b"]), 2, "kubestrap: 2 mistakes\n  a\n  b\n"),
        (StepFailedError("no"), 5, "kubestrap: no\n"),
        (KeyboardInterrupt(), 130, "kubestrap: interrupted\n"),
        (UsageError("gone"), 2, "kubestrap: gone\n"),
    ],
)
def test_errors_become_exit_codes(monkeypatch, capsys, error, code, said):
    monkeypatch.setattr(cli, "_tools", lambda _: (_ for _ in ()).throw(error))
    assert cli.run(["check", "--output", "json"]) == code
    output = capsys.readouterr()
    assert output.err == said
    # Whoever reads JSON gets a summary also then.
    assert json.loads(output.out)["exit_code"] == code


def test_bug_is_1_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr(cli, "_tools", lambda _: 1 // 0)
    assert cli.run(["check"]) == 1
    assert "bug in kubestrap" in capsys.readouterr().err


def test_help_needs_no_third_party():
    heavy = "{'yaml', 'rich', 'paramiko', 'jinja2'}"
    program = f"import sys; from kubestrap.cli import parser; parser(); print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_typed_password_reaches_ansible_as_text_and_wins(monkeypatch, tmp_path):
    monkeypatch.setattr("getpass.getpass", lambda prompt: {"Sudo password of the hosts: ": "a{{b}} '\"c"}[prompt])
    (tmp_path / "inventory.yml").touch()
    flags = cli.parser().parse_args(["up", "-K", "-i", str(tmp_path / "inventory.yml"), "-e", "a=b"])
    first, typed = cli._request(flags).extra_vars
    assert first == "a=b"
    assert json.loads(typed) == {"ansible_become_password": {"__ansible_unsafe": "a{{b}} '\"c"}}


def started(command, directory):
    """Run a shell command in which `kubestrap` is the program."""
    program = f'kubestrap() {{ {shlex.quote(sys.executable)} -m kubestrap "$@"; }}; {command}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "bootstrap")}
    return subprocess.run(
        ["bash", "-c", program], cwd=directory, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("mkdir x && cd x && rmdir ../x && kubestrap check", 2, "the directory that this is called in is gone"),
        ("kubestrap lab list > /dev/full", 5, "No space left on device on this machine"),
        ("kubestrap check -i nope --output json >&-", 2, "there is no inventory nope"),
    ],
)
def test_strange_places_are_no_bug(tmp_path, command, code, told):
    done = started(command, tmp_path)
    assert done.returncode == code
    assert told in done.stderr
    assert "Traceback" not in done.stderr
