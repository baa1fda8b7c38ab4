"""The operator's kubeconfig: ours comes in, everything else stays."""

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleActionFail
from ansible_collections.kubestrap.cluster.plugins.action.kubeconfig import Kubeconfig, credentials


def admin(ca: str = "Q0E=") -> dict[str, Any]:
    cluster = {"server": "https://10.0.0.11:6443", "certificate-authority-data": ca}
    return {
        "clusters": [{"name": "kubernetes", "cluster": cluster}],
        "users": [{"name": "kubernetes-admin", "user": {"client-key-data": "a2V5"}}],
    }


def merged(path: Path, context: str = "blue", **options: Any) -> Kubeconfig:
    kubeconfig = Kubeconfig(path)
    kubeconfig.merge(context, admin(**options))
    return kubeconfig


def test_a_new_file_is_for_its_owner_only_and_the_context_is_current(tmp_path: Path) -> None:
    path = tmp_path / "new/config"
    kubeconfig = merged(path)
    assert kubeconfig.differs()
    kubeconfig.save()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "blue"
    assert [one.name for one in path.parent.iterdir()] == ["config"]


def test_the_second_time_nothing_differs(tmp_path: Path) -> None:
    merged(tmp_path / "config").save()
    assert not merged(tmp_path / "config").differs()


def test_others_stay_and_the_file_as_it_was_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "config"
    merged(path, "green").save()
    before = path.read_text()
    merged(path).save()
    data = yaml.safe_load(path.read_text())
    assert [one["name"] for one in data["contexts"]] == ["green", "blue"]
    assert data["current-context"] == "green"
    backup = next(one for one in tmp_path.iterdir() if one != path)
    assert backup.read_text() == before
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600


def test_a_new_ca_replaces_the_old_one_and_a_chosen_namespace_stays(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig = merged(path)
    kubeconfig.data["contexts"][0]["context"]["namespace"] = "shop"
    kubeconfig.save()
    assert not merged(path).differs()
    renewed = merged(path, ca="TkVX")
    assert renewed.differs()
    renewed.save()
    data = yaml.safe_load(path.read_text())
    assert data["clusters"][0]["cluster"]["certificate-authority-data"] == "TkVX"
    assert data["contexts"][0]["context"]["namespace"] == "shop"
    assert len(data["clusters"]) == 1


@pytest.mark.parametrize("text", ["[1, 2", "- a list"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(AnsibleActionFail, match="left alone"):
        Kubeconfig(path)
    assert path.read_text() == text


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "config"
    real.write_text("")
    link.symlink_to(real)
    merged(link).save()
    assert link.is_symlink()
    assert "blue" in real.read_text()


def test_only_a_context_that_leads_to_this_cluster_can_be_kept(tmp_path: Path) -> None:
    kubeconfig = merged(tmp_path / "config")
    assert kubeconfig.leads_to("blue", admin())
    assert not kubeconfig.leads_to("blue", admin(ca="TkVX"))
    assert not kubeconfig.leads_to("green", admin())
    kubeconfig.data["users"] = []
    assert not kubeconfig.leads_to("blue", admin())


def test_a_proxy_somebody_chose_for_the_way_to_the_cluster_stays(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig = merged(path)
    kubeconfig.data["clusters"][0]["cluster"]["proxy-url"] = "socks5://127.0.0.1:1080"
    kubeconfig.save()
    assert not merged(path).differs()
    assert merged(path, ca="bmV3").data["clusters"][0]["cluster"]["proxy-url"] == "socks5://127.0.0.1:1080"


def test_people_may_reach_the_api_at_another_address() -> None:
    conf = yaml.safe_dump(admin())
    assert credentials(conf, "") == admin()
    assert credentials(conf, "https://192.0.2.11:6443")["clusters"][0]["cluster"]["server"] == "https://192.0.2.11:6443"
