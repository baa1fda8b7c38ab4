"""What a run amounts to: who changed, who failed, how long each stage took, and the exit code."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubestrap.model.cluster import Cluster, Host
from kubestrap.model.events import App, Event, Finding, Message, Node, PlaybookFinished, TaskFinished, TaskStarted
from kubestrap.model.exit_code import ExitCode
from kubestrap.model.timeline import Stage, stages
from kubestrap.model.verb import Verb
from kubestrap.model.verdict import APP, exit_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The result of one command."""

    verb: Verb
    cluster: str
    exit_code: ExitCode
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
            "command": self.verb.name,
            "cluster": self.cluster,
            "exit_code": int(self.exit_code),
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
    verb: Verb,
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
        verb: What was run.
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
    code = exit_code(
        verb,
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
        verb=verb,
        cluster=cluster.name,
        exit_code=code,
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
