"""Who is removed from etcd before a host joins, and who never is."""

import contextlib
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import traces
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.modules import etcd_member

ASKED: dict[str, Any] = {
    "name": "cp2",
    "address": "10.0.0.12",
    "trouble": "",
    "unfinished": False,
    "authorities": [],
}


def member(number: int, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"ID": str(number), "name": f"cp{number}" if name is None else name,
            "peerURLs": [f"https://10.0.0.1{number}:2380"], **more}  # fmt: skip


class Etcd:
    def __init__(self, *members: dict[str, Any]) -> None:
        self.there = list(members)
        self.active: bool | None = None

    def members(self) -> list[dict[str, Any]]:
        return list(self.there)

    def active_peer(self, _: dict[str, Any]) -> bool | None:
        return self.active

    def remove(self, gone: dict[str, Any]) -> None:
        self.there.remove(gone)


def node(name: str = "cp2", *, address: str = "10.0.0.12", ready: str = "Unknown") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready}]
    status = {"addresses": [{"type": "InternalIP", "address": address}], "conditions": conditions}
    return {"metadata": {"name": name}, "status": status}


class Api:
    def __init__(self, *nodes: dict[str, Any]) -> None:
        self.nodes, self.deleted = list(nodes), False

    def items(self, *_: str) -> list[dict[str, Any]]:
        return self.nodes

    def run(self, *arguments: str) -> str:
        self.deleted |= arguments[0] == "delete"
        return ""


@pytest.fixture(autouse=True)
def port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """What the peer port of the member does: refuses, if the test says nothing else."""
    found: dict[str, Any] = {"error": ConnectionRefusedError()}

    def connect(*_: Any, **__: Any) -> Any:
        if found["error"]:
            raise found["error"]
        return contextlib.nullcontext()

    monkeypatch.setattr(etcd_member.socket, "create_connection", connect)
    monkeypatch.setattr(etcd_member, "DEAD_FOR", 0)
    monkeypatch.setattr(etcd_member, "NODE_STALE_WITHIN", 0)
    monkeypatch.setattr(traces, "ROOT", tmp_path)
    return found


def make_room(etcd: Etcd, api: Api, **asked: Any) -> tuple[list[str], Changes]:
    changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type]
    return etcd_member.make_room(changes, etcd, api, {**ASKED, **asked}), changes  # type: ignore[arg-type]


def refused(etcd: Etcd, api: Api, **asked: Any) -> str:
    """What the refusal says; nothing was removed."""
    before = list(etcd.there)
    with pytest.raises(etcd_member.EtcdError) as raised:
        make_room(etcd, api, **asked)
    assert (etcd.there, api.deleted) == (before, False)
    return str(raised.value)


def test_nothing_is_in_the_way_of_a_new_host() -> None:
    etcd, api = Etcd(member(1), member(3)), Api()
    stay, changes = make_room(etcd, api)
    assert (stay, bool(changes), api.deleted) == (["cp1", "cp3"], False, False)


def test_the_dead_member_and_the_node_of_a_host_that_was_made_anew_go() -> None:
    etcd, api = Etcd(member(1), member(2), member(3)), Api(node())
    stay, changes = make_room(etcd, api)
    assert (stay, len(changes.diff), api.deleted) == (["cp1", "cp3"], 2, True)
    assert [one["name"] for one in etcd.there] == ["cp1", "cp3"]


def test_a_member_that_was_announced_and_never_started_is_known_by_its_address() -> None:
    etcd = Etcd(member(1), member(2, name=""))
    make_room(etcd, Api(), trouble="the API does not answer")
    assert [one["name"] for one in etcd.there] == ["cp1"]


def test_a_learner_never_held_anything_alone() -> None:
    etcd = Etcd(member(1), member(2, isLearner=True))
    make_room(etcd, Api(), trouble="the API does not answer")
    assert [one["name"] for one in etcd.there] == ["cp1"]


def test_a_member_whose_data_the_host_still_has_is_not_removed() -> None:
    assert "no disk" in refused(Etcd(member(1), member(2)), Api(), trouble="no disk", unfinished=True)


def test_a_member_that_answers_once_is_not_removed(port: dict[str, Any]) -> None:
    port["error"] = None
    assert "may work" in refused(Etcd(member(1), member(2), member(3)), Api(node()))


@pytest.mark.parametrize(("active", "words"), [(True, "hears from it"), (None, "cannot be reached")])
def test_a_member_that_cannot_be_reached_is_not_dead(port: dict[str, Any], active: bool | None, words: str) -> None:
    port["error"] = TimeoutError()
    etcd = Etcd(member(1), member(2), member(3))
    etcd.active = active
    assert words in refused(etcd, Api(node()))


def test_etcd_itself_may_say_that_a_member_is_dead(port: dict[str, Any]) -> None:
    port["error"] = TimeoutError()
    etcd = Etcd(member(1), member(2), member(3))
    etcd.active = False
    assert make_room(etcd, Api(node()))[0] == ["cp1", "cp3"]


def test_a_member_whose_node_is_ready_is_not_removed() -> None:
    assert "is Ready" in refused(Etcd(member(1), member(2)), Api(node(ready="True")))


def test_a_join_that_the_hosts_own_mark_proves_cut_is_taken_back_while_its_member_works(port: dict[str, Any]) -> None:
    port["error"] = None
    etcd, api = Etcd(member(1), member(2, isLearner=True)), Api(node(ready="True"))
    assert make_room(etcd, api, unfinished=True)[0] == ["cp1"]
    assert api.deleted


def test_a_member_that_votes_and_works_stays_whatever_a_mark_says(port: dict[str, Any]) -> None:
    # A join that was repaired by hand left its mark; a year later admin.conf is taken off the node.
    port["error"] = None
    etcd, api = Etcd(member(1), member(2), member(3)), Api(node(ready="True"))
    assert "may work" in refused(etcd, api, unfinished=True)
    port["error"] = ConnectionRefusedError()
    assert make_room(etcd, api, unfinished=True)[0] == ["cp1", "cp3"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": "cp1"}, "member named cp1 at 10.0.0.11, and this host is at 10.0.0.12"),
        ({"name": "cp9"}, "member at 10.0.0.12 under the name cp2, and this host is called cp9"),
    ],
)
def test_a_name_or_an_address_alone_is_nobodys_identity(asked: dict[str, str], words: str) -> None:
    assert words in refused(Etcd(member(1), member(2), member(3)), Api(node()), **asked, unfinished=True)


@pytest.mark.parametrize(
    "other", [node("cp2", address="10.0.0.99"), node("someone", address="10.0.0.12")], ids=["name", "address"]
)
def test_the_clusters_nodes_are_compared_too(other: dict[str, Any]) -> None:
    assert "The cluster has a node" in refused(Etcd(member(1), member(2)), Api(other))


def test_another_clusters_ca_is_refused_before_anything_goes() -> None:
    assert "another CA" in refused(Etcd(member(1), member(2)), Api(node()), authorities=["ff"], unfinished=True)


def test_a_peer_is_found_in_the_metrics_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'etcd_network_active_peers{Local="a",Remote="1f"} 1\netcd_network_active_peers{Local="a",Remote="2a"} 0\n'
    monkeypatch.setattr(etcd_member, "open_directly", lambda *_, **__: io.BytesIO(text.encode()))
    etcd = object.__new__(etcd_member.Etcd)
    etcd.context = None  # type: ignore[assignment]
    found = [etcd.active_peer({"ID": str(number)}) for number in (0x1F, 0x2A, 0x3B)]
    assert found == [True, False, None]
