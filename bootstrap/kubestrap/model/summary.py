"""What a run amounts to: who changed, who failed, how long each stage took, and the exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubestrap.model.cluster import Cluster, Host
from kubestrap.model.events import App, Event, Finding, Message, Node, PlaybookFinished, TaskFinished, TaskStarted

# Role that judges hosts, and role whose failure alone leaves a working cluster.
PREFLIGHT = "preflight"
APP = "app"

DONE, BLOCKED, UNREACHABLE, STEP_FAILED, HOSTS_SET_ASIDE, APP_FAILED, INTERRUPTED, BUG = 0, 3, 4, 5, 6, 7, 130, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One role's share of a run."""

    name: str
    seconds: float
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One stage on one host: a bar of the timeline. Times are seconds since 1970."""

    host: str
    stage: str
    started: float
    ended: float
    failed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of one command."""

    command: str
    cluster: str
    exit_code: int
    seconds: float
    changed: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[TaskFinished, ...] = ()
    unreachable: Mapping[str, str] = field(default_factory=dict)
    findings: Mapping[str, tuple[Finding, ...]] = field(default_factory=dict)
    stages: tuple[Stage, ...] = ()
    nodes: tuple[Node, ...] = ()
    app: App | None = None
    control_plane: str = ""
    """The first that can be reached."""
    kubectl: str = ""
    """The words that begin a kubectl command for the cluster; empty when the operator has no kubeconfig for it."""
    errors: tuple[str, ...] = ()
    run_directory: str = ""

    @property
    def changes(self) -> int:
        """Changes on all hosts together."""
        return sum(self.changed.values())

    @property
    def blockers(self) -> int:
        """Blockers on all hosts together."""
        return sum(finding.severity == "blocker" for found in self.findings.values() for finding in found)

    def as_data(self) -> dict[str, Any]:
        """The summary object of `--output json`."""
        return {
            "event": "summary",
            "command": self.command,
            "cluster": self.cluster,
            "exit_code": self.exit_code,
            "seconds": round(self.seconds, 1),
            "changed": self.changes,
            "failed": len({failure.host for failure in self.failures}),
            "unreachable": len(self.unreachable),
            "app_urls": list(self.app.urls) if self.app else [],
            "changed_by_host": dict(self.changed),
            "failures": [
                {"host": item.host, "stage": item.stage, "task": item.task, "message": item.message}
                for item in self.failures
            ],
            "unreachable_hosts": dict(self.unreachable),
            "findings": {
                host: [
                    {"id": item.id, "severity": item.severity, "evidence": item.evidence, "fix": item.fix}
                    for item in found
                ]
                for host, found in self.findings.items()
            },
            "stages": [
                {"name": stage.name, "seconds": round(stage.seconds, 1), "changed": stage.changed}
                for stage in self.stages
            ],
            "nodes": [
                {
                    "name": node.name,
                    "ready": node.ready,
                    "roles": node.roles,
                    "version": node.version,
                    "runtime": node.runtime,
                    "address": node.address,
                }
                for node in self.nodes
            ],
            "app": None
            if self.app is None
            else {
                "ok": self.app.ok,
                "cause": self.app.cause,
                "evidence": list(self.app.evidence),
                "namespace": self.app.namespace,
                "note": self.app.note,
                "state": self.app.state,
            },
            "kubectl": self.kubectl,
            "errors": list(self.errors),
            "run_directory": self.run_directory,
        }


def summarize(
    command: str,
    cluster: Cluster,
    events: Sequence[Event],
    *,
    seconds: float,
    targets: Sequence[Host] = (),
    unreachable: Mapping[str, str] | None = None,
    interrupted: bool = False,
    ansible_code: int = 0,
    run_directory: str = "",
) -> Summary:
    """Fold the events of a run.

    Args:
        command: The verb.
        cluster: All of its hosts.
        events: What was reported, in order.
        seconds: Duration of the whole command.
        targets: The hosts the command was meant for.
        unreachable: Hosts found out of reach before the run, and why.
        interrupted: Whether a person stopped it.
        ansible_code: Exit code of ansible-playbook.
        run_directory: Where log and events are.
    """
    finished = [event for event in events if isinstance(event, TaskFinished)]
    totals = next((event for event in events if isinstance(event, PlaybookFinished)), None)
    failures = tuple(
        event for event in finished if event.outcome == "failed" and (totals is None or event.host in totals.failed)
    )
    lost = dict(unreachable or {})
    lost.update({event.host: event.message for event in finished if event.outcome == "unreachable"})
    changed = Counter(event.host for event in finished if event.outcome == "changed")
    if totals is not None:
        changed = Counter(totals.changed)
    findings: dict[str, tuple[Finding, ...]] = {}
    for event in finished:
        if event.findings:
            findings[event.host] = (*findings.get(event.host, ()), *event.findings)
    exit_code = _exit_code(
        command,
        cluster,
        failures=failures,
        targets={host.name for host in targets},
        lost=set(lost),
        findings=findings,
        ran={event.host for event in events if isinstance(event, TaskStarted | TaskFinished)},
        interrupted=interrupted,
        ansible_code=ansible_code,
        app=_last_app(finished),
    )
    return Summary(
        command=command,
        cluster=cluster.name,
        exit_code=exit_code,
        seconds=seconds,
        changed={host: count for host, count in changed.items() if count},
        failures=failures,
        unreachable=lost,
        findings=findings,
        stages=stages(finished),
        nodes=next((event.nodes for event in reversed(finished) if event.nodes), ()),
        app=_last_app(finished) or _refused_app(failures),
        kubectl=next((event.kubectl for event in reversed(finished) if event.kubectl), ""),
        control_plane=next((host.name for host in cluster.control_planes if host.name not in lost), ""),
        errors=tuple(event.text for event in events if isinstance(event, Message) and event.level == "error"),
        run_directory=run_directory,
    )


def _last_app(finished: Sequence[TaskFinished]) -> App | None:
    return next((event.app for event in reversed(finished) if event.app), None)


def _refused_app(failures: Sequence[TaskFinished]) -> App | None:
    """Return the verdict when the app did not get as far as one: its manifests were refused, in words."""
    for failure in failures:
        if failure.stage == APP:
            cause, *evidence = failure.message.splitlines() or [""]
            return App(ok=False, cause=cause, evidence=tuple(evidence))
    return None


def _exit_code(  # noqa: C901, PLR0911 - one line a rule, in the order they count
    command: str,
    cluster: Cluster,
    *,
    failures: Sequence[TaskFinished],
    targets: set[str],
    lost: set[str],
    findings: Mapping[str, Sequence[Finding]],
    ran: set[str],
    interrupted: bool,
    ansible_code: int,
    app: App | None,
) -> int:
    workers = {host.name for host in cluster.workers}
    troubled = {failure.host for failure in failures} | lost
    blocked = any(finding.severity == "blocker" for found in findings.values() for finding in found)
    if interrupted:
        return INTERRUPTED
    if command == "check":
        if lost:
            return UNREACHABLE
        if blocked:
            return BLOCKED
    if not ran and ansible_code:
        return BUG
    if blocked and _stopped_by_findings(failures, workers, ran):
        return BLOCKED
    failed = [failure for failure in failures if failure.host not in workers and failure.stage != APP]
    if (lost - workers) and _not_without(lost - workers, failed, {host.name for host in cluster.control_planes}):
        return UNREACHABLE
    if failed:
        return STEP_FAILED
    if lost and lost >= targets:
        return UNREACHABLE
    if any(failure.stage == APP for failure in failures) or (app is not None and not app.ok and command != "status"):
        return APP_FAILED
    if troubled:
        return HOSTS_SET_ASIDE
    return STEP_FAILED if ansible_code else DONE


def _not_without(lost: set[str], failed: Sequence[TaskFinished], control_planes: set[str]) -> bool:
    """Tell whether control planes that are lost are why the command did not do its work."""
    quorum_lost = 2 * len(lost) >= len(control_planes)
    refused = any(failure.stage == PREFLIGHT for failure in failed)
    return lost >= control_planes or refused or (quorum_lost and bool(failed))


def _stopped_by_findings(failures: Sequence[TaskFinished], workers: set[str], ran: set[str]) -> bool:
    """Tell whether the judgement of the hosts ended the run, and not only set workers aside."""
    stopped = {failure.host for failure in failures if failure.stage == PREFLIGHT}
    return bool(stopped - workers) or (bool(stopped) and stopped == ran)


def stages(finished: Sequence[TaskFinished]) -> tuple[Stage, ...]:
    """Return the stages in the order they began; a stage that comes back later adds to its first entry."""
    seconds: dict[str, float] = {}
    changed: Counter[str] = Counter()
    name, began, ended = "", 0.0, 0.0
    for event in finished:
        if event.stage != name:
            if name:
                seconds[name] = seconds.get(name, 0.0) + ended - began
            name, began, ended = event.stage, event.started, event.ended
        began, ended = min(began, event.started), max(ended, event.ended)
        changed[event.stage] += event.outcome == "changed"
    if name:
        seconds[name] = seconds.get(name, 0.0) + ended - began
    return tuple(Stage(name=stage, seconds=duration, changed=changed[stage]) for stage, duration in seconds.items())


def spans(finished: Sequence[TaskFinished]) -> tuple[Span, ...]:
    """Return the bars of the timeline: consecutive tasks of one stage on one host are one bar."""
    bars: list[Span] = []
    open_bars: dict[str, int] = {}
    for event in finished:
        index = open_bars.get(event.host)
        failed = event.outcome in {"failed", "unreachable"}
        if index is not None and bars[index].stage == event.stage:
            before = bars[index]
            bars[index] = Span(
                host=event.host,
                stage=event.stage,
                started=before.started,
                ended=max(before.ended, event.ended),
                failed=before.failed or failed,
            )
        else:
            open_bars[event.host] = len(bars)
            bars.append(
                Span(host=event.host, stage=event.stage, started=event.started, ended=event.ended, failed=failed)
            )
    return tuple(bars)
