"""`kubestrap status`: what is there, read-only."""

from tests.conftest import Hosts, Program


def test_nodes_versions_and_address(cluster: Hosts, program: Program) -> None:
    summary = program.run("status", "-i", cluster.inventory, "--output", "json").summary
    assert summary["changed"] == 0
    assert {(node["name"], node["ready"]) for node in summary["nodes"]} == {
        (cluster.host("cp1"), True),
        (cluster.host("worker1"), True),
    }
    assert {node["version"] for node in summary["nodes"]} == {"1.36.4"}
    text = program.run("status", "-i", cluster.inventory).stdout
    assert all(url in text for url in summary["app_urls"])
