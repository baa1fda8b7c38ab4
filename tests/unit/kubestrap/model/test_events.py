"""Events as ansible-runner hands them over become values."""

import pytest
from kubestrap.model.events import App, Finding, Message, Node, PlaybookFinished, TaskFinished, event_data, parse_event


def raw(kind, **data):
    base = {"host": "cp", "task": "init | Start it", "role": "control_plane", "play": "Make", "duration": 2.0}
    return {"event": kind, "created": "2026-11-23T22:00:02+00:00", "stdout": "", "event_data": base | data}


def test_changed_task():
    event = parse_event(raw("runner_on_ok", res={"changed": True}))
    assert isinstance(event, TaskFinished)
    assert (event.outcome, event.stage, event.task) == ("changed", "control_plane", "Start it")
    assert event.ended - event.started == 2.0


def test_what_a_step_changed_is_in_its_event():
    long = "x" * 30_000
    diff = [{"before_header": "/a", "after_header": "/a", "before": "1", "after": long}, "strange", {"before": "x"}]
    event = parse_event(raw("runner_on_ok", res={"changed": True, "diff": diff}))
    (change,) = event_data(event)["changes"]
    assert (change["what"], change["before"]) == ("/a", "1")
    assert change["after"].endswith("(10000 more characters)\n")
    assert event_data(parse_event(raw("runner_on_ok", res={"diff": diff})))["changes"] == []


def test_hidden_result_is_not_a_failure():
    assert parse_event(raw("runner_on_ok", res={"censored": "hidden"})).outcome == "ok"
    assert "hidden" in parse_event(raw("runner_on_failed", res={"censored": "x"})).message


def test_ignored_failure_is_no_failure():
    assert parse_event(raw("runner_on_failed", res={"msg": "x"}, ignore_errors=True)).outcome == "ignored"


def test_ansible_that_cannot_begin_on_a_host_is_no_failed_step():
    said = (
        "Task failed: Using a SSH password instead of a key is not possible because Host Key checking is enabled. "
        "Please add this host's fingerprint to your known_hosts file to manage this host."
    )
    event = parse_event(raw("runner_on_failed", host="w", task="t", res={"msg": said}))
    assert event.outcome == "unreachable"
    assert event.message.startswith("its host key is not known here")
    said = "Task failed: to use the password_mechanism=sshpass, you must install the sshpass program"
    event = parse_event(raw("runner_on_failed", host="w", task="t", res={"msg": said}))
    assert (event.outcome, "sshpass" in event.message) == ("unreachable", True)


def test_skipped_task_has_no_result():
    assert parse_event(raw("runner_on_skipped")).outcome == "skipped"


def test_message_names_the_failed_items():
    results = {"msg": "One or more items failed", "results": [{"failed": True, "msg": "boom"}, {"msg": "fine"}]}
    assert parse_event(raw("runner_on_failed", res=results)).message == "boom"


def test_message_has_what_a_program_said():
    assert "oops" in parse_event(raw("runner_on_failed", res={"msg": "non-zero return code", "stderr": "oops"})).message


def test_task_outside_a_role_belongs_to_its_play():
    assert parse_event(raw("runner_on_ok", role=None)).stage == "Make"


def test_including_a_role_is_no_step_of_its_own():
    include = {"role": None, "task_action": "ansible.builtin.include_role"}
    assert parse_event(raw("runner_on_start", **include)) is parse_event(raw("runner_on_ok", **include)) is None
    assert parse_event(raw("runner_on_failed", res={"msg": "no such role"}, **include)).message == "no such role"


def test_results_of_our_modules():
    event = parse_event(
        raw(
            "runner_on_ok",
            res={
                "findings": [{"id": "swap-on", "severity": "blocker", "evidence": "e", "fix": "f"}],
                "nodes": [{"name": "cp", "ready": True, "roles": ["control-plane"], "version": "v1.36.4"}],
                "app": {"ok": False, "cause": "crash", "evidence": ["log"], "urls": [], "namespace": "default"},
            },
        )
    )
    assert event.findings == (Finding(id="swap-on", severity="blocker", evidence="e", fix="f"),)
    assert event.nodes == (
        Node(name="cp", ready=True, roles="control-plane", version="v1.36.4", runtime="", address=""),
    )
    assert event.app == App(ok=False, cause="crash", evidence=("log",), namespace="default")


def test_what_a_host_says_is_never_a_line_to_be_typed():
    said = {"kubectl": "kubectl --kubeconfig /tmp/x"}
    ours = parse_event(raw("runner_on_ok", res=said, task_action="kubestrap.cluster.kubeconfig"))
    assert ours.kubectl == said["kubectl"]
    assert parse_event(raw("runner_on_ok", res=said, task_action="kubestrap.cluster.app_answers")).kubectl == ""


def test_warning_and_totals():
    assert parse_event({"event": "warning", "stdout": "[WARNING]: take\ncare"}) == Message(
        level="warning", text="take care"
    )
    totals = parse_event(
        {"event": "playbook_on_stats", "event_data": {"changed": {"cp": 2}, "failures": {"w": 1}, "dark": {}}}
    )
    assert totals == PlaybookFinished(changed={"cp": 2}, failed=("w",), unreachable=())


def test_events_nobody_acts_on():
    assert parse_event({"event": "playbook_on_start"}) is None


def test_every_event_has_a_form_for_programs():
    assert event_data(parse_event(raw("runner_on_start")))["event"] == "task_started"
    assert event_data(parse_event(raw("runner_on_ok", res={})))["seconds"] == 2.0
    assert event_data(Message(level="error", text="x"))["level"] == "error"
    assert event_data(PlaybookFinished()) is None


@pytest.mark.parametrize("result", [{"msg": "  \n"}, {"msg": ""}, {"msg": None, "stderr": " "}, {}])
def test_blank_message(result):
    assert parse_event(raw("runner_on_failed", res=result)).message == "no message"


def test_last_log_line_with_an_escape_sequence():
    event = parse_event(raw("runner_on_failed", res={"msg": "log: \x1b]0;owned\x07\x1b[2Jboom"}))
    assert event.message == "log: boom"


@pytest.mark.parametrize(
    "result",
    [
        {"findings": ["text", {"severity": "blocker"}, None, {"id": "swap-on", "evidence": ["a"], "fix": {"b": 1}}]},
        {"findings": {"id": "one"}, "nodes": "none"},
        {"findings": 5, "nodes": [{}, "x", None, {"roles": {"a": 1}}]},
        {"app": {"ok": "yes", "evidence": "line", "urls": None}, "results": "none"},
        "only text",
        ["a", "list"],
    ],
)
def test_answers_of_a_strange_shape_are_told_and_end_nothing(result):
    for kind in ("runner_on_ok", "runner_on_failed"):
        event = parse_event(raw(kind, res=result, start="yesterday", end="soon"))
        assert event.host == "cp"
        assert event.app is None or not event.app.ok
        assert all(isinstance(finding, Finding) for finding in event.findings)


def test_strange_finding_is_named():
    (finding,) = parse_event(raw("runner_on_ok", res={"findings": ["what\x07?"]})).findings
    assert finding.id == "strange-answer"
    assert "'what?'" in finding.evidence
