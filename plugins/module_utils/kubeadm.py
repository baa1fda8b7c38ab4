"""kubeadm on a host: run it, write its configuration, say in words why it failed.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import credentials, proxy, versions
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import reference
from ansible_collections.kubestrap.cluster.plugins.module_utils.patience import HINT
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import ended, last_lines
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

KUBERNETES = "/etc/kubernetes"
KUBELET_CONF = f"{KUBERNETES}/kubelet.conf"
PATCHES = f"{KUBERNETES}/kubestrap/patches"
CONTROL_PLANE_PARTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTROL_PLANE_ROLE = "node-role.kubernetes.io/control-plane"
RUN_DIRECTORY = "/run"
# kubeadm's own waits end before that.
OTHER_RUN_SECONDS = 600
# With the largest patience, kubeadm's own limits end later; a program that took so long hangs.
LONGEST_SECONDS = 7200
EXEC_GATE = "ExtendWebSocketsToKubelet"
# How kubeadm's last word begins; what comes before is progress.
KUBEADM_ERROR = r"(?:error: |error execution phase|Unfortunately, an error has occurred|failed to |unable to )"
MOST_ERROR_LINES = 12
# A bootstrap token, and the key of certificates that wait in the cluster.
SECRETS = r"\b(?:[a-z0-9]{6}\.[a-z0-9]{16}|(?<!sha256:)[0-9a-f]{64})\b"
TIMED_OUT = r"timed out|deadline exceeded|not healthy after|i/o timeout|context deadline|waiting for the condition"
# Seconds kubeadm waits for each of these. Its own: 4 minutes for what it starts, 1 for the first call of the API, which
# a slow machine needs longer for; a machine that fails fails as well after more.
TIME_LIMITS = {
    "controlPlaneComponentHealthCheck": 240,
    "kubeletHealthCheck": 240,
    "kubernetesAPICall": 240,
    "etcdAPICall": 120,
    "discovery": 300,
    "tlsBootstrap": 300,
}

# What the kubelet, kubeadm and the runtime write, and what it means. The first that fits is told.
CAUSES = (
    (
        r"/v2/.*http: server gave HTTP response to HTTPS client",
        "The image registry speaks HTTP, not HTTPS: give it a certificate.",
    ),
    (
        r"tls: failed to verify certificate.*unknown authority.*/v2/|/v2/.*certificate signed by unknown authority",
        "This host does not know the CA of the image registry: put it into cluster_registry_ca_certificates.",
    ),
    (
        r"no basic auth credentials|401 Unauthorized|unauthorized: authentication required|pull access denied",
        "The image registry demands a login, or another one: put it into cluster_registry_credentials.",
    ),
    (
        r"failed to pull (?:and unpack )?image \S*|failed to pull image",
        "An image could not be pulled: does this host reach cluster_image_registry, and is the image there?",
    ),
    (r"\[ERROR NumCPU\]", "A control plane needs at least 2 CPUs."),
    (r"\[ERROR Mem\]", "A control plane needs at least 1700 MB of memory."),
    (
        r"\[ERROR Port-(\d+)\]",
        r"Port \1 is taken by another program: `ss -ltnp sport = :\1` names it. Stop it, or use another host.",
    ),
    (
        r"Found multiple CRI endpoints",
        "Several container runtimes were found and none was chosen.",
    ),
    (
        r"unknown service runtime\.v1\.RuntimeService",
        "The container runtime does not offer its Kubernetes interface (CRI): it is switched off or too old.",
    ),
    (
        r"client version \S+ is too new|client version \S+ is too old",
        "cri-dockerd and Docker Engine do not speak the same API version: Docker 25 or newer is needed.",
    ),
    *(
        (
            rf"dial unix \S*{re.escape(runtime.socket_file)}: connect: (?:no such file|connection refused)",
            f"The container runtime does not answer on its socket: `systemctl status {runtime.units}` says why.",
        )
        for runtime in RUNTIMES.values()
    ),
    (
        r"cgroups v1 support is deprecated|FailCgroupV1|failCgroupV1",
        "The kubelet refuses cgroup v1: boot the host with cgroup v2.",
    ),
    (
        r"running with swap on is not supported",
        "The kubelet refuses to run with swap: swapoff -a, and take swap out of /etc/fstab.",
    ),
    (
        r"kubelet cgroup driver: \S+ is different from docker cgroup driver|cgroup driver.*mismatch",
        "The container runtime and the kubelet use different cgroup drivers: both must use systemd.",
    ),
    (
        r"unknown flag: (--[\w-]+)",
        r"The kubelet was given \1, a flag it no longer knows: take it out of /etc/default/kubelet.",
    ),
    (
        r"ip_forward contents are not set to 1",
        "IPv4 forwarding is off: sysctl net.ipv4.ip_forward=1, and keep it so in /etc/sysctl.d.",
    ),
    (
        r"certificate has expired or is not yet valid",
        "This host's clock differs from the control plane's: synchronise both (chrony).",
    ),
    (
        r"could not find a JWS signature in the cluster-info ConfigMap",
        "The control plane does not know this run's token any more: run again.",
    ),
    (
        r"none of the public keys \"?sha256:\S+ are pinned",
        "What answers at the API endpoint is not our control plane (another CA): check cluster_api_endpoint.",
    ),
    (
        r"a Node with name \"?([\w.-]+)\"? and status \"?Ready",
        r"A node named \1 is in the cluster already: give this host another hostname.",
    ),
    (
        r"no space left on device",
        "The disk is full.",
    ),
    (
        r"(?:dial tcp|Get \"https://).{0,90}(?:connection refused|no route to host|i/o timeout|deadline exceeded)",
        "The Kubernetes API does not answer: a firewall, a wrong cluster_api_endpoint, or it does not start.",
    ),
)


class KubeadmError(Exception):
    """kubeadm failed. The text is for people: the cause in words, then the evidence.

    Attributes:
        said: Everything kubeadm said, for the log of the run.
    """

    def __init__(self, text: str, *, said: str = "") -> None:
        """Take the text for people, and what kubeadm said."""
        super().__init__(text)
        self.said = said


@contextlib.contextmanager
def alone(timeout: int, program: Optional[str] = None) -> Iterator[None]:
    """Do something while no other run works with kubeadm on this host.

    A run that was interrupted on the operator's machine goes on here to the end of its step. What it is about to finish
    must not be taken for something half-finished, so the next run waits for it.

    Args:
        timeout: Seconds to wait for another run.
        program: Path of kubeadm. Its lock says so, and a running kubeadm inherits that: no file of ours is left.

    Raises:
        KubeadmError: when the other run does not end.
    """
    program = program or shutil.which("kubeadm")
    if program is None:
        yield
        return
    handle = os.open(program, os.O_RDONLY)
    os.set_inheritable(handle, True)  # noqa: FBT003 - the function has no keyword
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise KubeadmError(
                        f"An earlier run still works with kubeadm on this host after {timeout} s. Look at it with "
                        "`ps -C kubeadm -f` there, then run again."
                    ) from None
                time.sleep(0.5)
        yield
    finally:
        os.close(handle)


def run(
    *command: str, timeout: int = LONGEST_SECONDS, environment: Optional[dict[str, str]] = None
) -> subprocess.CompletedProcess[str]:
    """Run a program, with more in its environment if need be, and return how it ended.

    Raises:
        KubeadmError: when it does not end within so many seconds.
    """
    try:
        return ended(
            command,
            seconds=timeout,
            # Python's own files are not inherited anyway; the lock of `alone` is to be.
            close_fds=False,
            # kubeadm hands every proxy it sees to the control plane and kube-proxy, for ever, password and all. They
            # talk to the cluster only; so do the other programs.
            environment={**proxy.without(dict(os.environ)), **(environment or {})},
        )
    except subprocess.TimeoutExpired:
        raise KubeadmError(f"{' '.join(command[:2])} did not end within {timeout} s on this host.") from None


def version() -> Optional[tuple[int, int, int]]:
    """Return the version of the kubeadm on this host, None when there is none."""
    try:
        found = re.match(r"v(\d+)\.(\d+)\.(\d+)", run("kubeadm", "version", "-o", "short").stdout)
    except FileNotFoundError:
        return None
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def default_name() -> str:
    """Return the name kubeadm gives a node: the hostname, in lower case."""
    return socket.gethostname().lower()


def needs_exec_gate(minor: int, runtime: str) -> bool:
    """Tell whether `kubectl exec` only works with the feature gate off."""
    return RUNTIMES[runtime].bare_address and versions.row(minor).guesses_https


def kubelet_patch(params: dict[str, Any], release: Optional[tuple[int, int, int]]) -> dict[str, Any]:
    """Return what the kubelet of this host needs that others may not.

    Args:
        params: Those of the module; init and join call them by the same names.
        release: Version of kubeadm on this host, None when there is none yet.
    """
    patch: dict[str, Any] = {"resolvConf": params["resolver"]}
    if release is not None and needs_exec_gate(release[1], params["container_runtime"]):
        patch["featureGates"] = {EXEC_GATE: False}
    if params["cgroup_version"] == 1:
        patch["failCgroupV1"] = False
    if params["swap_stays_on"]:
        patch["failSwapOn"] = False
    return patch


def node_registration(*, name: str, address: str, cri_socket: str, cgroup_version: int) -> dict[str, Any]:
    """Return the part of a configuration that says how this host becomes a node."""
    registration: dict[str, Any] = {
        "name": name,
        "criSocket": cri_socket,
        # kubeadm has no login for a registry; kubelet has, and pulls what is missing.
        "imagePullPolicy": "Never" if credentials.logins() else "IfNotPresent",
        "imagePullSerial": False,
        "kubeletExtraArgs": [{"name": "node-ip", "value": address}],
    }
    if cgroup_version == 1:
        # The check has no finer switch; on cgroup v1 it fails for that alone.
        registration["ignorePreflightErrors"] = ["SystemVerification"]
    return registration


def time_limits(patience: float) -> dict[str, str]:
    """Return the C(timeouts) of a configuration.

    Args:
        patience: How many times the usual length.
    """
    return {name: f"{round(seconds * max(patience, 1))}s" for name, seconds in TIME_LIMITS.items()}


def most_seconds(patience: float) -> int:
    """Return after how many seconds a kubeadm with those limits has not kept them: it hangs."""
    return round(2 * sum(TIME_LIMITS.values()) * max(patience, 1))


def as_documents(documents: list[dict[str, Any]]) -> str:
    """Return documents in the form kubeadm reads: YAML, of which JSON is a part."""
    return "---\n".join(json.dumps(document, indent=2, sort_keys=True) + "\n" for document in documents)


class SecretFile:
    """A file only root can read, on a file system that forgets, gone at the end of the `with` block."""

    def __init__(self, content: str) -> None:
        """Keep the content for the file."""
        self.content = content
        self.path = ""

    def __enter__(self) -> str:
        """Write the file and return its path."""
        handle, self.path = tempfile.mkstemp(prefix="kubestrap-", suffix=".yaml", dir=RUN_DIRECTORY)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(self.content)
        return self.path

    def __exit__(self, *_: object) -> None:
        """Remove the file."""
        Path(self.path).unlink()


def validate(path: str) -> None:
    """Let kubeadm check a configuration file.

    Raises:
        KubeadmError: with what is wrong in it.
    """
    done = run("kubeadm", "config", "validate", "--config", path, timeout=OTHER_RUN_SECONDS)
    if done.returncode != 0:
        raise KubeadmError(f"kubeadm does not accept its configuration: {in_short(done.stderr, 3)}")


def pull_images(configuration: str, cri_socket: str) -> None:
    """Pull the images of a configuration from registries that demand a login, which kubeadm has none to give.

    Raises:
        KubeadmError: when one cannot be had.
    """
    logins = credentials.logins()
    if logins:
        listed = run("kubeadm", "config", "images", "list", "--config", configuration).stdout.split()
        pull([image for image in listed if reference(image).registry in logins], cri_socket)


def pull(images: list[str], cri_socket: str) -> None:
    """Pull images with the logins of this host, those that are missing.

    Raises:
        KubeadmError: when one cannot be had.
    """
    logins = credentials.logins()

    def one(image: str) -> str:
        if has_image(image, cri_socket):
            return ""
        login = logins.get(reference(image).registry, "")
        done = run(*_crictl(cri_socket), "pull", image, environment={"CRICTL_CREDS": login})
        return f"{image}: {in_short(done.stderr, 1)}" if done.returncode != 0 else ""

    with concurrent.futures.ThreadPoolExecutor() as pool:
        failed = [text for text in pool.map(one, images) if text]
    if failed:
        cause = explain("\n".join(failed))
        raise KubeadmError("\n  ".join([f"Images could not be pulled. {cause}".rstrip(), *failed]))


def has_image(image: str, cri_socket: str) -> bool:
    """Tell whether this host has an image; it has none where crictl is missing."""
    try:
        return run(*_crictl(cri_socket), "inspecti", "--quiet", image).returncode == 0
    except FileNotFoundError:
        return False


def _crictl(cri_socket: str) -> tuple[str, ...]:
    return ("crictl", "--runtime-endpoint", cri_socket, "--image-endpoint", cri_socket)


def explain(*texts: str) -> str:
    """Return the cause, in words, that some output of kubeadm or the kubelet speaks of; empty when it is unknown."""
    for text in texts:
        for pattern, meaning in CAUSES:
            found = re.search(pattern, text)
            if found:
                return found.expand(meaning) if "\\" in meaning else meaning
    return ""


def failure(what: str, done: subprocess.CompletedProcess[str], cri_socket: str) -> KubeadmError:
    """Return why kubeadm failed: the cause in words, kubeadm's own error whole, then what else shows it."""
    said = re.sub(SECRETS, "(token)", without_colours(f"{done.stdout}\n{done.stderr}".strip()))
    if done.returncode < 0:
        return KubeadmError(
            f"{what} was killed (signal {-done.returncode}) before it was done. Run again: what it left is cleaned up.",
            said=said,
        )
    error = own_error(done)
    preflight = [line for line in error if "[ERROR " in line]
    kubelet = "" if preflight else kubelet_error()
    containers = [] if preflight else crashed(cri_socket)
    cause = explain("\n".join(preflight), kubelet, "\n".join(containers), "\n".join(error), said)
    if not cause and containers:
        cause = "A part of the control plane does not stay up."
    if any(re.search(TIMED_OUT, line) for line in error):
        cause = f"{cause} {HINT}".strip()
    evidence = [*error, *([f"kubelet: {kubelet}"] if kubelet else []), *containers]
    return KubeadmError("\n".join([f"{what} failed. {cause}".rstrip(), *("  " + line for line in evidence)]), said=said)


def own_error(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Return the lines in which kubeadm says why it failed.

    Its progress goes to standard output, its warnings and its error to standard error; what explains a time-out at
    length ("Unfortunately, an error has occurred") may stand in either.
    """
    for text in (done.stderr, done.stdout):
        lines = [line.strip() for line in without_colours(text).splitlines()]
        lines = [line for line in lines if line and not re.match(r"[IWE]\d{4} |\[WARNING", line)]
        lines = [line for line in lines if "--v=5" not in line and "--ignore-preflight-errors" not in line]
        errors = [line for line in lines if "[ERROR " in line]
        if errors:
            return errors
        begins = next((n for n, line in enumerate(lines) if re.match(KUBEADM_ERROR, line)), None)
        if begins is not None:
            return lines[begins:][:MOST_ERROR_LINES]
    return [in_short(without_colours(done.stderr.strip() or done.stdout), 3)]


def without_colours(text: str) -> str:
    """Return a text without the escape sequences that colour a terminal, which mean nothing in a message."""
    return re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)


def kubelet_error() -> str:
    """Return the first error in the kubelet's log since it was last started, empty when there is none."""
    try:
        log = run("journalctl", "-u", "kubelet", "-n", "300", "-o", "cat", "--no-pager", timeout=30).stdout
    except (FileNotFoundError, KubeadmError):
        return ""
    # A restarting kubelet says the same again and again: the last life tells it all.
    last = log.rsplit("Started kubelet.service", 1)[-1] if log.count("Started kubelet.service") == 1 else log
    fatal = [line for line in last.splitlines() if "command failed" in line or "Failed to run kubelet" in line]
    errors = fatal or [line for line in last.splitlines() if re.match(r"E\d{4} ", line)]
    if not errors:
        return ""
    return re.sub(r"^[EF]\d{4} \S+\s+\d+ ", "", errors[-1 if fatal else 0])[:600]


def crashed(cri_socket: str) -> list[str]:
    """Return, for each part of the control plane that ended, its name and last log lines."""
    crictl = ("crictl", "--runtime-endpoint", cri_socket)
    try:
        listed = run(*crictl, "ps", "--all", "--output", "json", timeout=20)
        containers = json.loads(listed.stdout or "{}").get("containers") or []
    except (FileNotFoundError, ValueError, KubeadmError):
        return []
    newest: dict[str, dict[str, Any]] = {}
    for container in containers:
        name = container.get("metadata", {}).get("name", "")
        if name in CONTROL_PLANE_PARTS and int(container["createdAt"]) > int(newest.get(name, {}).get("createdAt", 0)):
            newest[name] = container
    found = []
    for name, container in sorted(newest.items()):
        if container.get("state") == "CONTAINER_EXITED":
            try:
                log = run(*crictl, "logs", "--tail", "3", container["id"], timeout=20)
            except KubeadmError as error:
                found.append(f"{name} ended ({error})")
            else:
                found.append(f"{name} ended: {in_short(log.stderr + log.stdout, 2)}")
    return found


def in_short(text: str, count: int) -> str:
    """Return the last lines of a text on one line, without kubeadm's hint about stack traces."""
    lines = "\n".join(line.strip() for line in text.splitlines() if "--v=5" not in line)
    return last_lines(lines, count).replace("\n", " | ")
