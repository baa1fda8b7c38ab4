"""Who is removed from etcd before a host joins, and who never is."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.modules import etcd_member

ASKED = {"name": "cp2", "address": "10.0.0.12", "trouble": ""}


def member(number: int, *, name: str | None = None, **more: Any) -> dict[str, Any]:
    return {"ID": str(number), "name": f"cp{number}" if name is None else name,
            "peerURLs": [f"https://10.0.0.1{number}:2380"], **more}  # fmt: skip


class Etcd:
    def __init__(self, *members: dict[str, Any]) -> None:
        self.there = list(members)

    def members(self) -> list[dict[str, Any]]:
        return list(self.there)

    def remove(self, gone: dict[str, Any]) -> None:
        self.there.remove(gone)


class Api:
    def __init__(self, node: str = "") -> None:
        self.node, self.deleted = node, False

    def run(self, *arguments: str) -> str:
        self.deleted |= arguments[0] == "delete"
        return self.node


def make_room(etcd: Etcd, api: Api, **asked: str) -> tuple[list[str], Changes]:
    changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type]
    return etcd_member.make_room(changes, etcd, api, {**ASKED, **asked}), changes  # type: ignore[arg-type]


def test_nothing_is_in_the_way_of_a_new_host() -> None:
    etcd, api = Etcd(member(1), member(3)), Api()
    stay, changes = make_room(etcd, api)
    assert (stay, bool(changes), api.deleted) == (["cp1", "cp3"], False, False)


def test_the_dead_member_and_the_node_of_a_host_that_was_made_anew_go() -> None:
    etcd, api = Etcd(member(1), member(2), member(3)), Api("node/cp2\n")
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
    etcd = Etcd(member(1), member(2))
    with pytest.raises(etcd_member.EtcdError, match="no disk"):
        make_room(etcd, Api(), trouble="no disk")
    assert len(etcd.there) == 2
