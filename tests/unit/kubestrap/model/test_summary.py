"""Exit codes, totals and stages of a run, and what a person reads."""

import pytest
from kubestrap.model.cluster import Cluster, Host
from kubestrap.model.events import App, Finding, Message, Node, PlaybookFinished, TaskFinished, TaskStarted
from kubestrap.model.report import report
from kubestrap.model.summary import summarize
from kubestrap.model.timeline import spans
from kubestrap.verbs import ALL

VERBS = {verb.name: verb for verb in ALL}
CLUSTER = Cluster(
    name="shop",
    hosts=(Host(name="cp", role="control_plane"), Host(name="w1", role="worker"), Host(name="w2", role="worker")),
)
BLOCKER = Finding(id="swap-on", severity="blocker", evidence="swap is on", fix="swapoff")
WARNING = Finding(id="memory-low", severity="warning", evidence="1 GiB", fix="more")


def ended(host, stage, outcome="ok", started=0.0, **more):
    return TaskFinished(host=host, stage=stage, task="Do", outcome=outcome, started=started, ended=started + 1, **more)


def run(*events, command="up", code=0, **more):
    return summarize(VERBS[command], CLUSTER, events, seconds=3, targets=CLUSTER.hosts, ansible_code=code, **more)


FINE = ended("cp", "node_base")
NO_APP = App(ok=False, cause="the image is missing", evidence=("ErrImageNeverPull",))


@pytest.mark.parametrize(
    ("expected", "events", "options"),
    [
        (0, [FINE], {}),
        (0, [ended("cp", "node_base", "ignored")], {}),
        (0, [ended("cp", "docker", "failed"), PlaybookFinished(failed=())], {}),
        (3, [ended("cp", "preflight", "failed", findings=(BLOCKER,))], {"code": 2}),
        (3, [ended(name, "preflight", "failed", findings=(BLOCKER,)) for name in ("w1", "w2")], {"code": 2}),
        (6, [FINE, ended("w1", "preflight", "failed", findings=(BLOCKER,))], {"code": 2}),
        (5, [ended("cp", "preflight", "failed")], {"code": 2}),
        (3, [ended("cp", "preflight", findings=(BLOCKER,))], {"command": "check"}),
        (0, [ended("cp", "preflight", findings=(WARNING,))], {"command": "check"}),
        (4, [ended("cp", "preflight", findings=(BLOCKER,))], {"command": "check", "unreachable": {"w1": "off"}}),
        (4, [ended("cp", "docker", "unreachable")], {"code": 4}),
        (4, [], {"unreachable": {"cp": "off"}}),
        (4, [], {"unreachable": {"cp": "off", "w1": "off", "w2": "off"}}),
        (5, [ended("cp", "control_plane", "failed")], {"code": 2}),
        (5, [ended("cp", "control_plane", "failed"), ended("w1", "worker", "failed")], {"code": 2}),
        (6, [FINE, ended("w1", "worker", "failed")], {"code": 2}),
        (6, [FINE, ended("w1", "docker", "unreachable")], {"code": 4}),
        (6, [FINE], {"unreachable": {"w1": "off"}}),
        (7, [FINE, ended("cp", "app", "failed", app=NO_APP)], {"code": 2}),
        (7, [FINE, ended("w1", "worker", "failed"), ended("cp", "app", "failed")], {"code": 2}),
        (0, [ended("cp", "health", app=NO_APP)], {"command": "status"}),
        (130, [ended("cp", "docker", "failed")], {"code": 99, "interrupted": True}),
        (1, [Message(level="error", text="no playbook")], {"code": 1}),
        (5, [FINE, Message(level="error", text="strange")], {"code": 250}),
    ],
)
def test_exit_code(expected, events, options):
    summary = run(*events, **options)
    assert summary.exit_code == expected
    assert report(summary)[-1]


PLANES = Cluster(
    name="shop",
    hosts=(*(Host(name=name, role="control_plane") for name in ("a", "b", "c")), Host(name="w", role="worker")),
)


@pytest.mark.parametrize(
    ("expected", "lost", "events"),
    [
        (6, "a", [ended("b", "node_base")]),
        (4, "abc", []),
        # No API of the others answered, or none could.
        (4, "a", [ended("b", "preflight", "failed")]),
        (4, "ab", [ended("c", "health", "failed")]),
        # Nothing to do with the one that is lost.
        (5, "a", [ended("b", "docker", "failed")]),
        (7, "a", [ended("b", "app", "failed", app=NO_APP)]),
    ],
)
def test_exit_code_with_several_control_planes(expected, lost, events):
    unreachable = dict.fromkeys(lost, "off")
    code = 2 if events else 0
    summary = summarize(
        VERBS["up"], PLANES, events, seconds=3, targets=PLANES.hosts, unreachable=unreachable, ansible_code=code
    )
    assert summary.exit_code == expected
    if expected == 4:
        assert f"Not done: {', '.join(lost)} cannot be reached" in report(summary)[-1]


def test_ansibles_totals_count_hidden_changes():
    summary = run(ended("cp", "docker", "changed"), PlaybookFinished(changed={"cp": 3, "w1": 1}))
    assert (summary.changes, summary.as_data()["changed_by_host"]) == (4, {"cp": 3, "w1": 1})


def test_summary_object_has_what_programs_rely_on():
    node = Node(
        name="cp", ready=True, roles="control-plane", version="v1.36.4", runtime="docker://26", address="192.0.2.1"
    )
    app = App(ok=True, urls=("http://192.0.2.1:30080",))
    data = run(FINE, ended("cp", "health", nodes=(node,)), ended("cp", "app", app=app)).as_data()
    assert {"changed": 0, "failed": 0, "unreachable": 0, "exit_code": 0}.items() <= data.items()
    assert data["app_urls"] == ["http://192.0.2.1:30080"]
    assert data["nodes"][0]["version"] == "v1.36.4"
    assert [stage["name"] for stage in data["stages"]] == ["node_base", "health", "app"]


def test_stage_that_comes_back_adds_up():
    summary = run(
        ended("cp", "a", started=0),
        ended("w1", "a", started=0.5),
        ended("cp", "b", started=2),
        ended("cp", "a", started=5),
    )
    assert [(stage.name, stage.seconds) for stage in summary.stages] == [("a", 2.5), ("b", 1.0)]


def test_timeline_has_one_bar_a_stage():
    bars = spans([ended("cp", "a", started=0), ended("cp", "a", started=1), ended("cp", "b", "failed", started=2)])
    assert [(bar.stage, bar.started, bar.ended, bar.failed) for bar in bars] == [("a", 0, 2, False), ("b", 2, 3, True)]


def test_report_of_a_good_run():
    node = Node(
        name="cp", ready=True, roles="control-plane", version="v1.36.4", runtime="docker://26", address="192.0.2.1"
    )
    text = "\n".join(
        report(run(ended("cp", "health", nodes=(node,)), ended("cp", "app", app=App(ok=True, urls=("http://x",)))))
    )
    assert "nothing changed" in text
    assert "http://x" in text
    assert "as root on cp: kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes" in text


def test_kubectl_line_is_the_one_that_was_said_to_work():
    words = "kubectl --kubeconfig '/my file' --context shop-1a2b3c"
    summary = run(ended("cp", "kubeconfig", kubectl=words), ended("w1", "worker"))
    assert f"Look around: {words} get nodes" in report(summary)[-1]
    assert summary.as_data()["kubectl"] == words


def test_report_explains_the_failed_app():
    lines = report(run(FINE, ended("cp", "app", "failed", message="bad", app=NO_APP), code=2, run_directory="runs/1"))
    assert [line for line in lines if line][:2] == ["FAILED  app: the image is missing", "  ErrImageNeverPull"]
    assert "runs/1/ansible.log" in lines[-1]


def test_refused_manifest_is_a_verdict_on_the_app():
    refused = ended("cp", "app", "failed", message="web.yaml:5: spec.replicas: no number\nNothing was changed.")
    summary = run(FINE, refused, code=2)
    assert summary.exit_code == 7
    assert summary.as_data()["app"]["cause"] == "web.yaml:5: spec.replicas: no number"
    assert summary.as_data()["app"]["evidence"] == ["Nothing was changed."]


def test_report_groups_findings_by_host_with_the_fix():
    lines = report(run(ended("cp", "preflight", findings=(WARNING, BLOCKER)), command="check"))
    text = "\n".join(lines)
    assert text.index("swap-on") < text.index("memory-low")
    assert "fix: swapoff" in text
    assert lines[-1].startswith("1 blocker")


def test_started_task_alone_is_no_result():
    assert run(TaskStarted(host="cp", stage="a", task="Do", at=0)).stages == ()


def test_what_many_hosts_have_is_told_once_with_the_count():
    names = [f"w{number:02}" for number in range(1, 21)]
    own = Finding(id="disk-full", severity="blocker", evidence="1 GiB", fix="more")
    many = [ended(name, "preflight", findings=(BLOCKER,)) for name in names]
    lines = report(run(*many, ended("w01", "preflight", findings=(own,)), command="check"))
    assert sum("swap-on" in line for line in lines) == 1
    assert "20 hosts: w01, w02, w03, w04, w05 and 15 more" in lines
    assert lines.index("w01") > lines.index("20 hosts: w01, w02, w03, w04, w05 and 15 more")
    assert "21 blockers" in lines[-1]


def test_the_same_failure_and_the_same_silence_of_many_hosts_are_told_once():
    failed = [ended(name, "docker", "failed", message="no space") for name in ("cp", "w1", "w2")]
    lines = report(run(*failed, code=2, unreachable=dict.fromkeys(("x1", "x2"), "refused")))
    assert "FAILED  3 hosts: cp, w1, w2 · docker · Do" in lines
    assert "UNREACHABLE  2 hosts: x1, x2" in lines
    assert lines.count("  no space") == lines.count("  refused") == 1
