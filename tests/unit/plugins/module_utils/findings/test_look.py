"""What a host is, as a value."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import look, rules_network
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import server_of
from ansible_collections.kubestrap.cluster.plugins.modules.preflight import facts

from tests.unit.plugins.module_utils.findings.params import PARAMS


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("clusters:\n- cluster:\n    server: https://10.0.0.11:6443\n", "10.0.0.11:6443"),
        ('    server: "https://api.example"\n', "api.example:443"),
        ("    server: https://[fd00::1]:6443\n", "[fd00::1]:6443"),
        ("users: []\n", ""),
    ],
)
def test_api_server_of_a_kubeconfig(text: str, server: str) -> None:
    assert server_of(text) == server


def test_a_control_plane_that_lost_a_manifest_is_one_for_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Else a bare host that stands before it in the inventory makes a second cluster, while its API is down.
    monkeypatch.setattr(look, "MANIFESTS", tmp_path)
    monkeypatch.setattr(look, "KUBELET_CONF", tmp_path / "kubelet.conf")
    (tmp_path / "etcd.yaml").touch()
    view = look.look(PARAMS)
    assert (view.control_plane, view.parts) == (False, True)
    assert facts(view, PARAMS)["is_control_plane"]


def test_what_was_seen_can_be_written_down() -> None:
    view = look.look(PARAMS)
    # JSON has lists only.
    again = json.loads(json.dumps(asdict(view)))
    assert View(**{**again, "ports": [tuple(port) for port in again["ports"]]}) == view


@pytest.mark.parametrize(
    ("program", "is_node", "taken"),
    [
        ("etcd", True, []),
        ("etcd", False, ["port 2379 (etcd) by etcd"]),
        ("nginx", True, ["port 2379 (etcd) by nginx"]),
        # A part of the control plane that ended between the two looks.
        ("", True, []),
        ("", False, ["port 2379 (etcd) by an unknown program"]),
    ],
)
def test_port_of_a_part_that_restarts_is_not_taken(program: str, is_node: bool, taken: list[str]) -> None:
    found = rules_network.ports(View(ports=[(2379, program)], joined=is_node))
    assert [finding.evidence for finding in found] == [f"Taken already: {line}." for line in taken]
