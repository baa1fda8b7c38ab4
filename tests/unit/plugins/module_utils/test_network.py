import socket

from ansible_collections.kubestrap.cluster.plugins.module_utils.network import (
    is_loopback,
    network_of,
    parse_listeners,
    parse_nameservers,
    parse_routes,
    why_unreachable,
)

ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100630A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000630A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
cni0\t0000F40A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
SIX = "00000000000000000000000000000000"
TCP6 = f"""\
  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: {SIX}:192B {SIX}:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 x
   1: {SIX}:280A {SIX}:A000 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 x
"""


def test_routes_without_the_default_one() -> None:
    assert [(str(route.network), route.interface) for route in parse_routes(ROUTES)] == [
        ("10.99.0.0/24", "eth0"),
        ("10.244.0.0/24", "cni0"),
    ]


def test_network_of_an_address_is_the_nearest_one() -> None:
    routes = parse_routes(ROUTES)
    assert network_of("10.99.0.7", routes) == "10.99.0.0/24"
    # A cloud may give a host nothing but a gateway.
    assert network_of("192.0.2.7", routes) == "192.0.2.7"
    assert network_of("", routes) == ""


def test_only_listening_sockets_take_a_port() -> None:
    assert parse_listeners(TCP6) == {6443: "4711"}


def test_nameservers_and_loops() -> None:
    servers = parse_nameservers("# nameserver 1.1.1.1\nnameserver 127.0.0.53\n nameserver fe80::1%eth0\nsearch x\n")
    assert servers == ["127.0.0.53", "fe80::1%eth0"]
    assert [is_loopback(server) for server in [*servers, "::1", "10.0.0.2", "no address"]] == [
        True,
        False,
        True,
        False,
        False,
    ]


def test_an_address_is_reached_also_when_nothing_listens_there_yet() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert why_unreachable("127.0.0.1", port) == ""
    assert why_unreachable("127.0.0.1", port) == ""
    # A multicast group takes no connection.
    assert "unreachable" in why_unreachable("224.0.0.1", 6443)
