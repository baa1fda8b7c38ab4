"""The address of the API: what keepalived is told."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.modules.keepalived import (
    HEADER,
    configuration,
    interface_of,
    peers_of,
    somebody_has,
)

ADDRESSES = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
7: ens3    inet 10.0.0.11/24 brd 10.0.0.255 scope global ens3\\       valid_lft forever preferred_lft forever
7: ens3    inet 10.0.0.10/32 scope global proto keepalived ens3\\       valid_lft forever preferred_lft forever
8: ens4    inet 10.0.0.111/24 scope global ens4\\       valid_lft forever preferred_lft forever
"""


def told(*peers: str, address: str = "10.0.0.10") -> str:
    return configuration(address=address, node_address="10.0.0.11", interface="ens3", peers=peers)


def test_interface_is_the_one_with_the_address_of_the_node() -> None:
    assert interface_of("10.0.0.11", ADDRESSES) == "ens3"
    assert interface_of("10.0.0.1", ADDRESSES) == ""


def test_order_and_repetition_of_peers_make_no_difference() -> None:
    text = told("10.0.0.13", "10.0.0.9", "10.0.0.13", "10.0.0.11")
    assert text == told("10.0.0.9", "10.0.0.13")
    assert text.startswith(HEADER)
    assert peers_of(text) == ["10.0.0.9", "10.0.0.13"]


def test_a_lone_control_plane_speaks_to_nobody() -> None:
    assert peers_of(told()) == []
    assert "127.0.0.1" in told()


@pytest.mark.parametrize(("address", "router"), [("10.0.0.10", 10), ("10.0.1.0", 255), ("10.0.0.255", 255)])
def test_router_number_is_one_that_vrrp_has(address: str, router: int) -> None:
    assert f"virtual_router_id {router}\n" in told(address=address)


def test_all_have_one_priority_so_that_the_address_stays_where_it_works() -> None:
    assert "priority 100\n" in told("10.0.0.12")
    assert "weight 50\n" in told("10.0.0.12")


def test_an_address_that_refuses_a_connection_is_there() -> None:
    assert somebody_has("127.0.0.1", 1)
    assert not somebody_has("255.255.255.255", 1)
