"""Waiting for an app: how long, for what, and where it answers."""

import itertools
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_causes import CauseError
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_view import AppView
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError, rolled_out
from ansible_collections.kubestrap.cluster.plugins.modules import app_rollout


def deployment(**status: int) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default", "uid": "d", "generation": 2},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}},
        "status": status,
    }


def service(*, kind: str = "LoadBalancer", ingress: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {
            "type": kind,
            "selector": {"app": "shop"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 31000}],
        },
        "status": {"loadBalancer": {"ingress": ingress or []}},
    }


NODE = {
    "status": {
        "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 2}, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, False),
        ({}, False),
    ],
)
def test_rolled_out_means_all_new_and_none_old(status: dict[str, int], expected: bool) -> None:
    assert rolled_out(deployment(**status)) is expected


class Waiting:
    """A cluster in which a workload is seen in one state after the other, the last one for ever."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: tuple[dict[str, Any], Exception | bool]) -> None:
        self.seconds = 0.0
        self._seen = itertools.chain(seen, itertools.repeat(seen[-1]))
        self._now: Exception | bool = False
        monkeypatch.setattr(app_rollout, "examine", lambda *_: self._examine())
        monkeypatch.setattr(app_rollout.time, "monotonic", lambda: self.seconds)
        monkeypatch.setattr(app_rollout.time, "sleep", self._sleep)

    def of_kind(self, *_kinds: str) -> list[dict[str, Any]]:
        workload, self._now = next(self._seen)
        return [workload]

    def _examine(self) -> bool:
        if isinstance(self._now, Exception):
            raise self._now
        return self._now

    def _sleep(self, seconds: float) -> None:
        self.seconds += seconds


IDLE = deployment()


@pytest.mark.parametrize(
    ("patience", "timeout", "seconds"), [(0, 60, 0), (5, 60, 5), (30, 60, 30), (30, 10, 10), (10**9, 60, 60)]
)
def test_cause_is_believed_after_its_patience(
    monkeypatch: pytest.MonkeyPatch, patience: int, timeout: int, seconds: int
) -> None:
    app = Waiting(monkeypatch, (IDLE, CauseError("broken", patience=patience)))
    with pytest.raises(CauseError, match="broken"):
        app_rollout.wait(app, timeout)  # type: ignore[arg-type]
    assert app.seconds == seconds


def test_progress_renews_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = CauseError("slow", patience=1)
    states = [(deployment(readyReplicas=count), slow) for count in (0, 0, 1, 1, 2, 2)]
    app = Waiting(monkeypatch, *states, (deployment(readyReplicas=3), True))
    app_rollout.wait(app, 60)  # type: ignore[arg-type]
    assert app.seconds == 3


def test_lines_that_come_again_are_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [CauseError("waits", [f"line {letter}"], patience=20) for letter in "abcdef"]
    app = Waiting(monkeypatch, *((IDLE, line) for line in lines * 30))
    with pytest.raises(CauseError, match="waits"):
        app_rollout.wait(app, 60)  # type: ignore[arg-type]
    assert app.seconds < 30


def test_look_that_fails_for_a_moment_says_nothing_of_the_app(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = KubectlError("etcdserver: request timed out")
    app = Waiting(monkeypatch, *[(IDLE, False), (IDLE, silent)] * 20, (IDLE, True))
    app_rollout.wait(app, 60)  # type: ignore[arg-type]
    assert app.seconds == 20


@pytest.mark.parametrize(("timeout", "seconds"), [(300, app_rollout.SILENCE_SECONDS), (10, 10), (0, 0)])
def test_cluster_that_stays_silent_is_told(monkeypatch: pytest.MonkeyPatch, timeout: int, seconds: int) -> None:
    app = Waiting(monkeypatch, (IDLE, KubectlError("connection refused")))
    with pytest.raises(KubectlError, match="refused"):
        app_rollout.wait(app, timeout)  # type: ignore[arg-type]
    assert app.seconds == seconds


def test_end_of_the_time_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Waiting(monkeypatch, (deployment(readyReplicas=1, updatedReplicas=2), False))
    with pytest.raises(CauseError, match="within 20 s: Deployment shop has 1 ready and 2 new of 2 replicas"):
        app_rollout.wait(app, 20)  # type: ignore[arg-type]


def owned(name: str, owner: str, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": name, "labels": {}, "ownerReferences": [{"uid": owner}], **metadata}}


class Lists:
    """kubectl that lists what a test says."""

    def __init__(self, **found: list[dict[str, Any]]) -> None:
        self._found = found

    def items(self, _namespace: str, _get: str, kind: str, _selector: str) -> list[dict[str, Any]]:
        return self._found.get(kind, [])


def test_pods_of_earlier_versions_and_of_others_are_told_apart() -> None:
    kubectl = Lists(
        replicasets=[
            owned("old", "d", annotations={"deployment.kubernetes.io/revision": "9"}),
            owned("new", "d", annotations={"deployment.kubernetes.io/revision": "10"}),
            owned("canary", "other", annotations={"deployment.kubernetes.io/revision": "11"}),
        ],
        pods=[
            owned("old-1", "old"),
            owned("new-1", "new"),
            owned("new-2", "new", deletionTimestamp="now"),
            {**owned("evicted", "new"), "status": {"phase": "Failed"}},
            owned("canary-1", "canary"),
        ],
    )
    app = AppView(kubectl, [], "default")  # type: ignore[arg-type]
    assert [one["metadata"]["name"] for one in app.pods(deployment())] == ["old-1", "new-1"]
    assert [one["metadata"]["name"] for one in app.pods(deployment(), newest=True)] == ["new-1"]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (service(), ["http://192.0.2.1:31000"]),
        (service(ingress=[{"ip": "192.0.2.50"}]), ["http://192.0.2.50"]),
        (service(kind="NodePort"), ["http://192.0.2.1:31000"]),
        (service(kind="ClusterIP"), []),
    ],
)
def test_urls_lead_to_the_balancer_else_to_every_node(found: dict[str, Any], expected: list[str]) -> None:
    assert app_rollout.urls([found], [NODE]) == expected


def test_image_replaced_under_its_name_is_noticed() -> None:
    running = {
        "spec": {"containers": [{"name": "web", "image": "shop:1"}]},
        "status": {"containerStatuses": [{"name": "web", "imageID": "docker://sha256:old"}]},
    }
    assert app_rollout.stale([running], {"shop:1": "new"}) == ["shop:1"]
    assert app_rollout.stale([running], {"shop:1": "old"}) == []
