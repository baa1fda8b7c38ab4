"""Inventory to cluster, and `--limit`."""

from pathlib import Path

import pytest
from kubestrap.model.cluster import Inventory, cluster_from, limit_hosts

INVENTORY = Inventory(
    groups={"control_plane": ("cp",), "workers": ("w1", "w2"), "db": ("other",)},
    variables={"cp": {"cluster_name": "shop"}, "w1": {}, "w2": {"ansible_host": "192.0.2.2"}, "other": {}},
    sources=(Path("/somewhere/inventory.yml"),),
)
CLUSTER = cluster_from(INVENTORY, default_name="kubernetes")


def test_cluster_of_an_inventory():
    assert CLUSTER.name == "shop"
    assert [host.name for host in CLUSTER.control_planes] == ["cp"]
    assert [host.address for host in CLUSTER.workers] == ["w1", "192.0.2.2"]
    assert CLUSTER.others == ("other",)
    assert CLUSTER.directory == Path("/somewhere")


@pytest.mark.parametrize(
    ("pattern", "expected", "unknown"),
    [
        ("w1", ["w1"], ()),
        ("workers", ["w1", "w2"], ()),
        ("all,!w2", ["cp", "w1"], ()),
        ("!cp", ["w1", "w2"], ()),
        ("w*:cp", ["cp", "w1", "w2"], ()),
        ("w1,nope", ["w1"], ("nope",)),
    ],
)
def test_limit(pattern, expected, unknown):
    hosts, wrong = limit_hosts(CLUSTER, pattern)
    assert ([host.name for host in hosts], wrong) == (expected, unknown)
