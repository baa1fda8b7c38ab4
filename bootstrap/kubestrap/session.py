"""What every verb that works on a cluster does: check the inventory, try the connections, run one playbook."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from kubestrap.errors import InventoryError
from kubestrap.model.cluster import Cluster, cluster_from, minikube_from
from kubestrap.model.events import Event, event_data
from kubestrap.model.probe import ProbeResult
from kubestrap.model.report import shortened
from kubestrap.model.run import Playbook, Request
from kubestrap.model.summary import summarize
from kubestrap.model.targets import cannot_succeed, chosen, only_asked
from kubestrap.model.validation import validate, validate_minikube
from kubestrap.model.verb import Verb
from kubestrap.ports import Tools

_COLLECTION = "kubestrap.cluster"


def run(verb: Verb, request: Request, tools: Tools) -> int:
    """Do what a verb is for and return the exit code.

    Raises:
        InventoryError: When the inventory cannot be used, or there is nothing in it for the verb.
        UsageError: When `--limit` matches no host, or another run works on the cluster.
    """
    cluster = _validated(verb, request, tools)
    if verb.refuse and (reason := verb.refuse(request, cluster, lambda: _local_images(tools, cluster))):
        raise InventoryError(reason)
    with tools.state.lock(cluster.name) if verb.lock else nullcontext():
        return _play(verb, request, tools, cluster)


def _validated(verb: Verb, request: Request, tools: Tools) -> Cluster:
    """Return the cluster an inventory describes, or the one machine of it that is for minikube."""
    inventory = tools.inventories.read(request.inventories, request.extra_vars)
    problems = (validate_minikube if verb.minikube else validate)(inventory, tools.declaration)
    lines = tools.inventories.describe(problems, request.inventories, request.extra_vars)
    if not problems:
        default_name = tools.declaration.default("cluster_name")
        cluster = minikube_from(inventory) if verb.minikube else cluster_from(inventory, default_name=default_name)
        if verb.manifests and not request.images:
            lines += tools.app_files.manifest_problems(cluster.value("cluster_app_manifests", ()), cluster.directory)
        if verb.images:
            named = request.images or cluster.value("cluster_app_images", ())
            # Manifests that cannot be read name no image; the mistake in them is told already.
            found = {} if request.images or lines else _local_images(tools, cluster)
            lines += tools.app_files.image_problems(named, found, cluster.directory)
        if not lines:
            return cluster
    noun = "mistake" if len(lines) == 1 else "mistakes"
    raise InventoryError(f"{len(lines)} {noun}; nothing was started", details=lines)


def _local_images(tools: Tools, cluster: Cluster) -> Mapping[str, str]:
    """Return the images that the app's manifests name and no registry is meant for, each with its place."""
    return tools.app_files.local_images(cluster.value("cluster_app_manifests", ()), cluster.directory)


def _play(verb: Verb, request: Request, tools: Tools, cluster: Cluster) -> int:
    """Run the playbook of a verb on the hosts that answer and return the exit code."""
    started = tools.clock()
    hosts = chosen(cluster, request.limit)
    asked = only_asked(verb, cluster, hosts)
    tools.reporter.start(verb.name, cluster, hosts)
    results = tools.hosts.probe((*hosts, *asked))
    lost = [result for result in results if not result.ok]
    unreachable = {result.host: result.sentence for result in lost}
    if cannot_succeed(verb, hosts, asked, unreachable):
        summary = summarize(verb, cluster, (), seconds=tools.clock() - started, targets=hosts, unreachable=unreachable)
        tools.reporter.finish(summary)
        return summary.exit_code
    tools.reporter.set_aside(lost)
    slow = [result for result in results if result.slow]
    if slow:
        tools.reporter.note(_slowly(slow))
    answering = [host.name for host in asked if host.name not in unreachable]
    # One of them is enough: that others are lost is no failure of this run.
    for host in asked:
        unreachable.pop(host.name, None)
    record = tools.state.run()
    events: list[Event] = []

    def handle(event: Event) -> None:
        events.append(event)
        if data := event_data(event):
            record.record(data)
        tools.reporter.handle(event)

    names = {host.name for host in hosts} - set(unreachable)
    playbook = Playbook(
        name=f"{_COLLECTION}.{verb.playbook}",
        inventories=request.inventories,
        extra_vars=request.extra_vars,
        variables={**verb.variables(request), **({"__cluster_consulted_hosts": answering} if answering else {})},
        limit=tuple(host.name for host in cluster.hosts if host.name in names)
        if cluster.others or len(names) < len(cluster.hosts)
        else (),
        forks=min(50, max(10, len(names))),
        verbosity=request.verbosity,
        login_seconds=max((3 * round(result.seconds) for result in slow), default=0),
    )
    outcome = tools.runner.run(playbook, log=record.log, handle=handle, notify=tools.reporter.note)
    summary = summarize(
        verb,
        cluster,
        events,
        seconds=tools.clock() - started,
        targets=hosts,
        unreachable=unreachable,
        interrupted=outcome.interrupted,
        ansible_code=outcome.code,
        run_directory=str(record.directory),
    )
    record.finish(summary, events)
    tools.reporter.finish(summary)
    return summary.exit_code


def _slowly(slow: Sequence[ProbeResult]) -> str:
    names = shortened([result.host for result in slow])
    seconds = max(result.seconds for result in slow)
    return (
        f"{names}: reached, but slowly: the login takes {seconds:.0f} s. Does sshd there wait for name servers that do "
        "not answer (`UseDNS no`, or correct /etc/resolv.conf), or is this machine busy?"
    )
