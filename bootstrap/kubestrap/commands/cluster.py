"""What every verb that works on a cluster does: check the inventory, try the connections, run one playbook."""

from collections.abc import Mapping, Sequence
from typing import Any

from kubestrap.errors import InventoryError, UsageError
from kubestrap.model.cluster import Cluster, Host, cluster_from, limit_hosts, minikube_from
from kubestrap.model.events import Event, event_data
from kubestrap.model.probe import ProbeResult
from kubestrap.model.report import shortened
from kubestrap.model.summary import summarize
from kubestrap.model.validation import validate, validate_minikube
from kubestrap.ports import Playbook, Request, Tools

_COLLECTION = "kubestrap.cluster"


def validated(request: Request, tools: Tools, *, manifests: bool, images: bool, minikube: bool = False) -> Cluster:
    """Return the cluster an inventory describes, or the one machine of it that is for minikube.

    Raises:
        InventoryError: With every mistake at once.
    """
    inventory = tools.inventories.read(request.inventories, request.extra_vars)
    problems = (validate_minikube if minikube else validate)(inventory, tools.declaration)
    lines = tools.inventories.describe(problems, request.inventories, request.extra_vars)
    if not problems:
        default_name = tools.declaration.default("cluster_name")
        cluster = minikube_from(inventory) if minikube else cluster_from(inventory, default_name=default_name)
        named = request.images or cluster.value("cluster_app_images", ())
        if manifests:
            lines += tools.app_files.manifest_problems(cluster.value("cluster_app_manifests", ()), cluster.directory)
        if images:
            # Manifests that cannot be read name no image; the mistake in them is told already.
            found = {} if request.images or lines else app_images(tools, cluster)
            lines += tools.app_files.image_problems(named, found, cluster.directory)
        if not lines:
            return cluster
    noun = "mistake" if len(lines) == 1 else "mistakes"
    raise InventoryError(f"{len(lines)} {noun}; nothing was started", details=lines)


def app_images(tools: Tools, cluster: Cluster) -> Mapping[str, str]:
    """Return the images that the app's manifests name and no registry is meant for, each with its place."""
    return tools.app_files.local_images(cluster.value("cluster_app_manifests", ()), cluster.directory)


def play(request: Request, tools: Tools, cluster: Cluster, *, variables: Mapping[str, Any] | None = None) -> int:
    """Run the playbook of a verb on the hosts that answer and return the exit code."""
    started = tools.clock()
    hosts = _chosen(request, cluster)
    consulted = _consulted(request, cluster, hosts)
    tools.reporter.start(request.command, cluster, hosts)
    results = tools.hosts.probe((*hosts, *consulted))
    lost = [result for result in results if not result.ok]
    unreachable = {result.host: result.sentence for result in lost}
    if _pointless(request, hosts, consulted, unreachable):
        summary = summarize(
            request.command, cluster, (), seconds=tools.clock() - started, targets=hosts, unreachable=unreachable
        )
        tools.reporter.finish(summary)
        return summary.exit_code
    tools.reporter.set_aside(lost)
    slow = [result for result in results if result.slow]
    if slow:
        tools.reporter.note(_slowly(slow))
    asked = [host.name for host in consulted if host.name not in unreachable]
    # One of them is enough: that others are lost is no failure of this run.
    for host in consulted:
        unreachable.pop(host.name, None)
    run = tools.state.run()
    events: list[Event] = []

    def handle(event: Event) -> None:
        events.append(event)
        if data := event_data(event):
            run.record(data)
        tools.reporter.handle(event)

    names = {host.name for host in hosts} - set(unreachable)
    playbook = Playbook(
        name=f"{_COLLECTION}.{request.command.replace(' ', '_')}",
        inventories=request.inventories,
        extra_vars=request.extra_vars,
        variables={**(variables or {}), **({"__cluster_consulted_hosts": asked} if asked else {})},
        limit=tuple(host.name for host in cluster.hosts if host.name in names)
        if cluster.others or len(names) < len(cluster.hosts)
        else (),
        forks=min(50, max(10, len(names))),
        verbosity=request.verbosity,
        login_seconds=max((3 * round(result.seconds) for result in slow), default=0),
    )
    outcome = tools.runner.run(playbook, log=run.log, handle=handle, notify=tools.reporter.note)
    summary = summarize(
        request.command,
        cluster,
        events,
        seconds=tools.clock() - started,
        targets=hosts,
        unreachable=unreachable,
        interrupted=outcome.interrupted,
        ansible_code=outcome.code,
        run_directory=str(run.directory),
    )
    run.finish(summary, events)
    tools.reporter.finish(summary)
    return summary.exit_code


def _slowly(slow: Sequence[ProbeResult]) -> str:
    names = shortened([result.host for result in slow])
    seconds = max(result.seconds for result in slow)
    return (
        f"{names}: reached, but slowly: the login takes {seconds:.0f} s. Does sshd there wait for name servers that do "
        "not answer (`UseDNS no`, or correct /etc/resolv.conf), or is this machine busy?"
    )


def _chosen(request: Request, cluster: Cluster) -> tuple[Host, ...]:
    if not request.limit:
        return cluster.hosts
    hosts, unknown = limit_hosts(cluster, request.limit)
    if unknown or not hosts:
        known = ", ".join(host.name for host in cluster.hosts)
        wrong = ", ".join(unknown) or request.limit
        raise UsageError(f"--limit {wrong} matches no host of the cluster; there are: {known}")
    return hosts


def _consulted(request: Request, cluster: Cluster, hosts: Sequence[Host]) -> tuple[Host, ...]:
    """Return the hosts that a run which is limited to workers leaves alone, but asks: one must know the cluster."""
    alone = request.command == "up" and all(host.role == "worker" for host in hosts)
    return cluster.control_planes if alone else ()


def _pointless(
    request: Request, hosts: Sequence[Host], consulted: Sequence[Host], unreachable: Mapping[str, str]
) -> bool:
    """Tell whether the work makes no sense without the hosts that are out of reach.

    One control plane is enough to ask; the playbook sees whether those that answer have a cluster that works.
    """
    if all(host.name in unreachable for host in hosts):
        return True
    planes = [host for host in (*hosts, *consulted) if host.role == "control_plane"]
    return request.command != "check" and bool(planes) and all(host.name in unreachable for host in planes)
