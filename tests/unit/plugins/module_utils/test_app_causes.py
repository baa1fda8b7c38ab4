"""What a cluster shows, and the one sentence that is made of it."""

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import app_causes
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_causes import (
    CERTAIN,
    LATER,
    NEVER,
    SOON,
    CauseError,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.app_view import AppView


class FakeApp:
    """An app whose cluster answers what a test says."""

    def __init__(
        self,
        *,
        events: dict[str, list[str]] | None = None,
        endpoints: list[tuple[str, int]] | None = None,
        pods: list[dict[str, Any]] | None = None,
        nodes: list[dict[str, Any]] | None = None,
        found: dict[str, list[dict[str, Any]]] | None = None,
    ) -> None:
        self._events = events or {}
        self._endpoints = endpoints or []
        self._pods = pods or []
        self._nodes = nodes or []
        self._found = found or {}
        self.kubectl = self
        self.reaches_pods = True

    def events(self, _obj: dict[str, Any], *reasons: str) -> list[str]:
        return [message for reason in reasons for message in self._events.get(reason, [])]

    def log(self, _pod: dict[str, Any], _container: str, *, previous: bool) -> list[str]:
        return ["last words" if previous else "still talking"]

    def endpoints(self, _service: dict[str, Any]) -> list[tuple[str, int]]:
        return self._endpoints

    def pods(self, _workload: dict[str, Any], *, newest: bool) -> list[dict[str, Any]]:
        assert newest
        return self._pods

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [obj for obj in self._found.get("objects", []) if obj["kind"] in kinds]

    def job_pods(self, _job: dict[str, Any]) -> list[dict[str, Any]]:
        return self._pods

    def selected(self, _service: dict[str, Any]) -> list[dict[str, Any]]:
        return self._pods

    def nodes(self) -> list[dict[str, Any]]:
        return self._nodes

    def nodes_with(self, _image: str) -> list[str]:
        return ["cp1"]

    def items(self, *arguments: str) -> list[dict[str, Any]]:
        return self._found.get(arguments[1], [])

    def near(self, _obj: dict[str, Any], *arguments: str) -> list[dict[str, Any]]:
        return self.items(*arguments)


def pod(
    *, container: dict[str, Any] | None = None, conditions: list[dict[str, Any]] | None = None, **spec: Any
) -> dict[str, Any]:
    statuses = [{"name": "web", "image": "sha256:1", **container}] if container else []
    containers = [{"name": "web", "image": "shop:1", **spec.pop("container_spec", {})}]
    return {
        "metadata": {"name": "shop-1", "namespace": "default"},
        "spec": {"nodeName": "worker1", "containers": containers, **spec},
        "status": {"conditions": conditions or [], "containerStatuses": statuses},
    }


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return pod(container={"state": {"waiting": {"reason": reason, "message": message}}})


def crashed(*, restarts: int = 2, **end: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    return pod(
        container={
            "state": state,
            "lastState": {"terminated": {"exitCode": 3, "reason": "Error", **end}},
            "restartCount": restarts,
        }
    )


def unplaced(**spec: Any) -> dict[str, Any]:
    conditions = [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]
    return pod(conditions=conditions, nodeName="", **spec)


def node(name: str, *, memory: str = "8Gi", taints: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"disk": "slow"}},
        "spec": {"taints": taints or []},
        "status": {"allocatable": {"memory": memory, "cpu": "2"}},
    }


def told(app: FakeApp, broken: dict[str, Any]) -> tuple[str, list[str], int]:
    with pytest.raises(CauseError) as raised:
        app_causes.examine_pod(app, broken)  # type: ignore[arg-type]
    return raised.value.cause, raised.value.evidence, raised.value.patience


@pytest.mark.parametrize(
    ("broken", "cause", "patience"),
    [
        (waits("ErrImageNeverPull"), "Image shop:1 is not on node worker1, and its imagePullPolicy is Never.", CERTAIN),
        (
            waits("InvalidImageName", 'couldn\'t parse image name "Shop": repository name must be lowercase'),
            "shop:1 cannot be the name of an image: repository name must be lowercase.",
            CERTAIN,
        ),
        (
            waits("ImagePullBackOff", "Back-off: ErrImagePull: manifest unknown: manifest unknown"),
            "The registry has no image shop:1, says node worker1.",
            CERTAIN,
        ),
        (
            waits("ErrImagePull", "pull access denied for shop, repository does not exist or may require login"),
            "The registry of image shop:1 has no such image, or does not give it to node worker1.",
            CERTAIN,
        ),
        (
            waits("ErrImagePull", 'Get "https://r/v2/": dial tcp: lookup r: no such host'),
            "Image shop:1 cannot be pulled on node worker1: no such host.",
            LATER,
        ),
        (
            waits("CreateContainerConfigError", 'secret "password" not found'),
            'Container web of pod shop-1 cannot start: secret "password" not found.',
            CERTAIN,
        ),
        (crashed(), "Container web of pod shop-1 ends again and again (exit code 3).", CERTAIN),
        (
            crashed(restarts=0, reason="StartError", message='runc: exec: "shopp": executable file not found in $PATH'),
            'Container web of pod shop-1 cannot start: exec: "shopp": executable file not found in $PATH.',
            CERTAIN,
        ),
    ],
)
def test_container_that_does_not_run_is_explained(broken: dict[str, Any], cause: str, patience: int) -> None:
    assert told(FakeApp(), broken)[::2] == (cause, patience)


def test_image_by_digest_is_never_to_be_pushed_and_a_missing_one_is_no_reason_to_take_another() -> None:
    image = f"r.example/shop:1@sha256:{'ab' * 32}"
    never, gone = waits("ErrImageNeverPull"), waits("ErrImagePull", f"failed to resolve {image}: {image}: not found")
    for one in (never, gone):
        one["spec"]["containers"][0]["image"] = image
    said = " ".join(told(FakeApp(), never)[1])
    assert "image push" not in said
    assert "IfNotPresent" in said
    cause, evidence, _ = told(FakeApp(), gone)
    assert cause == f"The registry has no image {image}, says node worker1."
    assert any("r.example has no image with this one" in line for line in evidence)


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        ("shop", ["docker.io/library/shop:latest"]),
        ("shop:1", ["shop:1"]),
        ("rancher/thing:v1", ["docker.io/rancher/thing:v1"]),
        (f"r.example/shop:1@sha256:{'ab' * 32}", [f"r.example/shop@sha256:{'ab' * 32}", "r.example/shop:1"]),
    ],
)
def test_a_node_has_an_image_whatever_way_its_name_is_written(image: str, listed: list[str]) -> None:
    nodes = [{"metadata": {"name": "n1"}, "status": {"images": [{"names": listed}, {"names": None}]}}]
    view = SimpleNamespace(nodes=lambda: nodes)
    assert AppView.nodes_with(view, image) == ["n1"]  # type: ignore[arg-type]
    assert AppView.nodes_with(view, "r.example/other:1") == []  # type: ignore[arg-type]


def test_image_that_is_elsewhere_is_told() -> None:
    assert "It is on cp1." in told(FakeApp(), waits("ErrImageNeverPull"))[1]


def test_crash_shows_the_last_lines_of_the_run_that_ended() -> None:
    assert told(FakeApp(), crashed())[1] == ["last words"]


def test_crash_that_may_not_come_again_is_waited_for() -> None:
    app_causes.examine_pod(FakeApp(), crashed(restarts=1))  # type: ignore[arg-type]


def test_too_little_memory_is_told_with_the_limit() -> None:
    broken = crashed(reason="OOMKilled", exitCode=137)
    broken["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    assert "needs more memory than its limit of 64Mi" in told(FakeApp(), broken)[0]


def test_restarts_by_a_liveness_probe_are_told_as_that() -> None:
    events = {
        "Killing": ["Container web failed liveness probe, will be restarted"],
        "Unhealthy": ["Readiness probe failed: no", "Liveness probe failed: HTTP probe failed with statuscode: 500"],
    }
    cause, _, _ = told(FakeApp(events=events), crashed(exitCode=143))
    assert cause.endswith("its liveness probe fails: HTTP probe failed with statuscode: 500.")


def test_failing_readiness_is_told_with_what_the_probe_said_when_the_time_is_over() -> None:
    probe = {"readinessProbe": {"httpGet": {"path": "/ready", "port": 80}, "periodSeconds": 2}}
    events = {"Unhealthy": ["Readiness probe failed: first", "Readiness probe failed: HTTP probe failed with 503"]}
    broken = pod(container={"state": {"running": {}}}, container_spec=probe)
    assert told(FakeApp(events=events), broken) == (
        "Pod shop-1 runs, but is not ready: its readiness probe fails: HTTP probe failed with 503.",
        ["Asked of container web every 2 s: GET /ready on port 80", "still talking"],
        NEVER,
    )


def test_pod_that_only_starts_is_no_trouble() -> None:
    app_causes.examine_pod(FakeApp(), waits("ContainerCreating"))  # type: ignore[arg-type]


def test_placement_names_each_nodes_reason() -> None:
    taint = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}
    neighbour = pod(container_spec={"resources": {"requests": {"memory": "6Gi"}}})
    app = FakeApp(
        nodes=[node("cp1", taints=[taint]), node("worker1"), node("worker2", memory="2Gi")], found={"pods": [neighbour]}
    )
    cause, evidence, patience = told(app, unplaced(container_spec={"resources": {"requests": {"memory": "4Gi"}}}))
    assert cause == (
        "No node can run pod shop-1: cp1 has the taint dedicated=gpu:NoSchedule, which the pod does not tolerate; "
        "worker1 has 8Gi of memory, 2Gi of it free, and the pod asks for 4Gi; "
        "worker2 has 2Gi of memory, 2Gi of it free, and the pod asks for 4Gi."
    )
    assert evidence == ["The scheduler says: 0/2 nodes are available"]
    # worker1 may have room later.
    assert patience == LATER


def test_placement_that_can_never_be_is_soon_told() -> None:
    app = FakeApp(nodes=[node("worker1")])
    assert told(app, unplaced(nodeSelector={"disk": "fast"})) == (
        "No node can run pod shop-1: worker1 lacks the label disk=fast.",
        ["The scheduler says: 0/2 nodes are available"],
        SOON,
    )


@pytest.mark.parametrize(
    ("tolerations", "patience"),
    [
        ([{"operator": "Exists"}], None),
        ([{"key": "dedicated", "value": "gpu"}], None),
        ([{"key": "dedicated", "value": "web"}], SOON),
        ([], SOON),
    ],
)
def test_tolerations_are_heeded(tolerations: list[dict[str, str]], patience: int | None) -> None:
    tainted = node("worker1", taints=[{"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}])
    why, final = app_causes.why_not_on(tainted, unplaced(tolerations=tolerations), [])
    assert bool(why) is final is (patience is not None)


CLAIMING = {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]}


def claim(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "data"}, "spec": spec, "status": {"phase": "Pending"}}


@pytest.mark.parametrize(
    ("found", "cause"),
    [
        ({}, "and there is no such claim in namespace default."),
        ({"persistentvolumeclaims": [claim()]}, "which names no StorageClass, and the cluster has no default one."),
        (
            {"persistentvolumeclaims": [claim(storageClassName="fast")]},
            "whose StorageClass fast does not exist.",
        ),
    ],
)
def test_claim_without_a_volume_is_explained(found: dict[str, list[dict[str, Any]]], cause: str) -> None:
    said, _, patience = told(FakeApp(found=found), unplaced(**CLAIMING))
    assert said == f"Pod shop-1 waits for PersistentVolumeClaim data, {cause}"
    assert patience == SOON


def deployment(*, replicas: int = 2, labels: dict[str, str] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "shop", "namespace": "default", "generation": 2},
        "spec": {"replicas": replicas, "template": {"metadata": {"labels": labels or {"app": "shop"}}}},
        "status": {"observedGeneration": 2, **status},
    }


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (
            'pods "a" is forbidden: exceeded quota: tight, requested: pods=1, used: pods=2, limited: pods=2',
            "The quota tight of namespace default allows no more pods of Deployment shop: requested: pods=1,",
        ),
        (
            'pods "a" is forbidden: failed quota: tight: must specify limits.memory for: web',
            "The quota tight of namespace default wants every container to say its limits.memory for: web, and those",
        ),
        (
            'pods "a" is forbidden: error looking up service account: serviceaccount "me" not found',
            'The cluster refuses the pods of Deployment shop: serviceaccount "me" not found.',
        ),
    ],
)
def test_pods_that_are_not_made_are_explained(message: str, cause: str) -> None:
    broken = deployment(conditions=[{"type": "ReplicaFailure", "status": "True", "message": message}])
    with pytest.raises(CauseError) as raised:
        app_causes.examine_workload(FakeApp(), broken)  # type: ignore[arg-type]
    assert raised.value.cause.startswith(cause)


def test_version_the_cluster_has_not_noticed_yet_is_not_judged_by_its_old_pods() -> None:
    app = FakeApp(pods=[waits("ErrImageNeverPull")])
    app_causes.examine_workload(app, deployment(observedGeneration=1))  # type: ignore[arg-type]


SERVICE = {
    "metadata": {"name": "shop", "namespace": "default"},
    "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
}


def service_told(app: FakeApp, *workloads: dict[str, Any]) -> CauseError:
    with pytest.raises(CauseError) as raised:
        app_causes.examine_service(app, SERVICE, list(workloads))  # type: ignore[arg-type]
    return raised.value


def test_selector_that_matches_no_pod_is_told_with_both_label_sets() -> None:
    error = service_told(FakeApp(), deployment(labels={"app": "other", "tier": "web"}))
    assert error.cause == (
        "Service shop has no endpoints: its selector app=shop matches no pod; the app's pods have app=other,tier=web."
    )
    assert error.patience == CERTAIN


def test_pods_that_somebody_else_made_count_for_a_service() -> None:
    assert "no ready pod" in service_told(FakeApp(pods=[pod()])).cause


@pytest.mark.parametrize(("probe", "patience"), [({}, LATER), ({"readinessProbe": {}}, SOON)])
def test_port_without_a_listener_is_named(
    monkeypatch: pytest.MonkeyPatch, probe: dict[str, Any], patience: int
) -> None:
    monkeypatch.setattr(app_causes, "listens", lambda _address, _port: False)
    ports = {"ports": [{"name": "http", "containerPort": 80}], **probe}
    error = service_told(FakeApp(endpoints=[("10.244.1.2", 9999)], pods=[pod(container_spec=ports)]))
    assert error.cause == "Nothing listens on port 9999 in the pods behind Service shop."
    assert "Ports the containers declare: 80 (http)" in error.evidence
    assert error.patience == patience


def test_pods_out_of_reach_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_causes, "listens", lambda _address, _port: False)
    app = FakeApp(endpoints=[("10.244.1.2", 9999)])
    app.reaches_pods = False
    app_causes.examine_service(app, SERVICE, [])  # type: ignore[arg-type]


def test_service_for_something_else_than_tcp_is_not_judged() -> None:
    names = {**SERVICE, "spec": {"selector": {"app": "dns"}, "ports": [{"port": 53, "protocol": "UDP"}]}}
    app_causes.examine_service(FakeApp(), names, [])  # type: ignore[arg-type]


def test_second_port_without_a_listener_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_causes, "listens", lambda _address, port: port == 8080)
    ends = [("10.244.1.2", 8080), ("10.244.1.2", 9090), ("10.244.2.2", 8080), ("10.244.2.2", 9090)]
    error = service_told(FakeApp(endpoints=ends, pods=[pod()]))
    assert error.cause == "Nothing listens on port 9090 in the pods behind Service shop."
    assert error.evidence[0] == "Tried: 10.244.1.2:9090, 10.244.2.2:9090"


def test_port_that_one_of_two_pods_has_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_causes, "listens", lambda address, _port: address == "10.244.1.2")
    app_causes.examine_service(FakeApp(endpoints=[("10.244.1.2", 80), ("10.244.2.2", 80)]), SERVICE, [])  # type: ignore[arg-type]


def test_replicas_zero_behind_a_service() -> None:
    error = service_told(FakeApp(), deployment(replicas=0))
    assert error.cause == "Deployment shop asks for 0 replicas, so Service shop leads nowhere."


def job(*conditions: tuple[str, str], **status: Any) -> dict[str, Any]:
    told = [{"type": kind, "status": "True", "reason": "Why", "message": message} for kind, message in conditions]
    return {
        "kind": "Job",
        "metadata": {"name": "load", "namespace": "default"},
        "spec": {"template": {}},
        "status": {"conditions": told, **status},
    }


def ended(**end: Any) -> dict[str, Any]:
    return {**pod(container={"state": {"terminated": end}}), "status": {
        "phase": "Failed", "containerStatuses": [{"name": "web", "image": "shop:1", "state": {"terminated": end}}],
    }}  # fmt: skip


@pytest.mark.parametrize(
    ("end", "cause", "evidence"),
    [
        ({"exitCode": 3, "reason": "Error"}, "container web of pod shop-1 ended with exit code 3.", "still talking"),
        (
            {"exitCode": 128, "reason": "StartError", "message": 'runc: exec: "/nope": no such file or directory'},
            'container web of pod shop-1 cannot start: exec: "/nope": no such file or directory.',
            "no such file",
        ),
        ({"exitCode": 137, "reason": "OOMKilled"}, "needs more memory than its limit.", "still talking"),
    ],
)
def test_job_that_failed(end: dict[str, Any], cause: str, evidence: str) -> None:
    app = FakeApp(pods=[ended(**end)])
    with pytest.raises(CauseError) as raised:
        app_causes.examine_job(app, job(("Failed", "Job has reached the specified backoff limit")))  # type: ignore[arg-type]
    assert raised.value.cause.startswith("Job load failed: ")
    assert raised.value.cause.endswith(cause)
    assert any(evidence in line for line in raised.value.evidence)
    assert raised.value.patience == CERTAIN


def test_job_without_a_pod_left_says_what_the_cluster_says() -> None:
    with pytest.raises(CauseError, match="Job load failed: Job was active longer than specified deadline"):
        app_causes.examine_job(FakeApp(), job(("Failed", "Job was active longer than specified deadline")))  # type: ignore[arg-type]


def test_job_that_is_complete_or_runs() -> None:
    assert app_causes.examine_job(FakeApp(), job(("Complete", "")))  # type: ignore[arg-type]
    assert not app_causes.examine_job(FakeApp(), job())  # type: ignore[arg-type]
    # Pods that failed are what its retries are for.
    assert not app_causes.examine_job(FakeApp(pods=[ended(exitCode=1)]), job())  # type: ignore[arg-type]


def test_app_of_jobs_alone_is_no_app_that_runs() -> None:
    app = FakeApp(found={"objects": [job()]})
    assert not app_causes.examine(app, [])  # type: ignore[arg-type]
    assert app_causes.examine(FakeApp(found={"objects": [job(("Complete", ""))]}), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "nodes", "cause"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, [node("worker1")], "no node matches disk=ssd"),
        (
            {},
            [node("cp1", taints=[{"key": "dedicated", "value": "db", "effect": "NoSchedule"}])],
            "cp1 has the taint dedicated=db:NoSchedule, which the pod does not tolerate",
        ),
        ({"affinity": {}}, [node("worker1")], "no node matches its nodeAffinity"),
    ],
)
def test_daemonset_that_runs_nowhere(spec: dict[str, Any], nodes: list[dict[str, Any]], cause: str) -> None:
    workload = {
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default", "generation": 1},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "a"}], **spec}}},
        "status": {"observedGeneration": 1, "desiredNumberScheduled": 0},
    }
    with pytest.raises(CauseError) as raised:
        app_causes.examine(FakeApp(nodes=nodes), [workload])  # type: ignore[arg-type]
    assert raised.value.cause == f"DaemonSet agent runs nowhere: {cause}."


def test_init_container_that_never_ends_is_named_with_its_last_lines() -> None:
    waiting = pod(initContainers=[{"name": "wait-for-db", "image": "busybox"}])
    waiting["status"]["initContainerStatuses"] = [{"name": "wait-for-db", "image": "busybox", "state": {"running": {}}}]
    cause, evidence, patience = told(FakeApp(), waiting)
    assert cause == "Pod shop-1 waits for its init container wait-for-db, which runs and does not end."
    assert evidence == ["still talking"]
    assert 60 <= patience < 300


def test_sidecar_is_meant_to_stay() -> None:
    started = pod(initContainers=[{"name": "proxy", "image": "proxy", "restartPolicy": "Always"}])
    started["status"]["initContainerStatuses"] = [{"name": "proxy", "image": "proxy", "state": {"running": {}}}]
    app_causes.examine_pod(FakeApp(), started)  # type: ignore[arg-type]


def test_sentence_of_the_kubelet_stays_whole() -> None:
    said = 'container has runAsNonRoot and image will run as root (pod: "nonroot-1_default(ab-cd)", container: main)'
    cause, _, _ = told(FakeApp(), waits("CreateContainerConfigError", said))
    assert cause.endswith("cannot start: container has runAsNonRoot and image will run as root.")
