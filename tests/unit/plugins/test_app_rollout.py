from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import rolled_out
from ansible_collections.kubestrap.cluster.plugins.modules import app_rollout
from ansible_collections.kubestrap.cluster.plugins.modules.app_rollout import RolloutError


class FakeApp:
    """An app whose cluster answers what a test says."""

    reaches_pods = True

    def __init__(
        self, *, events: dict[str, list[str]] | None = None, endpoints: list[tuple[str, int]] | None = None
    ) -> None:
        self._events = events or {}
        self._endpoints = endpoints or []

    def events(self, _pod: dict[str, Any], reason: str) -> list[str]:
        return self._events.get(reason, [])

    def log(self, _pod: dict[str, Any], _container: str, *, previous: bool) -> list[str]:
        return ["last words" if previous else "still talking"]

    def endpoints(self, _service: dict[str, Any]) -> list[tuple[str, int]]:
        return self._endpoints


def pod(*, container: dict[str, Any] | None = None, conditions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    statuses = [{"name": "web", "image": "shop:1", **container}] if container else []
    return {
        "metadata": {"name": "shop-1", "namespace": "default"},
        "spec": {"nodeName": "worker1", "containers": [{"name": "web", "image": "shop:1"}]},
        "status": {"conditions": conditions or [], "containerStatuses": statuses},
    }


def deployment(**status: int) -> dict[str, Any]:
    return {"kind": "Deployment", "metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}


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


@pytest.mark.parametrize(
    ("broken", "cause", "certain"),
    [
        (pod(container={"state": {"waiting": {"reason": "ErrImageNeverPull"}}}), "shop:1 is not on node worker1", True),
        (
            pod(container={"state": {"waiting": {"reason": "ImagePullBackOff"}}}),
            "cannot be pulled on node worker1",
            False,
        ),
        (
            pod(
                container={
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 3, "reason": "Error"}},
                    "restartCount": 2,
                }
            ),
            "exit code 3",
            True,
        ),
        (pod(container={"state": {"waiting": {"reason": "CreateContainerConfigError"}}}), "cannot start", True),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "0/2 nodes: insufficient memory"}]),
            "No node can run pod shop-1",
            False,
        ),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False", "message": "unbound PersistentVolumeClaims"}]),
            "waits for a volume",
            False,
        ),
    ],
)
def test_cause_is_named(broken: dict[str, Any], cause: str, certain: bool) -> None:
    with pytest.raises(RolloutError, match=cause) as raised:
        app_rollout.examine(FakeApp(), broken)
    assert raised.value.certain is certain


def test_crash_shows_the_last_lines_of_the_run_that_ended() -> None:
    crashed = pod(container={"state": {"waiting": {}}, "lastState": {"terminated": {"exitCode": 1}}, "restartCount": 5})
    with pytest.raises(RolloutError) as raised:
        app_rollout.examine(FakeApp(), crashed)
    assert raised.value.evidence == ["last words"]


def test_failing_readiness_is_told_with_what_the_probe_said() -> None:
    with pytest.raises(RolloutError, match="readiness") as raised:
        app_rollout.examine(
            FakeApp(events={"Unhealthy": ["first", "HTTP probe failed with 503"]}), pod(container={"state": {}})
        )
    assert raised.value.evidence == ["HTTP probe failed with 503"]


def test_pod_that_only_starts_is_no_trouble() -> None:
    app_rollout.examine(FakeApp(), pod(container={"state": {"waiting": {"reason": "ContainerCreating"}}}))


def test_selector_that_matches_no_pod_is_named_with_the_labels_there_are() -> None:
    with pytest.raises(RolloutError, match="app=shop matches no pod") as raised:
        app_rollout.examine_service(FakeApp(), service(), [{"app": "other"}])
    assert "app=other" in raised.value.evidence[0]


def test_port_without_a_listener_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_rollout, "listens", lambda _address, _port: False)
    with pytest.raises(RolloutError, match="Nothing listens on port 9999"):
        app_rollout.examine_service(FakeApp(endpoints=[("10.244.1.2", 9999)]), service(), [{"app": "shop"}])


def test_pods_out_of_reach_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_rollout, "listens", lambda _address, _port: False)
    app = FakeApp(endpoints=[("10.244.1.2", 9999)])
    app.reaches_pods = False
    app_rollout.examine_service(app, service(), [{"app": "shop"}])


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
    running = pod(container={"imageID": "docker://sha256:old"})
    assert app_rollout.stale([running], {"shop:1": "new"}) == ["shop:1"]
    assert app_rollout.stale([running], {"shop:1": "old"}) == []
