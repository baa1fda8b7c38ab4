"""Which exit code the events of a run amount to."""

from collections.abc import Mapping, Sequence

from kubestrap.model.cluster import Cluster
from kubestrap.model.events import App, Finding, TaskFinished
from kubestrap.model.exit_code import ExitCode
from kubestrap.model.verb import Verb

# Role that judges hosts, and role whose failure alone leaves a working cluster.
PREFLIGHT = "preflight"
APP = "app"


def exit_code(  # noqa: C901, PLR0911 - one line a rule, in the order they count
    verb: Verb,
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
) -> ExitCode:
    """Return the exit code of a run.

    Args:
        verb: What was run.
        cluster: All of its hosts.
        failures: Steps that failed, and were not made good.
        targets: Names of the hosts it was meant for.
        lost: Names of the hosts that were out of reach, before the run or during it.
        findings: What was found on hosts, by name.
        ran: Names of the hosts on which anything ran.
        interrupted: Whether a person stopped it.
        ansible_code: Exit code of ansible-playbook.
        app: The last verdict about the app.
    """
    workers = {host.name for host in cluster.workers}
    troubled = {failure.host for failure in failures} | lost
    blocked = any(finding.severity == "blocker" for found in findings.values() for finding in found)
    if interrupted:
        return ExitCode.INTERRUPTED
    if verb.judges_hosts:
        if lost:
            return ExitCode.UNREACHABLE
        if blocked:
            return ExitCode.BLOCKED
    if not ran and ansible_code:
        return ExitCode.BUG
    if blocked and _stopped_by_findings(failures, workers, ran):
        return ExitCode.BLOCKED
    failed = [failure for failure in failures if failure.host not in workers and failure.stage != APP]
    if (lost - workers) and _not_without(lost - workers, failed, {host.name for host in cluster.control_planes}):
        return ExitCode.UNREACHABLE
    if failed:
        return ExitCode.STEP_FAILED
    if lost and lost >= targets:
        return ExitCode.UNREACHABLE
    if any(failure.stage == APP for failure in failures) or (app is not None and not app.ok and verb.judges_app):
        return ExitCode.APP_FAILED
    if troubled:
        return ExitCode.HOSTS_SET_ASIDE
    return ExitCode.STEP_FAILED if ansible_code else ExitCode.DONE


def _not_without(lost: set[str], failed: Sequence[TaskFinished], control_planes: set[str]) -> bool:
    """Tell whether control planes that are lost are why the command did not do its work."""
    quorum_lost = 2 * len(lost) >= len(control_planes)
    refused = any(failure.stage == PREFLIGHT for failure in failed)
    return lost >= control_planes or refused or (quorum_lost and bool(failed))


def _stopped_by_findings(failures: Sequence[TaskFinished], workers: set[str], ran: set[str]) -> bool:
    """Tell whether the judgement of the hosts ended the run, and not only set workers aside."""
    stopped = {failure.host for failure in failures if failure.stage == PREFLIGHT}
    return bool(stopped - workers) or (bool(stopped) and stopped == ran)
