"""What a cluster does for an app once it runs: updates without a gap, canaries, self-healing, namespaces."""

import json
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Hosts, Program
from tests.e2e.conftest import APP, IMAGE

NAME = "springboot-kotlin-app"
SPACE = "second"
NEW = "kubestrap-e2e-app:latest"
# Nobody waits longer; a busy machine may take a part of it.
PATIENCE_SECONDS = 240


def host_that_answers(url: str) -> str:
    """Which replica answers a request over a connection of its own."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - the address kubestrap printed
        return str(json.load(answer)["host"])


@dataclass
class Client:
    """Asks an app's addresses in turn, at most 20 times a second, each time over a new connection."""

    urls: list[str]
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0

    @contextmanager
    def asking(self) -> Iterator["Client"]:
        """Go on asking while the body runs."""
        over = threading.Event()
        thread = threading.Thread(target=self._ask, args=(over,))
        started = time.monotonic()
        thread.start()
        try:
            yield self
        finally:
            over.set()
            thread.join()
            self.seconds = time.monotonic() - started

    def _ask(self, over: threading.Event) -> None:
        while not over.is_set():
            for url in self.urls:
                try:
                    self.answers[host_that_answers(url)] += 1
                except (OSError, ValueError) as error:
                    self.failures.append(f"{time.strftime('%X')} {url}: {error}")
                over.wait(0.05)


@dataclass(frozen=True, kw_only=True)
class Second:
    """The example app once more, in a namespace of its own."""

    hosts: Hosts
    program: Program
    directory: Path

    def deploy(self, *, image: str = IMAGE, replicas: int = 2, canary: str = "") -> dict[str, Any]:
        """Deploy the example's manifests with these images."""
        (self.directory / "app.yaml").write_text(
            (APP / "k8s/deployment.yaml")
            .read_text()
            .replace(f"image: {IMAGE}", f"image: {image}")
            .replace("replicas: 2", f"replicas: {replicas}")
        )
        (self.directory / "service.yaml").write_text((APP / "k8s/service.yaml").read_text())
        if canary:
            text = (APP / "canary/deployment.yaml").read_text()
            (self.directory / "canary.yaml").write_text(text.replace(f"image: {NAME}:canary", f"image: {canary}"))
        variables = {"cluster_app_manifests": [str(self.directory)], "cluster_app_namespace": SPACE}
        arguments = ("-i", self.hosts.inventory, "-e", json.dumps(variables), "--output", "json")
        return self.program.run("deploy", *arguments).summary

    def pods(self) -> list[dict[str, Any]]:
        """Its pods that are not on their way out."""
        found = self.hosts.kubectl("get", "pods", "-n", SPACE, "-l", f"app={NAME}", "-o", "json")
        return [pod for pod in json.loads(found)["items"] if "deletionTimestamp" not in pod["metadata"]]

    def wait_for(self, what: Callable[[list[dict[str, Any]]], bool]) -> float:
        """Seconds until its pods are as wanted."""
        started = time.monotonic()
        while not what(self.pods()):
            assert time.monotonic() - started < PATIENCE_SECONDS, self.hosts.kubectl("get", "pods", "-n", SPACE)
            time.sleep(0.2)
        return time.monotonic() - started


@pytest.fixture(scope="module")
def second(cluster: Hosts, program: Program, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    """The app in a namespace that nobody made before."""
    app = Second(hosts=cluster, program=program, directory=tmp_path_factory.mktemp("second"))
    (app.directory / "elsewhere.yaml").write_text("""\
apiVersion: v1
kind: Namespace
metadata: {name: elsewhere}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: note, namespace: elsewhere}
data: {text: stays where it says}
""")
    app.deploy()
    yield app
    cluster.kubectl("delete", "namespace", SPACE, "elsewhere", "--ignore-not-found", "--wait=false")
    subprocess.run(["docker", "rmi", "-f", NEW], check=True, stdout=subprocess.DEVNULL)


def ready(pods: list[dict[str, Any]]) -> list[str]:
    """Names of the pods that are ready."""
    return [
        pod["metadata"]["name"]
        for pod in pods
        if any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"].get("conditions", ()))
    ]


def build(version: int) -> None:
    """Make another version of the example app under one and the same name."""
    lines = f"FROM {IMAGE}\nENV VERSION_OF_TEST={version}\n"
    subprocess.run(["docker", "build", "--quiet", "--tag", NEW, "-"], input=lines, text=True, check=True)


def test_namespaces_stand_side_by_side(
    cluster: Hosts, program: Program, second: Second, measured: Callable[[str, str], None]
) -> None:
    first = program.run("status", "-i", cluster.inventory, "--output", "json").summary["app_urls"]
    other = program.run(
        "status", "-i", cluster.inventory, "-e", f"cluster_app_namespace={SPACE}", "--output", "json"
    ).summary["app_urls"]
    assert set(first).isdisjoint(other)
    hosts = [{host_that_answers(url) for url in urls for _ in range(10)} for urls in (first, other)]
    assert hosts[0].isdisjoint(hosts[1])
    assert hosts[1] <= set(ready(second.pods()))
    assert "stays where it says" in cluster.kubectl("get", "configmap", "note", "-n", "elsewhere", "-o", "yaml")
    again = second.deploy()
    assert (again["changed"], again["app_urls"]) == (0, other)
    measured("namespaces", "the same app twice, each at a port of its own")


@pytest.mark.parametrize(("version", "how"), [(1, "another image in the manifest"), (2, "the same tag, built anew")])
def test_rolling_update_drops_no_request(
    second: Second, measured: Callable[[str, str], None], version: int, how: str
) -> None:
    urls = second.deploy(image=IMAGE if version == 1 else NEW)["app_urls"]
    before = set(ready(second.pods()))
    build(version)
    with Client(urls).asking() as client:
        started = time.monotonic()
        summary = second.deploy(image=NEW)
        seconds = time.monotonic() - started
        # What is on its way out is still asked until all nodes know.
        time.sleep(15)
    after = second.pods()
    assert summary["changed"] > 0
    assert len(ready(after)) == 2
    assert before.isdisjoint(ready(after))
    for pod in ready(after):
        printed = second.hosts.kubectl("exec", "-n", SPACE, pod, "--", "printenv", "VERSION_OF_TEST")
        assert printed.strip() == str(version)
    assert client.failures == []
    assert set(client.answers) >= set(ready(after))
    asked = sum(client.answers.values())
    assert asked > 100
    measured("rolling update without downtime", f"{how}: {asked} requests, 0 failed; deployed in {seconds:.0f} s")


def test_killed_process_is_started_again_while_the_other_replica_serves(
    second: Second, measured: Callable[[str, str], None]
) -> None:
    urls = second.deploy(image=NEW)["app_urls"]
    victim, other = ready(second.pods())
    node = next(pod["spec"]["nodeName"] for pod in second.pods() if pod["metadata"]["name"] == victim)
    labels = (f"io.kubernetes.pod.name={victim}", "io.kubernetes.docker.type=container")
    container = "docker ps -q " + " ".join(f"--filter label={label}" for label in labels)
    with Client(urls).asking() as client:
        second.hosts.sh(node.removeprefix(f"{second.hosts.name}-"), f"docker kill $({container})")
        seconds = second.wait_for(
            lambda pods: (
                victim in ready(pods)
                and all(
                    pod["status"]["containerStatuses"][0]["restartCount"] > 0
                    for pod in pods
                    if pod["metadata"]["name"] == victim
                )
            )
        )
    assert client.answers[other] > len(client.failures)
    measured(
        "self-healing",
        f"process killed: back after {seconds:.1f} s; meanwhile {sum(client.answers.values())} requests answered, "
        f"{len(client.failures)} refused",
    )


def test_deleted_pod_is_replaced_and_no_request_is_dropped(
    second: Second, measured: Callable[[str, str], None]
) -> None:
    urls = second.deploy(image=NEW)["app_urls"]
    before = ready(second.pods())
    with Client(urls).asking() as client:
        second.hosts.kubectl("delete", "pod", "-n", SPACE, before[0], "--wait=false")
        seconds = second.wait_for(lambda pods: len(set(ready(pods)) - set(before)) == 1 and len(ready(pods)) == 2)
    assert client.failures == []
    measured("self-healing", f"pod deleted: another one ready after {seconds:.1f} s, 0 requests failed")


@pytest.mark.proof
def test_canary_gets_its_share(second: Second, measured: Callable[[str, str], None]) -> None:
    urls = second.deploy(image=IMAGE, replicas=4, canary=NEW)["app_urls"]
    second.wait_for(lambda pods: len(ready(pods)) == 5)
    # Until all nodes know that the replicas of the version before are on their way out.
    time.sleep(5)
    requests = 500
    answers = Counter(host_that_answers(urls[number % len(urls)]) for number in range(requests))
    canary = sum(count for host, count in answers.items() if host.startswith(f"{NAME}-canary-"))
    # A fifth, give or take 5.6 standard deviations: fails by chance once in 50 million runs; a third would be 167.
    assert 50 <= canary <= 150, answers
    assert len(answers) == 5
    measured("canary", f"1 of 5 replicas: {canary} of {requests} requests")
