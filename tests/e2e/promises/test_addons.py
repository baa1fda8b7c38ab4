"""Add-ons: what they promise on the running cluster, and that they go when they are not asked for any more."""

import concurrent.futures
import contextlib
import json
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT, Hosts, Program
from tests.e2e.conftest import APP
from tests.e2e.verbs.test_up import get

ALL = ["metrics-server", "local-path", "metallb"]
EXTRAS = APP / "k8s-extras"
DEPLOYMENT = "deployment/springboot-kotlin-app"
SERVICE = "service/springboot-kotlin-service"
JOURNAL = ("exec", "journal-0", "--", "cat", "/data/journal")
LOAD_SECONDS = 180


@pytest.fixture(scope="module")
def up(cluster: Hosts, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """Run `up` with the add-ons given; the cluster is left as it was found."""
    command = [sys.executable, "-m", "tools.upstream", "addons"]
    path = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    address = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[0].status.addresses[0].address}")
    network = address.rpartition(".")[0]
    variables = {
        **yaml.safe_load(Path(path).read_text()),
        "cluster_metallb_addresses": [f"{network}.200-{network}.210"],
    }
    file = tmp_path_factory.mktemp("addons") / "variables.yml"

    def run(*addons: str) -> Any:
        file.write_text(yaml.safe_dump({**variables, "cluster_addons": list(addons)}))
        return program.run("up", "-i", cluster.inventory, "-e", f"@{file}", "--output", "json").summary

    yield run
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=(EXTRAS / "hpa.yaml").read_text())
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=(EXTRAS / "journal.yaml").read_text())
    cluster.kubectl("delete", "pvc", "--all", "--ignore-not-found")
    if cluster.kubectl("get", "namespaces,deployments", "--all-namespaces", "-l", "kubestrap/addon", "-o", "name"):
        run()


def until(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait for it; how long that took."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() < started + seconds, f"{what} did not happen within {seconds} s"
        time.sleep(1)
    return time.monotonic() - started


def found(summary: dict[str, Any]) -> list[str]:
    """What a run said about volumes that keep an add-on."""
    findings = [finding for host in summary["findings"].values() for finding in host]
    return [finding["evidence"] for finding in findings if finding["id"] == "addon-has-volumes"]


def test_addons_work_and_a_second_run_changes_nothing(cluster: Hosts, up: Callable[..., Any]) -> None:
    assert up(*ALL)["failed"] == 0
    assert up(*ALL)["changed"] == 0
    measured_nodes = cluster.kubectl("top", "nodes", "--no-headers").splitlines()
    assert len(measured_nodes) == 2
    assert "<unknown>" not in "".join(measured_nodes)
    classes = json.loads(cluster.kubectl("get", "storageclasses", "-o", "json"))["items"]
    assert [item["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] for item in classes] == [
        "true"
    ]


@pytest.mark.usefixtures("up")
def test_load_balancer_answers_on_port_80(
    cluster: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    (url,) = program.run("status", "-i", cluster.inventory, "--output", "json").summary["app_urls"]
    _, _, address = url.partition("://")
    assert 200 <= int(address.rpartition(".")[2]) <= 210, f"{url} is no address of the pool"
    assert get(url) == 200
    measured("LoadBalancer", f"HTTP 200 from {url}, an address of MetalLB's pool")


@pytest.mark.usefixtures("up")
def test_load_adds_replicas_and_idleness_takes_them_away(
    cluster: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    (url,) = program.run("status", "-i", cluster.inventory, "--output", "json").summary["app_urls"]
    cluster.kubectl("apply", "-f", "-", stdin=(EXTRAS / "hpa.yaml").read_text())

    def replicas() -> int:
        return int(cluster.kubectl("get", DEPLOYMENT, "-o", "jsonpath={.spec.replicas}"))

    assert replicas() == 2
    ended = time.monotonic() + LOAD_SECONDS
    enough = False

    def ask() -> None:
        while not enough and time.monotonic() < ended:
            with contextlib.suppress(urllib.error.URLError, OSError):
                get(url)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        try:
            grown = until(lambda: replicas() > 2, LOAD_SECONDS, "more replicas")
        finally:
            enough = True
        concurrent.futures.wait(asking)
    shrunk = until(lambda: replicas() == 2, 240, "fewer replicas")
    measured("HPA", f"a third replica after {grown:.0f} s of load, two again {shrunk:.0f} s after it ended")


@pytest.mark.usefixtures("up")
def test_data_outlives_its_pod(cluster: Hosts, measured: Callable[[str, str], None]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=(EXTRAS / "journal.yaml").read_text())
    cluster.kubectl("rollout", "status", "statefulset/journal", "--timeout=120s")
    before = cluster.kubectl("get", "pod", "journal-0", "-o", "jsonpath={.metadata.uid}")
    assert cluster.kubectl(*JOURNAL).split() == ["started"]
    cluster.kubectl("delete", "pod", "journal-0")
    cluster.kubectl("rollout", "status", "statefulset/journal", "--timeout=120s")
    assert cluster.kubectl("get", "pod", "journal-0", "-o", "jsonpath={.metadata.uid}") != before
    assert cluster.kubectl(*JOURNAL).split() == ["started", "started"]
    measured("StatefulSet + PersistentVolume", "the new pod found what the deleted one wrote")


def test_removed_addons_are_gone_but_volumes_keep_theirs(
    cluster: Hosts, up: Callable[..., Any], program: Program
) -> None:
    def pods() -> list[str]:
        return cluster.kubectl("get", "pods", "-l", "app=springboot-kotlin-app", "-o", "name").split()

    # The replicas that the load brought take their time to end.
    until(lambda: len(pods()) == 2, 60, "the end of the other replicas")
    before = pods()
    nodes = cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}")
    summary = up()
    (kept,) = found(summary)
    assert "default/data-journal-0" in kept
    # Its data is where it was; the others are gone with all they had.
    assert cluster.kubectl(*JOURNAL).split() == ["started", "started"]
    left = cluster.kubectl("get", "namespaces,apiservices,crds,clusterroles", "-o", "name")
    assert "local-path-storage" in left
    assert "metallb" not in left
    assert "metrics" not in left
    # The app answers as before: at a port of every node.
    assert cluster.kubectl("get", SERVICE, "-o", "jsonpath={.status.loadBalancer}") == "{}"
    urls = program.run("status", "-i", cluster.inventory, "--output", "json").summary["app_urls"]
    assert [get(url) for url in urls] == [200, 200]
    assert cluster.kubectl("get", "nodes", "-o", "jsonpath={.items[*].metadata.uid}") == nodes
    assert pods() == before

    cluster.kubectl("delete", "statefulset", "journal")
    cluster.kubectl("delete", "pvc", "data-journal-0")
    until(lambda: cluster.kubectl("get", "pv", "-o", "name") == "", 60, "the end of the volume")
    assert found(up()) == []
    assert "local-path" not in cluster.kubectl("get", "namespaces,storageclasses,clusterroles", "-o", "name")
    assert up()["changed"] == 0
