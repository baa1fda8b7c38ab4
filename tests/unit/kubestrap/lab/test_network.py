import ipaddress
from itertools import islice

from kubestrap.lab import network


def test_a_subnet_avoids_networks_and_routes() -> None:
    taken = ["10.200.0.0/24", "10.200.1.7", "10.200.2.0/23", "172.17.0.0/16", "fd00::/64"]
    assert str(next(network.free_subnets(taken))) == "10.200.4.0/24"


def test_no_subnet_overlaps_the_ranges_of_a_cluster() -> None:
    ranges = [ipaddress.ip_network(text) for text in network.CLUSTER_RANGES]
    assert not any(subnet.overlaps(other) for subnet in network.free_subnets([]) for other in ranges)


def test_a_full_pool_gives_way_to_the_next() -> None:
    assert str(next(network.free_subnets(["10.0.0.0/8"]))) == "172.30.0.0/24"
    assert list(islice(network.free_subnets(["0.0.0.0/0"]), 1)) == []


def test_bridge_names_fit_the_kernel_and_differ() -> None:
    long = "a" * 40
    assert len(network.bridge_of(long)) <= 15
    assert network.bridge_of("demo") != network.bridge_of("demo-2")


def test_the_second_network_is_no_labs_and_does_not_get_the_default_route() -> None:
    second = network.cluster_network("demo")
    assert network.name_of("demo") < network.name_of(second)
    assert network.name_of(second) != network.name_of("demo-cluster")
    assert network.bridge_of(second) != network.bridge_of("demo")
