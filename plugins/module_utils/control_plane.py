"""The control plane on this host, first or further one: what there is of it, its API server, its node.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm, traces, unfinished
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import (
    COULD_NOT_LOOK,
    DOES_NOT,
    HOLDS,
    NOT_YET,
    Judgement,
    watch,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError, address_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

ROLE = kubeadm.CONTROL_PLANE_ROLE
# After so many seconds without a container of the API server, a kubelet that runs is not going to start one.
KUBELET_STARTS_PODS_WITHIN = 20
# An API server also ends while etcd is not up yet; one that ended more often does not come up.
STARTS_IN_VAIN = 4
# What kubectl's errors say about an API server. One that will never answer us could not be looked at.
ERRORS = (
    (
        r"certificate is valid for (.+), not (\S+)",
        COULD_NOT_LOOK,
        r"its certificate is for \1, not for \2, the address of this host by the inventory (cluster_node_address)",
    ),
    (
        r"signed by unknown authority",
        COULD_NOT_LOOK,
        "its certificate is of another CA than that of the kubeconfig on this host",
    ),
    (
        r"Unauthorized|must be logged in",
        COULD_NOT_LOOK,
        "it does not accept the certificate in the kubeconfig on this host",
    ),
    (
        r"certificate has expired or is not yet valid[^\n]*",
        COULD_NOT_LOOK,
        r"a certificate has expired, or this host's clock is wrong: \g<0>",
    ),
    (
        r"connect(?:ion to the server \S+ was|: connection) refused|no route to host",
        DOES_NOT,
        "nothing listens there",
    ),
    (
        r"[Ff]orbidden",
        NOT_YET,
        "it still starts: it answers, but does not know its administrators yet (Forbidden)",
    ),
)


class LeftAloneError(KubeadmError):
    """There is something on this host that nothing proves to be ours. It may be moved aside, if the person says so."""


def split_endpoint(endpoint: str) -> tuple[str, int]:
    """Return host and port of an API endpoint.

    Raises:
        KubeadmError: when it is none.
    """
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdigit():
        raise KubeadmError(f"The API endpoint {endpoint!r} is not of the form name:port (cluster_api_endpoint).")
    return host.strip("[]"), int(port)


def local_api(params: dict[str, Any]) -> Kubectl:
    """Return kubectl for the API server of this very host: the endpoint may lead to another control plane."""
    _, port = split_endpoint(params["api_endpoint"])
    return Kubectl(server=f"https://{params['node_address']}:{port}")


class LocalControlPlane:
    """The control plane on this host."""

    def __init__(self, params: dict[str, Any], changes: Changes, kubectl: Kubectl) -> None:
        """Remember the parameters of the module, and how this host's API server is reached."""
        self.params = params
        self.changes = changes
        self.kubectl = kubectl

    def node(self) -> Optional[dict[str, Any]]:
        """Return the Node object of this host, None when there is none.

        Raises:
            KubectlError: when the API does not say.
        """
        found = self.kubectl.items("get", "node", self.params["node_name"], "--ignore-not-found")
        return found[0] if found else None

    def works(self) -> Judgement:
        """Tell whether the API is ready and knows this node."""
        found = readiness(self.kubectl)
        if found.answer != HOLDS:
            return found
        try:
            node = self.node()
        except KubectlError as error:
            return Judgement(NOT_YET, f"it is ready, but does not say which nodes it has: {error}")
        return found if node else Judgement(NOT_YET, f"it is ready, but has no Node {self.params['node_name']} yet")

    def wait(self, seconds: int) -> Judgement:
        """Wait until the API is ready and knows this node."""
        return watch(self.works, seconds, pause=0.5)

    def revive(self) -> None:
        """Wait for the API server of a finished control plane; a kubelet that does not do its work is started anew.

        What cannot get better by waiting is told at once. Nothing is ever removed.

        Raises:
            KubeadmError: when the API does not come back.
        """
        reasons = flaws(self.params["api_endpoint"])
        if reasons:
            raise KubeadmError("\n  ".join(["The API of the control plane on this host does not answer.", *reasons,
                                            "Nothing was removed."]))  # fmt: skip
        found = Judgement(DOES_NOT) if not self._kubelet_runs() else self.wait(KUBELET_STARTS_PODS_WITHIN)
        if found.answer == DOES_NOT and not (self._kubelet_runs() and self._has_api_server()):
            self.changes.act(
                "kubelet",
                lambda: kubeadm.run("systemctl", "restart", "kubelet", timeout=120),
                before="API does not answer\n",
                after="restarted\n",
            )
            if self.changes.module.check_mode:
                return
        if found.answer in (DOES_NOT, NOT_YET):
            found = self.wait(self.params["timeout"])
        if found.answer != HOLDS:
            raise KubeadmError(self.why_silent(found, after=self.params["timeout"]))

    def why_silent(self, found: Judgement, *, after: int = 0) -> str:
        """Return, for people, what is known about an API server that does not do its work, after some seconds."""
        kubelet = kubelet_on_manifests() or kubeadm.kubelet_error()
        crashed = kubeadm.crashed(self.params["cri_socket"])
        cause = unknown_flag(crashed) or kubeadm.explain("\n".join(crashed), kubelet)
        evidence = [*flaws(self.params["api_endpoint"]), *crashed, *([f"kubelet: {kubelet}"] if kubelet else [])]
        state = "cannot be asked" if found.answer == COULD_NOT_LOOK else "is not ready"
        waited = f" after {after} s" if after else ""
        summary = (
            f"This host has a control plane, but its API {state}{waited}: {found.why}. {cause} Nothing was removed."
        )
        return "\n  ".join([summary, *evidence])

    def _kubelet_runs(self) -> bool:
        state = kubeadm.run("systemctl", "is-active", "kubelet", timeout=30).stdout.strip()
        # A kubelet that fails is started again and again by systemd.
        return state in ("active", "activating")

    def _has_api_server(self) -> bool:
        return self._starts_of_api_server() != 0

    def does_not_start(self) -> bool:
        """Tell whether nothing here is about to bring the API server up."""
        configured = traces.at(f"{traces.KUBELET}/config.yaml").exists()
        return not configured or not self._kubelet_runs() or self._starts_of_api_server() > STARTS_IN_VAIN

    def _starts_of_api_server(self) -> int:
        """Return how often the container of the API server was started; -1 when the runtime does not say."""
        crictl = ("crictl", "--runtime-endpoint", self.params["cri_socket"])
        try:
            done = kubeadm.run(*crictl, "ps", "--all", "--name", "kube-apiserver", "--output", "json", timeout=30)
            containers = json.loads(done.stdout)["containers"] or []
        except (FileNotFoundError, KubeadmError, ValueError, KeyError):
            return -1
        return max((int(one.get("metadata", {}).get("attempt", 0)) + 1 for one in containers), default=0)

    def converge_marks(self) -> None:
        """Mark the node as a control plane, and let apps run here or keep them away, as asked."""
        name = self.params["node_name"]
        try:
            node = self.node()
        except KubectlError as error:
            raise KubeadmError(f"The API does not say whether it has a node {name}: {error}") from None
        if node is None:
            raise KubeadmError(f"The API has no node {name!r}, the name of this host: was its hostname changed?")
        if ROLE not in (node["metadata"].get("labels") or {}):
            # The last thing kubeadm does, so what a cut left out.
            self.changes.act(f"label {ROLE}", lambda: self.kubectl.run("label", "node", name, f"{ROLE}="))
        tainted = any(taint["key"] == ROLE for taint in node["spec"].get("taints") or [])
        if tainted == self.params["schedulable"]:
            taint = f"{ROLE}:NoSchedule"
            self.changes.act(
                f"taint {ROLE}",
                lambda: self.kubectl.run("taint", "node", name, taint + ("-" if tainted else ""), "--overwrite"),
                before="NoSchedule\n" if tainted else "",
                after="" if tainted else "NoSchedule\n",
            )


def readiness(kubectl: Kubectl) -> Judgement:
    """Tell whether the API server that kubectl leads to is ready, and what it says when it is not."""
    if not kubectl.usable():
        return Judgement(COULD_NOT_LOOK, f"{kubectl.kubeconfig} is missing, so nobody can ask the API")
    try:
        said = kubectl.run("get", "--raw", "/readyz", "--request-timeout=5s", timeout=15).strip()
    except KubectlError as error:
        return not_ready(str(error))
    return Judgement(HOLDS) if said == "ok" else Judgement(NOT_YET, f"/readyz says {said[:200]!r}")


def not_ready(said: str) -> Judgement:
    """Return what an error of kubectl says about an API server."""
    for pattern, answer, meaning in ERRORS:
        known = re.search(pattern, said)
        if known:
            return Judgement(answer, known.expand(meaning))
    failed = re.findall(r"\[-\](\S+)", said)
    if failed:
        return Judgement(
            NOT_YET, f"it still starts, or a part of it fails: by /readyz it waits for {', '.join(failed)}"
        )
    return Judgement(NOT_YET, kubeadm.in_short(said, 2))


def flaws(api_endpoint: str) -> list[str]:
    """Return what is wrong with the files of the control plane on this host, in words; each alone keeps it down.

    Args:
        api_endpoint: host:port of the API, for files that are to be made anew.
    """
    found = traces.look()
    words = [f"The manifest {name} is missing in /{traces.MANIFESTS}: put it back." for name in found.missing_parts]
    words += [
        f"/{traces.KUBERNETES}/{name} is missing: put it back, or make it anew on this host: {command}."
        for name, command in (
            ("kubelet.conf", _phase("kubelet", api_endpoint)),
            ("admin.conf", _phase("admin", api_endpoint)),
        )
        if name not in found.configurations
    ]
    for part in found.parts:
        path = f"/{traces.MANIFESTS}/{part}.yaml"
        for flag, file in re.findall(r"--([\w-]+-file)=(/\S+?)[\"']?$", _manifest(part), re.MULTILINE):
            # What these name is on the host at the same place.
            if file.startswith("/etc/kubernetes/") and not traces.at(file).exists():
                words.append(f"{path} names a file that does not exist: --{flag}={file}.")
    asked = _flag("kube-apiserver", "etcd-servers")
    offered = _flag("etcd", "listen-client-urls")
    if asked and offered and not set(asked.split(",")) & set(offered.split(",")):
        words.append(
            f"/{traces.MANIFESTS}/kube-apiserver.yaml has --etcd-servers={asked}, but etcd listens on {offered} "
            f"(/{traces.MANIFESTS}/etcd.yaml): correct --etcd-servers."
        )
    return words


def unknown_flag(crashed: list[str]) -> str:
    """Return in words that a manifest has a flag its program does not know, by what the containers said last."""
    found = re.search(r"(\S+) ended: .*unknown flag: (--[\w-]+)", "\n".join(crashed))
    return f"/{traces.MANIFESTS}/{found[1]}.yaml has {found[2]}, a flag {found[1]} does not know." if found else ""


def kubelet_on_manifests() -> str:
    """Return what the kubelet said last about a manifest it cannot read, or an image it cannot have; else nothing."""
    try:
        log = kubeadm.run("journalctl", "-u", "kubelet", "-n", "300", "-o", "cat", "--no-pager", timeout=30).stdout
    except (FileNotFoundError, KubeadmError):
        return ""
    meant = r"E\d{4} .*(?:process manifest|kube-apiserver.*Image)"
    said = [line for line in log.splitlines() if re.match(meant, line)]
    return re.sub(r"^E\d{4} \S+\s+\d+ ", "", said[-1])[:600] if said else ""


def _phase(name: str, api_endpoint: str) -> str:
    address = _flag("kube-apiserver", "advertise-address")
    return (
        f"`kubeadm init phase kubeconfig {name} --apiserver-advertise-address {address} "
        f"--control-plane-endpoint {api_endpoint}`"
    )


def _endpoint() -> str:
    """Return host:port of the API by admin.conf, empty when it does not say: kubelet.conf may name this host's own."""
    text = read_text(str(traces.at(f"{traces.KUBERNETES}/admin.conf"))) or ""
    found = re.search(r"^\s*server:\s*https://(\S+)", text, re.MULTILINE)
    return found[1] if found else ""


def _manifest(part: str) -> str:
    return read_text(str(traces.at(f"{traces.MANIFESTS}/{part}.yaml"))) or ""


def _flag(part: str, name: str) -> str:
    found = re.search(rf"--{name}=([^\s\"']+)", _manifest(part))
    return found[1] if found else ""


def refuse_other_address(params: dict[str, Any]) -> None:
    """Raise an error when the API server of this host advertises another address than the inventory gives the host.

    Asking it, or restarting anything, would lead to nothing: its certificate is for that other address.
    """
    address = _flag("kube-apiserver", "advertise-address")
    if not address or address == params["node_address"]:
        return
    said = (
        f"The control plane on this host advertises the address {address} "
        f"(/{traces.MANIFESTS}/kube-apiserver.yaml), and the inventory gives this host "
        f"{params['node_address']}. Nothing was changed. "
    )
    if is_here(address):
        server = _endpoint()
        endpoint = f", and cluster_api_endpoint to {server}" if server and server != params["api_endpoint"] else ""
        raise KubeadmError(f"{said}Set cluster_node_address of this host to {address}{endpoint}, and run again.")
    raise KubeadmError(
        f"{said}{address} is on no interface of this host. If the host got another address: give it {address} again. "
        "If it is a copy of another host: what it copied is not its own; give it another hostname, and take it out "
        "of the inventory until it is bare."
    )


def is_here(address: str) -> bool:
    """Tell whether an address is on an interface of this host."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind((address, 0))
    except OSError:
        return False
    return True


def find_state(local: LocalControlPlane, *, authority: str = "") -> str:
    """Return what this host is, by its files, its mark and its API; wait for an API server that is just starting.

    Args:
        local: The control plane on this host.
        authority: The CA of the cluster the host is to be part of, PEM; empty when nobody knows it.

    Returns:
        `absent`: nothing, or a CA of the person's; `running`; `unfinished`: the API answers, and our mark says that
        the end of init or join may be missing; `half`: our mark proves that all that is here is an init or join that
        was cut; `down`: a whole control plane whose API does not answer.

    Raises:
        KubeadmError: with words, when it is something else, or nobody can say.
    """
    found, mark, params = traces.look(), unfinished.read(), local.params
    if found.bare:
        return "absent"
    other = traces.of_another_cluster(traces.fingerprints(authority))
    if other:
        raise KubeadmError(
            f"This host has something of another cluster: {other} names another CA than that of the cluster at "
            f"{params['api_endpoint']}. It is left alone: {found.describe()}."
        )
    if found.only_a_worker and mark is None:
        raise KubeadmError(
            "This host is a worker of a cluster already, and the inventory says control plane. List it under "
            "workers, or choose another host as control plane."
        )
    if found.parts:
        refuse_other_address(params)
    return _state_of_whole(local) if found.whole else _state_of_parts(found, local)


def _state_of_whole(local: LocalControlPlane) -> str:
    """Return what a host is that has all of a control plane, by its API and its mark."""
    mark, params = unfinished.read(), local.params
    api = readiness(local.kubectl)
    if mark is not None and mark.what == "join" and api.answer in (NOT_YET, DOES_NOT):
        # The cluster it was joining knows more: etcd, whether it votes.
        return "down"
    if api.answer == NOT_YET and flaws(params["api_endpoint"]):
        raise KubeadmError(local.why_silent(api))
    if api.answer == NOT_YET or (api.answer == DOES_NOT and mark is not None and not local.changes.module.check_mode):
        # One that was just begun takes a while to listen at all.
        api = watch(lambda: readiness(local.kubectl), params["timeout"], hopeless=local.does_not_start)
    if api.answer in (COULD_NOT_LOOK, NOT_YET):
        raise KubeadmError(local.why_silent(api, after=params["timeout"] if api.answer == NOT_YET else 0))
    if api.answer == HOLDS:
        return "running" if mark is None else "unfinished"
    if mark is not None and not traces.lived() and _proved(local):
        return "half"
    return "down"


def _state_of_parts(found: traces.Traces, local: LocalControlPlane) -> str:
    """Return `half` when it is proved that a cut init or join left these files; else raise what they are."""
    mark = unfinished.read()
    if mark is not None and not (mark.what == "init" and traces.lived()) and _proved(local):
        return "half"
    if found.parts and found.certificates and (traces.lived() or readiness(local.kubectl).answer == HOLDS):
        raise KubeadmError(
            "\n  ".join(
                [
                    "This host is a control plane of which something is missing:",
                    *flaws(local.params["api_endpoint"]),
                    "Nothing was touched.",
                ]
            )
        )
    raise LeftAloneError(traces.why_left_alone(found, traces.ours(local.params).why, local.params))


def _proved(local: LocalControlPlane) -> bool:
    proof = traces.ours(local.params)
    if not proof.decided():
        raise LeftAloneError(traces.why_left_alone(traces.look(), proof.why, local.params))
    return True


def settle(look: Callable[[], str], changes: Changes, params: dict[str, Any]) -> str:
    """Return what a look says; what it leaves alone is moved aside when the person has named that very thing.

    Raises:
        KubeadmError: with words, when it stays.
    """
    try:
        return look()
    except LeftAloneError:
        if not params["move_aside"] or params["move_aside"] != traces.identity():
            raise
    changes.act(
        "what an earlier cluster left",
        lambda: traces.move_aside(params),
        before=traces.look().describe() + "\n",
        after=f"moved to /{traces.ASIDE}\n",
    )
    return "absent"


def is_complete(kubectl: Kubectl) -> Judgement:
    """Tell whether the last things `kubeadm init` makes are there.

    Not kube-proxy and CoreDNS themselves, which people may replace, but what stays when they do.
    """
    marks = ("configmap/kubeadm-config", "service/kube-dns", "clusterrolebinding/kubeadm:node-proxier")
    try:
        found = kubectl.run("--namespace=kube-system", "get", *marks, "--ignore-not-found", "-o", "name").split()
    except KubectlError as error:
        return Judgement(COULD_NOT_LOOK, f"The API does not say whether the cluster is whole: {error}")
    missing = [mark for mark in marks if not any(mark.partition("/")[2] == one.partition("/")[2] for one in found)]
    return Judgement(DOES_NOT, f"missing: {', '.join(missing)}") if missing else Judgement(HOLDS)


def stranger(nodes: list[dict[str, Any]], name: str, address: str) -> str:
    """Return why a host of this name and address is not the Node of the cluster it seems to be; empty when it may be.

    Args:
        nodes: Node objects, all, or only the one of that name.
        name: Name of the node the host is to be.
        address: Address of the host inside the cluster.
    """
    for node in nodes:
        there, known = node["metadata"]["name"], address_of(node)
        if there == name and known and known != address:
            return (
                f"The cluster has a node named {name} at {known}, and this host is at {address}. If they are two "
                "hosts, give this one another hostname (a copy of a host keeps its name). If this host got another "
                f"address, give it {known} again. If {known} is gone for good: "
                f"`kubectl delete node {name}`, and run again."
            )
        if there != name and known == address:
            return (
                f"The cluster has a node at {address} under the name {there}, and this host is called {name}. Give the "
                f"host its name again. If {there} is gone for good: `kubectl delete node {there}`, and run again."
            )
    return ""
