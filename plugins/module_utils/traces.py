"""What the life of a node leaves on a host: look at it, prove whose it is, remove it, move it aside.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import credentials, kubeadm, unfinished
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text, write_atomically
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import DOES_NOT, HOLDS, Judgement
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import CONTROL_PLANE_PARTS, KubeadmError

ROOT = Path("/")
KUBERNETES = "etc/kubernetes"
MANIFESTS = f"{KUBERNETES}/manifests"
PKI = f"{KUBERNETES}/pki"
CONFIGURATIONS = (
    "admin.conf",
    "super-admin.conf",
    "kubelet.conf",
    "bootstrap-kubelet.conf",
    "controller-manager.conf",
    "scheduler.conf",
)
KUBELET = "var/lib/kubelet"
ETCD = "var/lib/etcd"
ETCD_DATA = f"{ETCD}/member"
ASIDE = "var/lib/kubestrap/aside"
# The kubelet and kubeadm point kubelet.conf at the rotating certificate only after an API server has answered.
ROTATED = "kubelet-client-current.pem"
# The network of pods as flannel and the plugins it uses leave it: its links, what it wrote down, and leases of its
# network, cbr0. Other programs keep their leases beside those.
POD_LINKS = ("cni0", "flannel.1", "flannel-v6.1")
POD_NETWORK = ("run/flannel", "var/lib/cni/flannel", "var/lib/cni/networks/cbr0")
LEASES = "var/lib/cni"
FLANNEL_CONFIGURATION = "etc/cni/net.d/10-flannel.conflist"
SECONDS = 300


def at(path: str) -> Path:
    """Return a path of the host."""
    return ROOT / path.lstrip("/")


@dataclass(frozen=True)
class Traces:
    """What there is of a node on this host.

    Attributes:
        parts: Parts of a control plane whose manifests are here.
        configurations: The kubeconfig files that kubeadm makes and that are here.
        data: Whether there is data of etcd.
        certificates: Whether there are certificates that a CA has signed: those of a whole control plane.
        authority: Text of the CA's certificate, empty when there is none.
        external: Whether the API server keeps its data in an etcd elsewhere.
    """

    parts: tuple[str, ...] = ()
    configurations: tuple[str, ...] = ()
    data: bool = False
    certificates: bool = False
    authority: str = ""
    external: bool = False

    @property
    def bare(self) -> bool:
        """Whether there is nothing, or only a CA, which people may bring (kubeadm calls it custom certificates)."""
        return not (self.parts or self.configurations or self.data or self.certificates)

    @property
    def only_a_worker(self) -> bool:
        """Whether the host is a node, and nothing of a control plane is on it."""
        return "kubelet.conf" in self.configurations and not (
            self.parts or self.data or self.certificates or "admin.conf" in self.configurations
        )

    @property
    def missing_parts(self) -> list[str]:
        """The manifests of a control plane that are not here."""
        return [
            f"{part}.yaml"
            for part in CONTROL_PLANE_PARTS
            if part not in self.parts and not (part == "etcd" and self.external)
        ]

    @property
    def whole(self) -> bool:
        """Whether there is what makes a control plane run and lets us ask it."""
        return not self.missing_parts and "admin.conf" in self.configurations

    def describe(self) -> str:
        """Return in words what there is."""
        words = [f"data of etcd (/{ETCD_DATA})"] if self.data else []
        words += [f"certificates (/{PKI})"] if self.certificates else []
        words += [f"{name} (/{KUBERNETES})" for name in self.configurations]
        words += [f"{name}.yaml (/{MANIFESTS})" for name in self.parts]
        return ", ".join(words) or f"a CA (/{PKI})"


def look() -> Traces:
    """Look at what there is of a node on this host."""
    pki = at(PKI)
    etcd = re.search(r"--etcd-servers=(\S+)", read_text(str(at(f"{MANIFESTS}/kube-apiserver.yaml"))) or "")
    return Traces(
        parts=tuple(part for part in CONTROL_PLANE_PARTS if at(f"{MANIFESTS}/{part}.yaml").exists()),
        configurations=tuple(name for name in CONFIGURATIONS if at(f"{KUBERNETES}/{name}").exists()),
        data=at(ETCD_DATA).exists(),
        certificates=any(not path.name.endswith("ca.crt") for path in [*pki.glob("*.crt"), *pki.glob("etcd/*.crt")]),
        authority=read_text(str(pki / "ca.crt")) or "",
        external=etcd is not None and "://127.0.0.1:" not in etcd[1],
    )


def authorities() -> dict[str, set[str]]:
    """Return, by the file that names it, the fingerprints of the CA of the cluster this host belongs to."""
    texts = {f"/{PKI}/ca.crt": read_text(str(at(f"{PKI}/ca.crt"))) or ""}
    for name in ("kubelet.conf", "admin.conf"):
        path = f"{KUBERNETES}/{name}"
        found = re.search(r"certificate-authority-data:\s*(\S+)", read_text(str(at(path))) or "")
        texts[f"/{path}"] = _decoded(found[1]) if found else ""
    return {path: fingerprints(text) for path, text in texts.items() if fingerprints(text)}


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode(errors="replace")
    except ValueError:
        return ""


def fingerprints(text: str) -> set[str]:
    """Return the SHA-256 of each certificate of a text in PEM."""
    blocks = re.findall(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    return {hashlib.sha256(_der(block)).hexdigest() for block in blocks}


def _der(block: str) -> bytes:
    try:
        return ssl.PEM_cert_to_DER_cert(block)
    except ValueError:
        # Cut off, or not Base64: it is no cluster's.
        return block.encode(errors="replace")


def of_another_cluster(known: set[str]) -> str:
    """Return the file that names another CA than the cluster's, empty when there is none.

    Args:
        known: Fingerprints of the cluster's CA; none means that nobody knows them.
    """
    if not known:
        return ""
    return next((path for path, found in sorted(authorities().items()) if not found & known), "")


def lived() -> bool:
    """Tell whether an API server has worked with this host: there is a kubelet's own certificate, or pods of the API.

    Pods of the API have a UUID, those of manifests a digest without hyphens.
    """
    if ROTATED in (read_text(str(at(f"{KUBERNETES}/kubelet.conf"))) or ""):
        return True
    return any("-" in path.name for path in at(f"{KUBELET}/pods").glob("*"))


def mark(what: str, params: dict[str, Any]) -> None:
    """Write the mark of something that is about to begin; what is here already is the person's."""
    before, since = unfinished.read(), 0
    if what == "reset" and before is not None:
        kept: tuple[str, ...] = before.kept
        since = unfinished.written()
    else:
        files = [path for path in at(PKI).rglob("*") if path.is_file()]
        files += [path for path in at(MANIFESTS).glob("*") if path.stem not in CONTROL_PLANE_PARTS]
        kept = tuple(sorted(map(str, files)))
    unfinished.write(unfinished.Mark(what, node=params["node_name"], address=params["node_address"], kept=kept,
                                     since=since))  # fmt: skip


def ours(params: dict[str, Any]) -> Judgement:
    """Tell whether all that is here was made by an init or join of ours that was cut: then it may be thrown away.

    Without the mark nothing is proved. What is older than the mark was not made by what the mark speaks of; nor is data
    of etcd whose manifest is not here.
    """
    found = unfinished.read()
    if found is None:
        return Judgement(DOES_NOT, "no mark says that an unfinished run of kubestrap left it")
    if (found.node, found.address) != (params["node_name"], params["node_address"]):
        return Judgement(
            DOES_NOT,
            f"the mark of the unfinished {found.what} speaks of {found.node} at {found.address}, and this is "
            f"{params['node_name']} at {params['node_address']}",
        )
    data = [path for path in at(ETCD_DATA).rglob("*") if path.is_file()]
    made = [path for path in at(PKI).rglob("*") if path.is_file() and str(path) not in found.kept]
    made += [at(f"{KUBERNETES}/{name}") for name in CONFIGURATIONS]
    made += [at(f"{MANIFESTS}/{part}.yaml") for part in CONTROL_PLANE_PARTS]
    since = unfinished.written()
    older = next((path for path in [*data, *made] if path.exists() and path.stat().st_mtime_ns < since), None)
    if older is not None:
        return Judgement(
            DOES_NOT,
            f"{older} is older than the mark of the unfinished {found.what}, so it is of something else (or the "
            "clock was set back in between)",
        )
    # A reset removes the manifests first.
    if found.what != "reset" and data and not at(f"{MANIFESTS}/etcd.yaml").exists():
        return Judgement(DOES_NOT, f"/{ETCD_DATA} is not explained by the unfinished {found.what}: no etcd.yaml")
    return Judgement(HOLDS, f"the mark of an unfinished {found.what}")


def reset(params: dict[str, Any]) -> None:
    """Remove what an unfinished run left, all of it, from this host; nothing is said to any cluster.

    The caller has proved that it is ours. What the person had here before stays.

    Raises:
        KubeadmError: when something stays behind.
    """
    found = unfinished.read()
    kept = set(found.kept) if found else set()
    mark("reset", params)
    # kubeadm empties these directories; what comes next needs these files.
    manifests = [path for path in kept if Path(path).parent == at(MANIFESTS)]
    texts = {path: read_text(path) for path in [credentials.KUBELET, *manifests]}
    # With it kubeadm would ask the cluster first.
    at(f"{KUBERNETES}/admin.conf").unlink(missing_ok=True)
    # Not its certificates, among which may be a CA of the person's, and not its member of etcd: on a clone it would
    # remove that of the original.
    _kubeadm_reset(params["cri_socket"], "--skip-phases=remove-etcd-member", "--cert-dir=/run/kubestrap-none")
    for path, text in texts.items():
        if text is not None:
            write_atomically(path, text, mode=0o600)
    for one in at(PKI).rglob("*"):
        if one.is_file() and str(one) not in kept:
            one.unlink()
    if at(ETCD_DATA).exists():
        shutil.rmtree(at(ETCD_DATA))
    clear_pod_network()
    at(FLANNEL_CONFIGURATION).unlink(missing_ok=True)
    left = look()
    if not left.bare:
        raise KubeadmError(f"An earlier run did not finish, and what it left could not be removed: {left.describe()}.")


def _kubeadm_reset(cri_socket: str, *options: str) -> None:
    done = kubeadm.run("kubeadm", "reset", "--force", "--cri-socket", cri_socket, *options, timeout=SECONDS)
    if done.returncode != 0:
        raise KubeadmError(
            "An earlier kubeadm run did not finish, and what it left could not be removed:\n"
            + kubeadm.in_short(done.stderr, 5)
        )


def stale_pod_network() -> bool:
    """Tell whether a network of pods is left on a host that is no node: an address of old would stay on cni0."""
    ports = at("sys/class/net/cni0/brif")
    left = any(at(path).exists() for path in POD_NETWORK) or any(
        at(f"sys/class/net/{one}").exists() for one in POD_LINKS
    )
    return left and not (ports.is_dir() and any(ports.iterdir()))


def clear_pod_network() -> None:
    """Remove the network of pods: links with their addresses, leases, and what flannel wrote down."""
    for link in POD_LINKS:
        if at(f"sys/class/net/{link}").exists():
            kubeadm.run("ip", "link", "delete", link, timeout=30)
    for path in POD_NETWORK:
        shutil.rmtree(at(path), ignore_errors=True)
    for one in at(LEASES).rglob("cbr0-*"):
        one.unlink()
    for directory in sorted([at(LEASES), *at(LEASES).rglob("*")], reverse=True):
        if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
            directory.rmdir()


def identity() -> str:
    """Return a short name of what is here, by which a person says that this, and nothing else, may be moved aside."""
    data = at(ETCD_DATA)
    parts = [*(f"{path}={sorted(found)}" for path, found in sorted(authorities().items()))]
    parts += [str(data.stat().st_ino)] if data.exists() else []
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def move_aside(params: dict[str, Any]) -> str:
    """Stop what runs of it and move all that is here into a directory with the date in its name, which is returned.

    Raises:
        KubeadmError: when that is not possible; then nothing was deleted.
    """
    aside = at(ASIDE) / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    _stop_pods(params["cri_socket"])
    kubelet = at(KUBELET)
    for mounted in sorted(_mounts_below(kubelet), key=len, reverse=True):
        kubeadm.run("umount", mounted, timeout=60)
    left = _mounts_below(kubelet)
    if left:
        raise KubeadmError(
            f"What is here cannot be moved aside: {', '.join(left[:3])} is still mounted. Nothing was removed."
        )
    logins = read_text(credentials.KUBELET)
    # It holds keys.
    aside.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in [MANIFESTS, PKI, *(f"{KUBERNETES}/{name}" for name in CONFIGURATIONS), ETCD_DATA, KUBELET]:
        if at(path).exists():
            _move(at(path), aside / path)
    for path, mode in ((MANIFESTS, 0o755), (KUBELET, 0o750)):
        at(path).mkdir(mode=mode, exist_ok=True)
    os.sync()
    unfinished.remove()
    try:
        # Nothing but containers is left for it.
        _kubeadm_reset(params["cri_socket"], "--skip-phases=remove-etcd-member", "--cert-dir=/run/kubestrap-none")
    finally:
        # It empties the directory of the kubelet, and what comes next pulls with them.
        if logins is not None:
            write_atomically(credentials.KUBELET, logins, mode=0o600)
    clear_pod_network()
    return str(aside)


def _stop_pods(cri_socket: str) -> None:
    """Stop the kubelet and every container; raise an error when one may still run."""
    kubeadm.run("systemctl", "stop", "kubelet", timeout=SECONDS)
    crictl = ("crictl", "--runtime-endpoint", cri_socket)
    try:
        # Docker goes on with the containers of a pod that is stopped.
        for listed, stop in (("ps", "stop"), ("pods", "stopp")):
            running = kubeadm.run(*crictl, listed, "--quiet", timeout=60).stdout.split()
            if running:
                kubeadm.run(*crictl, stop, *running, timeout=SECONDS)
        # What writes while it is moved is not kept; a runtime that does not answer has not said that nothing runs.
        after = kubeadm.run(*crictl, "ps", "--quiet", timeout=60)
        trouble = after.stdout.strip() if after.returncode == 0 else kubeadm.in_short(after.stderr, 2) or "no answer"
    except (FileNotFoundError, KubeadmError) as error:
        trouble = str(error)
    if kubeadm.run("systemctl", "is-active", "kubelet", timeout=30).stdout.strip() in ("active", "activating"):
        trouble = "the kubelet, which starts them, does not stop"
    if trouble:
        raise KubeadmError(
            f"What is here cannot be moved aside while pods run, and they cannot be stopped: {trouble}. Nothing was "
            "moved."
        )


def _mounts_below(directory: Path) -> list[str]:
    lines = (read_text("/proc/mounts") or "").splitlines()
    return [line.split()[1] for line in lines if line.split()[1].startswith(f"{directory}/")]


def _move(path: Path, to: Path) -> None:
    to.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_dir() and path.is_mount():
        # A disk of its own stays where it is, and gives away what is on it.
        to.mkdir(mode=0o700)
        for one in path.iterdir():
            shutil.move(str(one), str(to / one.name))
        return
    shutil.move(str(path), str(to))


def why_left_alone(found: Traces, reason: str, params: dict[str, Optional[str]]) -> str:
    """Return, for people, what is here, why it is not touched, and what they can do."""
    lacks = [
        *found.missing_parts,
        *(name for name in ("admin.conf", "kubelet.conf") if name not in found.configurations),
    ]
    return (
        f"This host holds {found.describe()}, but not all of a node that works"
        + (f" (missing: {', '.join(lacks)})" if found.parts or found.certificates or found.data else "")
        + f". It is left alone, because {reason}. Put back what is missing, and run again. If nobody needs what is "
        f"here: set cluster_move_aside of this host ({params['node_name']}) to {identity()}, and the next run moves it "
        f"to /{ASIDE}/ and goes on without it. Nothing is deleted."
    )
