"""What a person reads at the end of a command."""

from collections.abc import Hashable, Iterable, Iterator, Sequence

from kubestrap.model.events import Finding
from kubestrap.model.exit_code import ExitCode
from kubestrap.model.summary import Summary
from kubestrap.model.verdict import APP

_ADMIN = "/etc/kubernetes/admin.conf"
_MANY = 3
"""What so many hosts have is told once for all of them."""
_NAMED = 5
"""So many of many names are shown."""


def report(summary: Summary) -> list[str]:
    """Return the lines: findings or failures first, then what there is, the verdict last."""
    return [
        *_findings(summary),
        *_failures(summary),
        *_nodes(summary),
        *_app(summary),
        *_stages(summary),
        *_verdict(summary),
    ]


def shortened(hosts: Sequence[str]) -> str:
    """Return the names of hosts; of many, the first few and how many there are."""
    if len(hosts) <= _NAMED + 1:
        return ", ".join(hosts)
    return f"{', '.join(hosts[:_NAMED])} and {len(hosts) - _NAMED} more"


def folded[Who, Said: Hashable](pairs: Iterable[tuple[Who, Said]]) -> dict[Said, list[Who]]:
    """Return who says the same, in the order in which it is first said."""
    same: dict[Said, list[Who]] = {}
    for who, said in pairs:
        same.setdefault(said, []).append(who)
    return same


def _counted(hosts: Sequence[str]) -> str:
    names = shortened(hosts)
    return names if len(hosts) == 1 else f"{len(hosts)} hosts: {names}"


def _findings(summary: Summary) -> Iterator[str]:
    """First what many hosts have, once; then of each host what is left."""
    findings = dict(sorted(summary.findings.items()))
    everyone = folded((host, finding) for host, found in findings.items() for finding in dict.fromkeys(found))
    shared = {finding: hosts for finding, hosts in everyone.items() if len(hosts) >= _MANY}
    by_hosts = folded((finding, _counted(hosts)) for finding, hosts in shared.items())
    for heading, same in by_hosts.items():
        yield from _block(heading, same)
    for host, found in findings.items():
        yield from _block(host, [finding for finding in found if finding not in shared])


def _block(heading: str, findings: Sequence[Finding]) -> Iterator[str]:
    if not findings:
        return
    yield ""
    yield heading
    for finding in sorted(findings, key=lambda item: (item.severity != "blocker", item.id)):
        yield f"  {finding.severity:<8} {finding.id}: {finding.evidence}"
        yield f"           fix: {finding.fix}"


def _failures(summary: Summary) -> Iterator[str]:
    same = folded((failure.host, (failure.stage, failure.task, failure.message)) for failure in summary.failures)
    for (stage, task, message), hosts in same.items():
        yield ""
        if stage == APP and summary.app is not None and summary.app.cause:
            # Where Ansible noticed does not matter to anybody here; the cause does.
            yield f"FAILED  app: {summary.app.cause}"
            yield from (f"  {line}" for line in summary.app.evidence)
        else:
            yield f"FAILED  {_counted(hosts)} · {stage} · {task}"
            yield from (f"  {line}" for line in message.splitlines())
    for why, hosts in folded(sorted(summary.unreachable.items())).items():
        yield ""
        yield f"UNREACHABLE  {_counted(hosts)}"
        yield f"  {why}"
    if summary.exit_code == ExitCode.BUG or (summary.exit_code == ExitCode.STEP_FAILED and not summary.failures):
        yield from (f"ERROR  {text}" for text in summary.errors or ("Ansible ended without saying why",))


def _nodes(summary: Summary) -> Iterator[str]:
    if not summary.nodes:
        return
    rows = [("NODE", "STATUS", "ROLES", "VERSION", "RUNTIME", "ADDRESS")]
    rows += [
        (node.name, "Ready" if node.ready else "NotReady", node.roles or "-", node.version, node.runtime, node.address)
        for node in summary.nodes
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    yield ""
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _app(summary: Summary) -> Iterator[str]:
    app = summary.app
    if app is None:
        return
    yield ""
    for url in app.urls:
        yield f"App  {url}"
    if app.ok and not app.urls:
        yield f"App  {app.state or 'running; no Service makes it reachable from outside'}"
    if app.ok and app.note:
        yield f"     {app.note}"
    # A failed step of the app role has said it already.
    if not app.ok and not any(failure.stage == APP for failure in summary.failures):
        yield f"App  {app.cause}"
        yield from (f"  {line}" for line in app.evidence)


def _stages(summary: Summary) -> Iterator[str]:
    shown = [stage for stage in summary.stages if stage.seconds >= 0.05]  # noqa: PLR2004 - would be shown as 0.0
    if shown and not summary.verb.judges_hosts:
        yield ""
        yield "Stages  " + " · ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in shown)


def _verdict(summary: Summary) -> Iterator[str]:
    yield ""
    yield _sentence(summary)
    if summary.exit_code in {ExitCode.DONE, ExitCode.HOSTS_SET_ASIDE} and summary.verb.next_step:
        where = "" if summary.kubectl else f", as root on {summary.control_plane}"
        kubectl = summary.kubectl or f"kubectl --kubeconfig {_ADMIN}"
        yield summary.verb.next_step.format(where=where, kubectl=kubectl)
    if summary.exit_code not in {ExitCode.DONE, ExitCode.BLOCKED} and summary.run_directory:
        yield f"Everything that was said: {summary.run_directory}/ansible.log"


def _sentence(summary: Summary) -> str:  # noqa: PLR0911 - one return an exit code
    seconds = f"{summary.seconds:.0f} s"
    again = f" and run `kubestrap {summary.verb.name}` again"
    hosts = shortened(sorted({failure.host for failure in summary.failures} | set(summary.unreachable)))
    match summary.exit_code:
        case ExitCode.DONE:
            return _done(summary, seconds)
        case ExitCode.BLOCKED:
            return f"{_count(summary.blockers, 'blocker')}: fix what is said above{again}. {seconds}."
        case ExitCode.UNREACHABLE:
            return f"Not done: {shortened(sorted(summary.unreachable))} cannot be reached. {seconds}."
        case ExitCode.HOSTS_SET_ASIDE:
            return f"Done, but without {hosts}: fix what is said above{again}. {seconds}."
        case ExitCode.APP_FAILED:
            return f"The cluster is up, the app is not: fix it and run `kubestrap {summary.verb.app_again}`. {seconds}."
        case ExitCode.INTERRUPTED:
            return f"Interrupted after {seconds}; `kubestrap {summary.verb.name}` goes on from where the hosts are."
        case ExitCode.BUG:
            return "The playbook did not start. This is a bug in kubestrap: please report it with the log."
        case _:
            return f"Failed on {hosts}: fix what is said above{again}. {seconds}."


def _done(summary: Summary, seconds: str) -> str:
    if summary.verb.done:
        warnings = sum(map(len, summary.findings.values()))
        said = summary.verb.done.format(
            warnings=f" ({_count(warnings, 'warning')})" if warnings else "",
            ready=sum(node.ready for node in summary.nodes),
            nodes=_count(len(summary.nodes), "node"),
        )
        return f"{said}. {seconds}."
    if not summary.changes:
        return f"Done: nothing changed. {seconds}."
    hosts = ", ".join(f"{host} {count}" for host, count in sorted(summary.changed.items()))
    return f"Done: {_count(summary.changes, 'change')} ({hosts}). {seconds}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
