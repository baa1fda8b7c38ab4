"""What a runtime believes of registries: written, taken back, and never more than what is ours."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import registry_trust
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes


def converge(directory: Path, files: dict[str, str], *, check: bool = False) -> list[str]:
    """Converge and return what was changed, relative to the directory."""
    changes = Changes(SimpleNamespace(check_mode=check))  # type: ignore[arg-type] - all it takes
    content = {f"{directory}/{name}": registry_trust.marked(text) for name, text in files.items()}
    registry_trust.converge(changes, str(directory), content)
    return [entry["after_header"].removeprefix(f"{directory}/") for entry in changes.diff]


def content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): path.read_text() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_what_left_the_inventory_is_taken_back_and_what_others_put_there_stays(tmp_path: Path) -> None:
    for name in ("theirs:5000/ca.crt", "theirs:5000/hosts.toml", "both/client.cert"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("theirs\n")
    theirs = content(tmp_path)
    wanted = {"ours:5000/ca.crt": "PEM", "ours:5000/hosts.toml": "x = 1", "both/ca.crt": "PEM"}
    assert converge(tmp_path, wanted) == list(wanted)
    assert converge(tmp_path, wanted) == []
    assert converge(tmp_path, {"both/ca.crt": "PEM"}) == ["ours:5000/ca.crt", "ours:5000/hosts.toml"]
    assert not (tmp_path / "ours:5000").exists()
    assert converge(tmp_path, {}, check=True) == ["both/ca.crt"]
    assert converge(tmp_path, {}) == ["both/ca.crt"]
    assert content(tmp_path) == theirs
    assert converge(tmp_path, {}) == []


def test_a_file_of_somebody_else_is_kept_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_trust.time, "strftime", lambda _: "20260101T000000")
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io/hosts.toml").write_text("theirs\n")
    assert converge(tmp_path, {"docker.io/hosts.toml": "ours"})
    assert content(tmp_path) == {
        "docker.io/hosts.toml": f"{registry_trust.HEADER}ours\n",
        "docker.io/hosts.toml.20260101T000000": "theirs\n",
    }
    assert converge(tmp_path, {}) == ["docker.io/hosts.toml"]
    assert content(tmp_path) == {"docker.io/hosts.toml.20260101T000000": "theirs\n"}


def test_what_somebody_else_says_already_stays_theirs(tmp_path: Path) -> None:
    (tmp_path / "registry").mkdir()
    (tmp_path / "registry/ca.crt").write_text("PEM\n\n")
    assert converge(tmp_path, {"registry/ca.crt": "PEM"}) == []
    assert converge(tmp_path, {}) == []
    assert content(tmp_path) == {"registry/ca.crt": "PEM\n\n"}


def test_a_directory_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert converge(tmp_path / "none", {}) == []


@pytest.mark.parametrize("name", ["../../../tmp/x", "a/b", "..", "https://r.example", "", "r.example:x", "a\nb"])
def test_a_name_that_leads_out_of_the_directory_is_refused(name: str) -> None:
    for kind in (registry_trust.authorities, registry_trust.by_registry):
        with pytest.raises(ValueError, match="name:port of a registry"):
            kind({name: "x"})


@pytest.mark.parametrize("name", ["r.example:5000", "localhost", "192.0.2.1:443", "a_b.c-d"])
def test_the_name_of_a_registry(name: str) -> None:
    assert registry_trust.authorities({name: "x"}) == {name: "x"}
