from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import traces, unfinished
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import apt
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.apt import without_stale_entries
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import kubernetes_url
from ansible_collections.kubestrap.cluster.plugins.modules import kubernetes_packages
from ansible_collections.kubestrap.cluster.plugins.modules.kubernetes_packages import (
    KubernetesPackages,
    matches,
)

URL = "https://mirror.example/v1.36/deb/"
OLD = "deb https://apt.kubernetes.io/ kubernetes-xenial main"
OWN = "deb https://debian.example/debian trixie main"


@pytest.mark.parametrize(
    ("version", "wanted", "expected"),
    [
        ("1.36.4-1.1", "1.36.4", True),
        ("1.36.4-2.1", "1.36.4", True),
        ("1.36.40-1.1", "1.36.4", False),
        ("1.36.3-1.1", "1.36.4", False),
        ("1.36.3-1.1", "1.36", True),
        ("1.3.6-1.1", "1.36", False),
        ("1.360.1-1.1", "1.36", False),
    ],
)
def test_version_of_a_package_is_the_wanted_one(version: str, wanted: str, *, expected: bool) -> None:
    assert matches(version, wanted) is expected


@pytest.mark.parametrize("version", ["1.36.4", "1.36", "v1.36.4"])
def test_minor_as_the_repository_names_it(version: str) -> None:
    assert kubernetes_url("https://mirror.example/{minor}/deb", version) == URL


@pytest.mark.parametrize(
    "entry",
    [
        OLD,
        "deb [signed-by=/k.gpg] http://apt.kubernetes.io kubernetes-xenial main",
        "deb https://packages.example.com/apt kubernetes-xenial main",
        "deb [signed-by=/k.gpg] https://pkgs.k8s.io/core:/stable:/v1.30/deb/ /",
        f"deb [trusted=yes] {URL} /",
    ],
)
def test_stale_line_goes_and_the_others_stay(entry: str) -> None:
    assert without_stale_entries(f"{entry}\n", URL, deb822=False) == ""
    assert without_stale_entries(f"# mine\n{OWN}\n{entry}\n", URL, deb822=False) == f"# mine\n{OWN}\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{OWN}\n",
        f"# {OLD}\n{OWN}\n",
        "deb https://packages.example.com/apt cloud-sdk main\n",
        "",
    ],
)
def test_file_without_stale_entries_is_left_as_it_is(text: str) -> None:
    assert without_stale_entries(text, URL, deb822=False) == text


def test_stale_paragraph_goes_and_the_others_stay() -> None:
    own = "Types: deb\nURIs: https://debian.example/debian\nSuites: trixie"
    stale = "Types: deb\nURIs: https://pkgs.k8s.io/core:/stable:/v1.30/deb/\nSuites: /"
    assert without_stale_entries(f"{own}\n\n{stale}\n", URL, deb822=True) == f"{own}\n"
    assert without_stale_entries(f"{stale}\n", URL, deb822=True) == ""
    assert without_stale_entries(f"{own}\n\n\n{own}\n", URL, deb822=True) == f"{own}\n\n\n{own}\n"


def test_a_control_plane_without_its_kubelet_conf_is_not_upgraded_in_passing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*, msg: str) -> None:
        raise SystemExit(msg)

    monkeypatch.setattr(traces, "ROOT", tmp_path)
    monkeypatch.setattr(unfinished, "MARK", str(tmp_path / "unfinished.json"))
    monkeypatch.setattr(kubernetes_packages, "KUBELET_CONF", tmp_path / "etc/kubernetes/kubelet.conf")
    installed = {"kubelet": apt.Package("1.35.2-1.1", held=True)}
    monkeypatch.setattr(apt, "installed", lambda *_: installed)
    monkeypatch.setattr(kubernetes_packages, "Proxy", lambda _: SimpleNamespace(use=lambda: None))
    (tmp_path / "etc/kubernetes/manifests").mkdir(parents=True)
    (tmp_path / "etc/kubernetes/manifests/kube-apiserver.yaml").touch()
    module: Any = SimpleNamespace(params={"version": "1.36.4", "proxy": {}}, fail_json=ended, check_mode=False)
    with pytest.raises(SystemExit, match=r"with kubelet 1\.35\.2, and 1\.36\.4 is asked for"):
        KubernetesPackages(module).run()


def test_a_source_file_of_the_persons_is_set_aside_where_apt_does_not_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "SOURCES", str(tmp_path))
    monkeypatch.setattr(apt, "SOURCES_LIST", tmp_path / "sources.list")
    (tmp_path / "mine.list").write_text(f"# of 2023, ask Ann\n{OLD}\n")
    for check_mode in (True, False):
        changes = Changes(SimpleNamespace(check_mode=check_mode))  # type: ignore[arg-type]
        apt.disable_other_sources(changes, "", URL)
        assert changes
        assert (tmp_path / "mine.list").exists() is check_mode
    (aside,) = tmp_path.iterdir()
    assert (aside.suffix, "ask Ann" in aside.read_text()) == (".disabled", True)
