"""Ansible gets what the person has, but for what is kept out by name."""

import subprocess
import sys
from pathlib import Path

import pytest
from kubestrap.adapters import vault
from kubestrap.adapters.environment import KEPT_OUT, clean_environment, extra_vars_files
from kubestrap.errors import UsageError

ROOT = Path(__file__).parents[4]


def test_everything_else_gets_through(monkeypatch):
    for name in ("SITE_TOKEN", "NETBOX_API", "ANSIBLE_HASHI_VAULT_TOKEN", "ANSIBLE_SSH_ARGS", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
        assert clean_environment()[name] == "x"


def test_what_decides_how_a_run_goes_is_ours(monkeypatch):
    for name in KEPT_OUT:
        monkeypatch.setenv(name, "theirs")
    assert "theirs" not in clean_environment().values()
    assert clean_environment()["ANSIBLE_CONFIG"].endswith("/ansible.cfg")


def test_what_is_kept_out_is_documented():
    page = (ROOT / "docs/connections.md").read_text()
    assert [name for name in sorted(KEPT_OUT) if f"`{name.removeprefix('ANSIBLE_')}`" not in page] == []


def test_programs_and_collections_of_the_person_stay(monkeypatch):
    monkeypatch.setenv("PATH", "/opt/mine")
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", "/opt/collections")
    environment = clean_environment()
    assert environment["PATH"].startswith("/opt/mine:")
    assert environment["ANSIBLE_COLLECTIONS_PATH"].endswith(":/opt/collections")


def test_vault_passwords(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("one\n")
    monkeypatch.setenv("ANSIBLE_VAULT_IDENTITY_LIST", "old@/old")
    seen = "import os; print(os.environ['ANSIBLE_VAULT_IDENTITY_LIST'])"
    with vault.passwords([f"{tmp_path}/file", "prod@prompt"], tmp_path / "state", lambda _: "typed"):
        told = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True).stdout.strip()
        old, file, typed = told.split(",")
        assert (old, file) == ("old@/old", f"default@{tmp_path}/file")
        path = Path(typed.removeprefix("prod@"))
        assert path.read_text() == "typed\n"
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()
    with pytest.raises(UsageError, match="no file"), vault.passwords(["x@/nope"], tmp_path / "state", lambda _: ""):
        pass


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"ansible_password": "hush-hush"', "-e ...: neither JSON nor YAML"),
        ('["hush-hush"]', "-e ...: must be a mapping"),
        ("hush-hush", "-e ...: is no variable"),
        ("ansible_password=hush hush", "-e ansible_password: is no variable"),
        ("ansible_password='hush", "-e ansible_password: a quote is not closed"),
        ("cluster_name", "-e cluster_name: is no variable"),
    ],
)
def test_a_mistake_in_a_variable_shows_no_value(tmp_path, text, told):
    with pytest.raises(UsageError) as error:
        extra_vars_files([text], tmp_path)
    assert told in str(error.value)
    assert "hush" not in str(error.value)
