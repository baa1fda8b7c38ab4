"""What the cluster still waits for, in words."""

import datetime as dt
import re
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import KubectlError
from ansible_collections.kubestrap.cluster.plugins.modules import health

READY = {"conditions": [{"type": "Ready", "status": "True"}]}


def node(name: str, **status: Any) -> dict[str, Any]:
    return {"kind": "Node", "metadata": {"name": name}, "status": status or READY}


def pod(on: str, labels: dict[str, str], **status: Any) -> dict[str, Any]:
    status = status or {**READY, "podIP": "10.244.0.9"}
    return {
        "kind": "Pod",
        "metadata": {"name": f"p-{on}", "labels": labels},
        "spec": {"nodeName": on},
        "status": status,
    }


def unready(message: str) -> dict[str, Any]:
    return node("cp1", conditions=[{"type": "Ready", "status": "False", "message": message}])


OURS = {"app.kubernetes.io/name": health.NAME}
DNS = {"k8s-app": "kube-dns"}
LOOKED_AT = health.LOOKED_AT


def complaint(kind: str, name: str, message: str) -> dict[str, Any]:
    return {
        "involvedObject": {"kind": kind, "name": name},
        "message": message,
        "lastTimestamp": "2026-11-27T10:00:00Z",
    }


def lease(seconds_ago: int) -> dict[str, Any]:
    renewed = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=seconds_ago)
    return {"spec": {"renewTime": renewed.strftime("%Y-%m-%dT%H:%M:%S.%fZ")}}


def coredns(ready: int = 2) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": "coredns"},
        "spec": {"replicas": 2},
        "status": {"readyReplicas": ready},
    }


class Api:
    def __init__(self, log: str = "", error: str = "", **answers: list[dict[str, Any]]) -> None:
        self.log, self.error, self.answers = log, error, answers

    def run(self, *_: str, **__: Any) -> str:
        if self.error:
            raise KubectlError(self.error)
        return self.log

    def items(self, *arguments: str, **__: Any) -> list[dict[str, Any]]:
        kind = next(word for word in arguments if word in {"events", "lease", "pods", LOOKED_AT})
        return self.answers.get(kind, [])


def check(api: Api | None = None, *nodes: str) -> health.Check:
    return health.Check(api or Api(), {"nodes": list(nodes) or ["cp1"]})  # type: ignore[arg-type]


def test_only_the_nodes_that_are_to_be_proved_get_a_pod() -> None:
    template = health.daemonset("pause", ["cp1", "w9"])["spec"]["template"]["spec"]
    terms = template["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [term["matchFields"][0]["values"] for term in terms] == [["cp1"], ["w9"]]
    assert health.daemonset("pause", [])["spec"]["template"]["spec"]["affinity"] == {}


def test_nothing_is_waited_for_when_all_is_ready() -> None:
    assert check().waits_for([node("cp1"), pod("cp1", OURS), coredns()]) == []


def test_a_node_of_the_cluster_that_was_set_aside_is_not_waited_for() -> None:
    down = node("w1", conditions=[{"type": "Ready", "status": "False"}])
    assert check().waits_for([node("cp1"), down, pod("cp1", OURS), coredns()]) == []


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "the API does not know it"),
        ([unready("Kubelet stopped posting node status.")], "the host is down"),
        ([unready("NetworkReady=false: cni plugin")], "no pod network yet"),
        ([node("cp1")], "not scheduled yet"),
        ([node("cp1"), pod("cp1", OURS, containerStatuses=[{"state": {"waiting": {"reason": "ImagePullBackOff"}}}])],
         "ImagePullBackOff"),
        ([node("cp1"), pod("cp1", OURS, phase="Failed", reason="Evicted", message="low on resource: disk")],
         "Failed Evicted low on resource: disk"),
    ],
)  # fmt: skip
def test_each_missing_thing_has_its_words(objects: list[dict[str, Any]], words: str) -> None:
    (line,) = check().waits_for([*objects, coredns()])
    assert words in line
    assert "node cp1" in line


def test_a_pod_on_its_way_out_does_not_count() -> None:
    going = pod("cp1", OURS)
    going["metadata"]["deletionTimestamp"] = "now"
    assert check().waits_for([node("cp1"), going, coredns()])


def test_dns_on_a_lost_node_does_not_count_while_another_serves() -> None:
    lost = pod("cp2", DNS, conditions=[{"type": "Ready", "status": "False"}])
    there = [node("cp1"), pod("cp1", OURS), coredns(1)]
    assert check().waits_for([*there, lost, pod("cp1", DNS)]) == []
    assert check().waits_for([*there, lost])
    assert check(None, "cp1", "cp2").waits_for([*there, node("cp2"), pod("cp2", OURS), lost, pod("cp1", DNS)])


def test_ready_dns_that_the_controller_manager_has_not_noticed() -> None:
    there = [node("cp1"), pod("cp1", OURS), coredns(0), pod("cp1", DNS), pod("cp1", DNS)]
    (line,) = check(Api(lease=[lease(300)])).waits_for(there)
    assert "kube-controller-manager" in line
    assert re.search("30[0-9] s", line)
    (line,) = check(Api(lease=[lease(1)])).waits_for(there)
    assert "kube-controller-manager" not in line


def test_no_dns_pod_because_it_was_refused() -> None:
    looker = check()
    looker.warnings = {"ReplicaSet/coredns-1": 'pods "coredns-1-x" is forbidden: denied by policy'}
    (line,) = looker.waits_for([node("cp1"), pod("cp1", OURS), coredns(0)])
    assert "denied by policy" in line


def test_the_kubelets_sentence_stands_beside_container_creating() -> None:
    looker = check()
    looker.warnings = {"Pod/p-cp1": "cni0 already has an IP address different from 10.244.1.1/24"}
    waiting = pod("cp1", OURS, containerStatuses=[{"state": {"waiting": {"reason": "ContainerCreating"}}}])
    (line,) = looker.waits_for([node("cp1"), waiting, coredns()])
    assert "ContainerCreating" in line
    assert "cni0 already has an IP address" in line


def test_an_admission_policy_that_refuses_our_pods_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "WHY_AFTER", 0)
    denied = complaint("DaemonSet", health.NAME, 'admission webhook "policy.example" denied the request: no pods')
    api = Api(**{"events": [denied], LOOKED_AT: [node("cp1"), coredns()]})
    looker = health.Check(api, {"nodes": ["cp1"], "image": "pause", "timeout": 300})  # type: ignore[arg-type]
    looker.asks_why_at = 0
    with pytest.raises(health.CheckError, match="denied the request: no pods"):
        looker.start()


def test_dns_that_has_just_started_is_not_waited_for_while_another_serves() -> None:
    there = [node("cp1"), pod("cp1", OURS), coredns(1)]
    for age, restarts, waits in ((1, 0, False), (60, 0, True), (1, 1, True)):
        started = (dt.datetime.now(dt.UTC) - dt.timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = [{"state": {"running": {"startedAt": started}}, "restartCount": restarts}]
        unready = [{"type": "Ready", "status": "False"}]
        new = pod("cp1", DNS, conditions=unready, containerStatuses=status)
        assert bool(check().waits_for([*there, pod("cp1", DNS), new])) is waits
        assert check().waits_for([*there, new])


def test_dns_on_one_node_is_spread_with_several_control_planes_only() -> None:
    nodes = [node("cp1"), node("cp2")]
    for one in nodes:
        one["spec"] = {}
        one["metadata"]["labels"] = {kubeadm.CONTROL_PLANE_ROLE: ""}
    crowd = [pod("cp1", DNS), pod("cp1", DNS)]
    assert health.dns_is_crowded([*nodes, *crowd])
    assert not health.dns_is_crowded([*nodes, pod("cp1", DNS), pod("cp2", DNS)])
    nodes[1]["metadata"]["labels"] = {}
    assert not health.dns_is_crowded([*nodes, *crowd])


def test_a_resolver_that_asks_itself_is_named() -> None:
    crashing = pod("cp1", DNS, containerStatuses=[{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}])
    api = Api(log="[FATAL] plugin/loop: Loop (127.0.0.1:51 -> :53) detected")
    (line,) = check(api).waits_for([node("cp1"), pod("cp1", OURS), crashing, coredns(0)])
    assert "loopback" in line


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("http: server gave HTTP response to HTTPS client", "feature gate"),
        ("dial tcp 10.0.0.2:10250: i/o timeout", "port 10250"),
    ],
)
def test_exec_that_does_not_work_names_node_and_cause(said: str, words: str) -> None:
    pods = {"cp1": pod("cp1", OURS)}
    with pytest.raises(health.CheckError, match=words) as caught:
        check(Api(error=said)).exec_and_logs(pods, [])
    assert "node cp1" in str(caught.value)


def test_tags_that_moved_are_told_and_nothing_when_nobody_can_say() -> None:
    digests = [f"sha256:{letter * 64}" for letter in "ab"]
    pods = []
    for name, digest in zip(("cp1", "w1"), digests, strict=True):
        one = pod(name, {}, phase="Running", containerStatuses=[{"name": "m", "imageID": f"r.example/a@{digest}"}])
        one["metadata"]["namespace"] = "default"
        one["spec"]["containers"] = [{"name": "m", "image": "r.example/a:1"}]
        pods.append(one)
    (finding,) = check(Api(pods=pods)).moved_tags()
    assert finding.id == "image-tag-moved"
    assert check(Api(pods=pods[:1])).moved_tags() == []

    class Away(Api):
        def items(self, *_: str, **__: Any) -> list[dict[str, Any]]:
            raise KubectlError("connection refused")

    assert check(Away()).moved_tags() == []
