"""What a playbook run reports, as plain values."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from kubestrap.model.text import harmless_value

Outcome = Literal["ok", "changed", "skipped", "failed", "ignored", "unreachable"]
Severity = Literal["blocker", "warning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something `check` has to say about a host."""

    id: str
    severity: Severity
    evidence: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A member of the cluster as the API sees it."""

    name: str
    ready: bool
    roles: str
    version: str
    runtime: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """The verdict on the app."""

    ok: bool
    cause: str = ""
    evidence: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    namespace: str = ""
    note: str = ""
    """What to know about an app that runs."""
    state: str = ""
    """What is true instead, where "running" is not: that nothing in it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStarted:
    """A task began on a host."""

    host: str
    stage: str
    task: str
    at: float


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that was changed, or would be; secrets are hidden by who changed it."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFinished:
    """A task ended on a host; times are seconds since 1970."""

    host: str
    stage: str
    task: str
    outcome: Outcome
    started: float
    ended: float
    message: str = ""
    findings: tuple[Finding, ...] = ()
    nodes: tuple[Node, ...] = ()
    app: App | None = None
    kubectl: str = ""
    """The words that begin a kubectl command for the cluster, as the person can type it."""
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A warning or an error that belongs to no task."""

    level: Literal["warning", "error"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaybookFinished:
    """The end: Ansible's own totals by host, which also count tasks that hide their result and rescued failures."""

    changed: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    unreachable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a host is with what takes long."""

    host: str
    text: str


Event = TaskStarted | TaskFinished | Message | Progress | PlaybookFinished

# As the action plugin node_images says it.
_PROGRESS = re.compile(r"\[(\S+)\] (\S.* MB (?:\(\d+%\)|are there, the host loads them))")

_ENDS: dict[str, Outcome] = {
    "runner_on_ok": "ok",
    "runner_on_skipped": "skipped",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
}


# The one module that says how to reach the cluster from here.
_KUBECONFIG = "kubestrap.cluster.kubeconfig"

# What Ansible says when it cannot begin on a host, and what to do; it counts as a failed task there.
_NO_WAY_IN = {
    "Using a SSH password instead of a key is not possible because Host Key checking is enabled": (
        "its host key is not known here, and a stranger is told no password; log in once with ssh, with the same "
        "options, and compare the key it shows with the host's own"
    ),
    "you must install the sshpass program": (
        "Ansible is told to give the password with sshpass, which is not on this machine; take out "
        "ansible_ssh_password_mechanism (ssh takes the password without it), or install sshpass"
    ),
}

# Characters of a file or object that an event shows.
_MOST = 20_000

# They only name what comes next, which tells itself.
_INCLUDES = ("ansible.builtin.include_role", "ansible.builtin.include_tasks")


def parse_event(raw: Mapping[str, Any]) -> Event | None:
    """Translate an ansible-runner event; None for events nobody acts on.

    What hosts say in it cannot steer a terminal, and an answer of a strange shape is told, never an error here: the run
    goes on for the other hosts.
    """
    raw = harmless_value(raw)
    kind = raw.get("event", "")
    data = raw.get("event_data") or {}
    if data.get("task_action") in _INCLUDES and kind in {"runner_on_start", "runner_on_ok"}:
        return None
    if kind in _ENDS:
        return _finished(_ENDS[kind], raw, data)
    if kind == "runner_on_start":
        return TaskStarted(host=data["host"], stage=_stage(data), task=_name(data), at=_seconds(raw.get("created")))
    return _of_no_task(kind, raw, data)


def _of_no_task(kind: str, raw: Mapping[str, Any], data: Mapping[str, Any]) -> Event | None:
    match kind:
        case "warning" | "error":
            return Message(level=kind, text=_clean(str(raw.get("stdout", ""))))
        case "verbose" if found := _PROGRESS.fullmatch(str(raw.get("stdout", "")).strip()):
            return Progress(host=found[1], text=found[2])
        case "playbook_on_stats":
            return PlaybookFinished(
                changed=data.get("changed", {}),
                failed=tuple(data.get("failures", {})),
                unreachable=tuple(data.get("dark", {})),
            )
        case _:
            return None


def _finished(outcome: Outcome, raw: Mapping[str, Any], data: Mapping[str, Any]) -> TaskFinished:
    result = data.get("res")
    result = result if isinstance(result, Mapping) else {"msg": str(result)} if result else {}
    # A `no_log` task hides its result, so "changed" may be missing.
    if outcome == "ok" and result.get("changed"):
        outcome = "changed"
    if outcome == "failed" and data.get("ignore_errors"):
        outcome = "ignored"
    message = _message(result) if outcome in {"failed", "ignored", "unreachable"} else ""
    if outcome == "failed" and (told := next((told for said, told in _NO_WAY_IN.items() if said in message), "")):
        outcome, message = "unreachable", told
    ended = _seconds(data.get("end") or raw.get("created"))
    return TaskFinished(
        host=data["host"],
        stage=_stage(data),
        task=_name(data),
        outcome=outcome,
        started=_seconds(data.get("start")) or ended - float(data.get("duration") or 0),
        ended=ended,
        message=message,
        findings=tuple(map(_finding, _items(result.get("findings")))),
        nodes=tuple(_node(item) for item in _items(result.get("nodes")) if isinstance(item, Mapping)),
        app=_app(result["app"]) if isinstance(result.get("app"), Mapping) else None,
        # From the plugin that runs here: what is printed to be typed is never what a host says.
        kubectl=str(result.get("kubectl") or "") if data.get("task_action") == _KUBECONFIG else "",
        changes=tuple(_changes(result.get("diff"))) if outcome == "changed" else (),
    )


def _stage(data: Mapping[str, Any]) -> str:
    # A role called from the collection has its full name here, one from the checkout only the last part.
    return str(data.get("role") or data.get("play") or "").rpartition(".")[2]


def _name(data: Mapping[str, Any]) -> str:
    name = str(data.get("task") or data.get("task_action") or "")
    return "Check the arguments" if name.startswith("Validating arguments") else name.rpartition(" | ")[2]


def _message(result: Mapping[str, Any]) -> str:
    if result.get("censored"):
        return "the result is hidden because it may hold a secret"
    said = (str(result.get(key) or "").strip() for key in ("msg", "stderr", "module_stderr"))
    text = next(filter(None, said), "no message")
    failed = [item for item in _items(result.get("results")) if isinstance(item, Mapping) and item.get("failed")]
    if failed:
        return "; ".join(_message(item) for item in failed)
    detail = str(result.get("stderr") or "").strip()
    return f"{text}\n{detail}" if detail and text == "non-zero return code" else text


def _items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else () if value is None else (value,)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, _items(value)))


def _finding(item: Any) -> Finding:
    if not isinstance(item, Mapping) or not item.get("id"):
        return Finding(
            id="strange-answer",
            severity="warning",
            evidence=f"the host answered {str(item)[:200]!r}, which is no finding",
            fix="report this with the run's log",
        )
    severity: Severity = "blocker" if item.get("severity") == "blocker" else "warning"
    return Finding(
        id=str(item["id"]), severity=severity, evidence=str(item.get("evidence", "")), fix=str(item.get("fix", ""))
    )


def _changes(diffs: Any) -> Iterator[Change]:
    for diff in _items(diffs):
        if isinstance(diff, Mapping) and (what := diff.get("after_header") or diff.get("before_header")):
            yield Change(str(what), _shortened(diff.get("before")), _shortened(diff.get("after")))


def _shortened(text: Any) -> str:
    text = str(text or "")
    return text if len(text) <= _MOST else f"{text[:_MOST]}\n({len(text) - _MOST} more characters)\n"


def _node(item: Mapping[str, Any]) -> Node:
    return Node(
        name=str(item.get("name") or "(no name)"),
        ready=item.get("ready") is True,
        roles=",".join(_texts(item.get("roles"))),
        version=str(item.get("version", "")),
        runtime=str(item.get("runtime", "")),
        address=str(item.get("address", "")),
    )


def _app(item: Mapping[str, Any]) -> App:
    return App(
        ok=item.get("ok") is True,
        cause=str(item.get("cause") or ""),
        evidence=_texts(item.get("evidence")),
        urls=_texts(item.get("urls")),
        namespace=str(item.get("namespace") or ""),
        note=str(item.get("note") or ""),
        state=str(item.get("state") or ""),
    )


def _seconds(text: Any) -> float:
    if not text:
        return 0.0
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.astimezone()).timestamp()


def _clean(text: str) -> str:
    return " ".join(text.replace("[WARNING]:", "").replace("[ERROR]:", "").split())


def event_data(event: Event) -> dict[str, Any] | None:
    """Return an event as an object of `--output json`; None when programs have no use for it."""
    match event:
        case TaskStarted():
            return {
                "event": "task_started",
                "time": event.at,
                "host": event.host,
                "stage": event.stage,
                "task": event.task,
            }
        case TaskFinished():
            return {
                "event": "task_finished",
                "time": event.ended,
                "host": event.host,
                "stage": event.stage,
                "task": event.task,
                "outcome": event.outcome,
                "seconds": round(event.ended - event.started, 3),
                "message": event.message,
                "changes": [asdict(change) for change in event.changes],
            }
        case Progress():
            return {"event": "progress", "host": event.host, "text": event.text}
        case Message():
            return {"event": "message", "level": event.level, "text": event.text}
        case PlaybookFinished():
            return None
