"""Flags, errors and exit codes."""

import json
import subprocess
import sys

import pytest

from bootstrap import __version__, cli
from bootstrap.errors import InventoryError, StepFailedError


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
    program = f"import sys; from bootstrap.cli import parser; parser(); print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_typed_password_reaches_ansible_as_text_and_wins(monkeypatch, tmp_path):
    monkeypatch.setattr("getpass.getpass", lambda prompt: {"Sudo password of the hosts: ": "a{{b}} '\"c"}[prompt])
    (tmp_path / "inventory.yml").touch()
    flags = cli.parser().parse_args(["up", "-K", "-i", str(tmp_path / "inventory.yml"), "-e", "a=b"])
    first, typed = cli._request(flags).extra_vars
    assert first == "a=b"
    assert json.loads(typed) == {"ansible_become_password": {"__ansible_unsafe": "a{{b}} '\"c"}}
