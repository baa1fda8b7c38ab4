#!/usr/bin/python
"""Docker Engine and cri-dockerd as the container runtime of a host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_runtime
short_description: Docker Engine and cri-dockerd as the container runtime of a host
description:
  - Installs Docker Engine, merges settings into C(/etc/docker/daemon.json), puts registry CA certificates in place,
    installs cri-dockerd with its service and socket units, and sees to it that all of it runs.
  - Docker is restarted only when it runs with other settings than its file has, and only reloaded when that is enough.
  - Containers of other people that the restart of Docker stops are started again.
  - Refuses Docker older than 25, which no maintained cri-dockerd can talk to.
  - A O(proxy) is set for Docker, too. Without one, what an earlier run left of one is removed.
version_added: 0.1.0
author: kubestrap contributors
extends_documentation_fragment: kubestrap.cluster.proxy
options:
  packages:
    description:
      - Packages of Docker Engine by operating system (C(debian-13), or C(debian) for every other version of it).
      - The first one is the Engine itself.
    type: dict
    required: true
  conflicting_packages:
    description: Packages of the other family, which must not be installed.
    type: list
    elements: str
    default: []
  repository:
    description: Package repository to take them from. Without it, the distribution's own.
    type: dict
    suboptions:
      url:
        description: Address, where C({distribution}) is such as C(debian). The key is at C(gpg) below it.
        type: str
        required: true
      key_fingerprint:
        description: Fingerprint of the key that signs it.
        type: str
        required: true
  settings:
    description: Settings merged into C(/etc/docker/daemon.json), over what the file says.
    type: dict
    default: {}
  registry_ca_certificates:
    description: CA certificates (PEM) by C(host:port) of the registry.
    type: dict
    default: {}
  cri_dockerd_url:
    description: Archive (tgz) of cri-dockerd. C({arch}) is amd64 or arm64.
    type: str
    required: true
  cri_dockerd_sha256:
    description: SHA-256 of that archive by architecture.
    type: dict
    required: true
  pause_image:
    description: Image of the container that holds a pod's network.
    type: str
    required: true
  registry_mirrors:
    description: Addresses of mirrors of docker.io, tried before it. Docker has none for other registries.
    type: list
    elements: str
    default: []
  registry_credentials:
    description: Logins at image registries for the image of the container that holds a pod's network.
    type: list
    elements: dict
    default: []
    suboptions:
      registry: {description: "C(host:port) of the registry.", type: str, required: true}
      login:
        description: Who may pull there.
        type: dict
        required: true
        suboptions:
          username: {description: The user., type: str, required: true}
          password: {description: "The password. Only root can read the file it ends in.", type: str, required: true}
  cni_conf_dir:
    description: Where pod networks leave their configuration.
    type: path
    default: /etc/cni/net.d
  cni_bin_dir:
    description: Where the CNI plugins are.
    type: path
    default: /opt/cni/bin
attributes:
  check_mode:
    description: Looks and reports, on a host without Docker as well.
    support: full
  diff_mode:
    description: Files with their content, packages, units.
    support: full
"""

EXAMPLES = r"""
- name: Install Docker Engine and cri-dockerd
  kubestrap.cluster.docker_runtime:
    packages: {debian-13: [docker.io, docker-cli]}
    conflicting_packages: [docker-ce]
    cri_dockerd_url: https://github.com/Mirantis/cri-dockerd/releases/download/v0.4.3/cri-dockerd-0.4.3.{arch}.tgz
    cri_dockerd_sha256:
      amd64: c94c3d6de364a13375d8d7448e4c64f5cb12960fbb1cdd7ac708bece418e4dba
    pause_image: registry.k8s.io/pause:3.10.2
"""

RETURN = r"""
docker_version:
  description: Version of Docker Engine; in check mode on a host without it, the one that would be installed.
  returned: success
  type: str
socket:
  description: Address of the runtime for kubelet and kubeadm.
  returned: success
  type: str
"""

import hashlib
import io
import json
import re
import shutil
import tarfile
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import (
    confidential,
    credentials,
    living_cluster,
    registry_trust,
    systemd,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import (
    Changes,
    read_text,
    sha256_of,
    write_atomically,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError, architecture, fetch
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import look
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import Package, add
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import add_docker_repository
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute, last_lines, run
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ARGUMENT as PROXY_ARGUMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import ENVIRONMENT as PROXY_ENVIRONMENT
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy, drop_in
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.docker import DAEMON_JSON, LAST_ASKED

DOCKER = "docker.service"
CERTIFICATES = "/etc/docker/certs.d"
# cri-dockerd looks for config.json where it was started.
CRI_DOCKERD_LOGINS = Path("/etc/cri-dockerd/config.json")
UNITS = "/etc/systemd/system"
UNIT_FILES = [f"{UNITS}/cri-docker.service", f"{UNITS}/cri-docker.socket"]

SERVICE_UNIT = """\
[Unit]
Description=cri-dockerd, the link between Kubernetes and Docker Engine
Documentation=https://mirantis.github.io/cri-dockerd/
After=network-online.target docker.service
Wants=network-online.target docker.service
Requires=cri-docker.socket
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={binary} --container-runtime-endpoint=fd:// --network-plugin=cni \\
  --cni-conf-dir={cni_conf_dir} --cni-bin-dir={cni_bin_dir} --pod-infra-container-image={pause_image}
{place}ExecReload=/bin/kill -s HUP $MAINPID
Restart=always
RestartSec=2
LimitNOFILE=infinity
LimitNPROC=infinity
LimitCORE=infinity
TasksMax=infinity
Delegate=yes
KillMode=process

[Install]
WantedBy=multi-user.target
"""

SOCKET_UNIT = """\
[Unit]
Description=Socket on which kubelet reaches cri-dockerd
PartOf=cri-docker.service

[Socket]
ListenStream=/run/cri-dockerd.sock
SocketMode=0660
SocketUser=root

[Install]
WantedBy=sockets.target
"""


def extract_binary(archive: bytes, name: str) -> bytes:
    """Return the file of that name from a tgz, whatever directory it is in.

    Raises:
        DownloadError: The archive is none, or holds no such file.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for member in tar:
                if member.isfile() and Path(member.name).name == name:
                    stream = tar.extractfile(member)
                    assert stream is not None  # noqa: S101 - said by isfile()
                    return stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownloadError(f"is no tar archive ({error})") from error
    raise DownloadError(f"holds no file {name}")


class DockerRuntime:
    """One run of the module: files first, so that Docker's first start is with the right settings."""

    def __init__(self, module: AnsibleModule) -> None:
        """Read what is asked for and what units there are."""
        self.module = module
        self.asked = module.params
        self.changes = Changes(module)
        self.manager = systems.manager(module)
        self.units = systemd.show(module, [DOCKER, "cri-docker.socket", "cri-docker.service"])
        self.packages = choose(module, self.asked["packages"], purpose="packages of Docker")
        self.engine = self.packages[0]
        self.proxy = Proxy(self.asked["proxy"])
        self.settings = docker.asked_settings(self.asked["settings"], self.asked["registry_mirrors"])
        self.has_secrets = confidential.keep(module, self.settings)
        # Before anything changes.
        self.started = systemd.StartedWith(
            module, DOCKER, self.units[DOCKER], [DAEMON_JSON, PROXY_ENVIRONMENT, drop_in(DOCKER)]
        )
        self.started_cri = systemd.StartedWith(
            module, "cri-docker.service", self.units["cri-docker.service"], UNIT_FILES
        )

    def run(self) -> None:
        """Converge and end the module."""
        # Before anything else: without it nothing outside can be looked at.
        self.proxy.use()
        installed = self.manager.installed(self.module, [*self.packages, *self.asked["conflicting_packages"]])
        self._refuse_other_family(installed)
        # What people wrote is understood, or the host stays as it is.
        before, after = self._understood_settings(validate=self.engine in installed)
        self.manager.use_proxy(self.changes, self.proxy)
        missing = [name for name in self.packages if name not in installed]
        binary = self._cri_dockerd_binary()
        with ThreadPoolExecutor(max_workers=1) as pool:
            # It arrives while packages are looked up; whether it is the right one is known before the first change.
            in_place = is_in_place(binary)
            arriving = None if in_place or self.module.check_mode else pool.submit(self._download)
            version = self._docker_version(installed, missing)
            cri_dockerd = self._arrived(arriving)
        self._write_settings(before, after)
        authorities = {
            f"{CERTIFICATES}/{registry}/ca.crt": registry_trust.marked(certificate)
            for registry, certificate in self.asked["registry_ca_certificates"].items()
        }
        # Docker reads them at each pull.
        registry_trust.converge(self.changes, CERTIFICATES, authorities)
        proxy_changed = self.proxy.for_service(self.changes, DOCKER)
        add(self.manager, self.changes, missing)
        self._cri_dockerd(binary, cri_dockerd, in_place=in_place)
        self._services(before, after, proxy_changed=proxy_changed, replaced=not in_place)
        self.changes.exit(docker_version=version, socket=docker.SOCKET)

    def _refuse_other_family(self, installed: dict[str, Package]) -> None:
        conflicting = [name for name in self.asked["conflicting_packages"] if name in installed]
        if conflicting and self.engine not in installed:
            self.module.fail_json(
                msg=f"This host has {', '.join(conflicting)}, which excludes {self.engine}: Docker's own packages "
                "(docker-ce, containerd.io) and the distribution's (docker.io, containerd) cannot be installed "
                "side by side. "
                "Take the ones that are there (docker_source, cluster_docker_source: docker.com or distribution)."
            )

    def _docker_version(self, installed: dict[str, Package], missing: list[str]) -> str:
        if self.asked["repository"]:
            add_docker_repository(self.changes, self.asked["repository"], needed=bool(missing))
        if self.engine in installed:
            version: Optional[str] = installed[self.engine].version
        else:
            version = self.manager.available(self.module, self.engine)
        if version is None:
            # In check mode, before the host's first refresh.
            return ""
        if self.manager.upstream_version(version) < docker.OLDEST:
            state = "is installed" if self.engine in installed else "is what this distribution has"
            self.module.fail_json(
                msg=f"Docker {version} {state}, and cri-dockerd needs Docker {docker.OLDEST[0]} or newer (API 1.44). "
                "Two ways out: take Docker's own packages (docker_source, cluster_docker_source: docker.com), "
                "or containerd, which needs no Docker (cluster_container_runtime: containerd)."
            )
        return version

    def _understood_settings(self, *, validate: bool) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what daemon.json says and what it is to say; end the module when Docker would not start with it."""
        try:
            docker.check_shapes(self.settings)
        except docker.SettingsError as error:
            self.module.fail_json(msg=f"docker_settings (cluster_docker_settings) {error}")
        try:
            before = docker.read()
        except docker.SettingsError as error:
            self.module.fail_json(msg=str(error))
            raise
        # Those of others, and those of the last run.
        confidential.keep(self.module, before, docker.last_asked())
        present = docker.without_withdrawn(before, docker.last_asked(), self.settings)
        after = docker.merged(present, self.settings, made_by_hand=living_cluster.made_by_hand())
        for refusal in docker.refusals(after, docker.command_line(self.module)):
            if refusal.id == docker.USERNS_REMAP:
                # `check` stops here, unless somebody accepted it.
                self.changes.found(refusal)
            else:
                self.module.fail_json(msg=f"{refusal.evidence} {refusal.fix}")
        if validate and after != before:
            self._validate(before, after)
        return before, after

    def _validate(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        told = self._refusal_of_dockerd(before)
        if told:
            self.module.fail_json(
                msg=f"Docker does not accept {DAEMON_JSON} as it is, so it does not start again either. Correct the "
                f"file. dockerd says:\n{told}"
            )
        told = self._refusal_of_dockerd(after)
        if told:
            self.module.fail_json(
                msg=f"Docker does not accept the settings for {DAEMON_JSON}, which was left as it is. Correct "
                f"docker_settings (cluster_docker_settings). dockerd says:\n{told}"
            )

    def _refusal_of_dockerd(self, settings: dict[str, Any]) -> str:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as trial:
            json.dump(settings, trial)
            trial.flush()
            command = ["dockerd", "--validate", "--config-file", trial.name]
            code, stdout, stderr = execute(self.module, command)
        return last_lines(stderr or stdout).replace(trial.name, DAEMON_JSON) if code != 0 else ""

    def _write_settings(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        # First what would be taken back, so that a run that is cut in between forgets nothing.
        last = docker.last_asked()
        both = docker.deep_merge(last, self.settings)
        if both != last:
            self._remember(both)
        if after != before:
            # Docker itself is root; nobody else has to read a password.
            mode, keep = (0o600, False) if self.has_secrets else (0o644, True)
            self.changes.file(DAEMON_JSON, json.dumps(after, indent=2) + "\n", mode=mode, keep=keep)
        if both != self.settings:
            self._remember(self.settings)

    def _remember(self, asked: dict[str, Any]) -> None:
        if asked:
            self.changes.file(LAST_ASKED, json.dumps(asked, indent=2) + "\n", mode=0o600, secret=True)
        else:
            self.changes.absent(LAST_ASKED)

    def _digest(self) -> str:
        digest = self.asked["cri_dockerd_sha256"].get(architecture())
        if not digest:
            self.module.fail_json(
                msg=f"No SHA-256 of cri-dockerd for {architecture()} hosts: add it to docker_cri_dockerd_sha256 "
                "(cluster_cri_dockerd_sha256)."
            )
        return str(digest)

    def _cri_dockerd_binary(self) -> Path:
        # The directory's name is the archive it came from; what came out of it is written beside it.
        return docker.CRI_DOCKERD_HOME / self._digest()[:16].lower() / "cri-dockerd"

    def _download(self) -> bytes:
        url = self.asked["cri_dockerd_url"].replace("{arch}", architecture())
        archive = fetch(url, sha256=self._digest())
        try:
            return extract_binary(archive, "cri-dockerd")
        except DownloadError as error:
            raise DownloadError(f"{url} {error}. Give the address of cri-dockerd's release archive.") from error

    def _arrived(self, arriving: Optional[Future[bytes]]) -> bytes:
        try:
            return b"" if arriving is None else arriving.result()
        except DownloadError as error:
            self.module.fail_json(msg=f"Cannot install cri-dockerd: {error}")
            raise

    def _cri_dockerd(self, binary: Path, content: bytes, *, in_place: bool) -> None:
        if not in_place:
            before = "damaged, or of unknown origin\n" if binary.exists() else "not there\n"
            was = [] if binary.exists() else [Before("program", str(binary), None)]
            self.changes.act(str(binary), lambda: _place(binary, content), before=before, after="in place\n", was=was)
        unit = SERVICE_UNIT.format(
            binary=binary,
            cni_conf_dir=self.asked["cni_conf_dir"],
            cni_bin_dir=self.asked["cni_bin_dir"],
            pause_image=self.asked["pause_image"],
            place=f"WorkingDirectory={CRI_DOCKERD_LOGINS.parent}\n" if self.asked["registry_credentials"] else "",
        )
        credentials.converge(self.changes, str(CRI_DOCKERD_LOGINS), self.asked["registry_credentials"])
        self.changes.file(f"{UNITS}/cri-docker.service", unit)
        self.changes.file(f"{UNITS}/cri-docker.socket", SOCKET_UNIT)

    def _services(self, before: dict[str, Any], after: dict[str, Any], *, proxy_changed: bool, replaced: bool) -> None:
        units, changes = self.units, self.changes
        if not self.module.check_mode and (
            changes or any(unit["NeedDaemonReload"] == "yes" for unit in units.values())
        ):
            # Packages and unit files arrived since the units were looked at, or in a run that was interrupted.
            run(self.module, ["systemctl", "daemon-reload"], purpose="make systemd read its units again")
            units = systemd.show(self.module, units)
        engine, socket, service = (units[name] for name in (DOCKER, "cri-docker.socket", "cri-docker.service"))
        systemd.enable(changes, DOCKER, engine)
        if engine["ActiveState"] != "active":
            systemd.start(changes, DOCKER, engine)
        elif (
            self.started.differs(PROXY_ENVIRONMENT, drop_in(DOCKER))
            or self.proxy.is_left()
            or (self.module.check_mode and proxy_changed)
        ):
            self._restart("its proxy is another")
        elif self.started.differs(DAEMON_JSON) or (self.module.check_mode and before != after):
            reason = f"{DAEMON_JSON} is another than it was started with"
            if docker.only_reload(before, after):
                systemd.restart(changes, DOCKER, verb="reload", reason=reason)
            else:
                self._restart(reason)
        systemd.enable(changes, "cri-docker.socket", socket)
        systemd.enable(changes, "cri-docker.service", service)
        self._stop_others()
        if socket["ActiveState"] != "active" and service["ActiveState"] == "active":
            # Somebody's own that opens its socket by itself; beside it systemd opens none.
            stop = ["systemctl", "stop", "cri-docker.service"]
            changes.act(
                "cri-docker.service",
                lambda: run(self.module, stop, purpose="stop the cri-dockerd that is not kubestrap's"),
                before="running, with a socket of its own\n",
                after="stopped, so that cri-docker.socket can start\n",
            )
            service = {**service, "ActiveState": "inactive"}
        systemd.start(changes, "cri-docker.socket", socket)
        if service["ActiveState"] != "active":
            systemd.start(changes, "cri-docker.service", service)
        elif replaced or self.started_cri.differs(*UNIT_FILES):
            reason = f"its {'program' if replaced else 'unit'} is another than it was started with"
            systemd.restart(changes, "cri-docker.service", reason=reason)
        # Before the note: what the next run compares with is what is there now.
        self.proxy.forget(self.changes)
        if not self.module.check_mode:
            self.started.note()
            self.started_cri.note()

    def _stop_others(self) -> None:
        """Stop cri-dockerd's units of other names: they would open the same socket, now or at the next boot."""
        runs = re.compile(r"^\s*ExecStart\s*=.*\bcri-dockerd\b", re.MULTILINE)
        names = {Path(path).name for path, text in look.own_units().items() if runs.search(text)}
        others = sorted(names - {"cri-docker.service"})
        for name, unit in systemd.show(self.module, others).items() if others else ():
            if unit.get("ActiveState") == "active" or unit.get("UnitFileState") == "enabled":
                command = ["systemctl", "disable", "--now", "--quiet", name]
                self.changes.act(
                    name,
                    partial(run, self.module, command, purpose="stop another cri-dockerd"),
                    before="runs cri-dockerd\n",
                    after="stopped and disabled: cri-docker.service runs it\n",
                    was=[systemd.before(name, unit)],
                )

    def _restart(self, reason: str) -> None:
        """Restart Docker, and start what others had running on it and it does not start by itself."""
        survives = docker.survives_restart(self.module)
        stopped = [] if survives else docker.own_containers(self.module)
        if not survives and not stopped:
            self._refuse_silent(reason)
        systemd.restart(self.changes, DOCKER, reason=reason)
        running = set() if self.module.check_mode else {one.identity for one in docker.own_containers(self.module)}
        for container in stopped:
            if container.removed:
                self.changes.found(
                    warning(
                        "container-gone",
                        f"The restart of Docker ended the container {container.name} ({container.image}), and Docker "
                        "removed it, because it was started with --rm.",
                        "Start it anew.",
                    )
                )
            elif container.identity not in running:
                self.changes.act(
                    f"container {container.name} ({container.image})",
                    partial(self._start_again, container),
                    before="stopped by the restart of Docker\n",
                    after="started again\n",
                )

    def _refuse_silent(self, reason: str) -> None:
        """End the module when Docker runs and does not say what: nobody would start that again."""
        code, stdout, stderr = execute(self.module, ["docker", "ps", "--quiet"])
        if code != 0:
            self.module.fail_json(
                msg=f"Docker is to be restarted, because {reason}, and does not say which containers run on it: "
                f"{last_lines(stderr or stdout)}\nIt was not restarted, since nobody would start them again. See what "
                "is wrong with it (`journalctl -u docker`), or restart it yourself (`systemctl restart docker`), and "
                "run again."
            )

    def _start_again(self, container: docker.Container) -> None:
        command = ["docker", "start", container.identity]
        code, stdout, stderr = execute(self.module, command)
        if code != 0:
            self.changes.found(
                warning(
                    "container-stopped",
                    f"The restart of Docker stopped the container {container.name} ({container.image}), and it does "
                    f"not start again: {last_lines(stderr or stdout)}",
                    f"Start it when that is put right: `docker start {container.name}`.",
                )
            )


def is_in_place(binary: Path) -> bool:
    """Tell whether a program is, byte by byte, what was placed: one that a power cut left empty is not."""
    recorded = (read_text(str(_digest_beside(binary))) or "").strip()
    return bool(recorded) and sha256_of(binary) == recorded


def _place(binary: Path, content: bytes) -> None:
    write_atomically(str(_digest_beside(binary)), f"{hashlib.sha256(content).hexdigest()}\n")
    write_atomically(str(binary), content, mode=0o755)
    for other in docker.CRI_DOCKERD_HOME.glob("*"):
        # A running cri-dockerd keeps its file until it is restarted.
        if other != binary.parent:
            shutil.rmtree(other)


def _digest_beside(binary: Path) -> Path:
    return binary.with_name(f"{binary.name}.sha256")


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "packages": {"type": "dict", "required": True},
            "conflicting_packages": {"type": "list", "elements": "str", "default": []},
            "repository": {
                "type": "dict",
                "options": {
                    "url": {"type": "str", "required": True},
                    "key_fingerprint": {"type": "str", "required": True, "no_log": False},
                },
            },
            "settings": {"type": confidential.settings, "default": {}},
            "registry_ca_certificates": registry_trust.AUTHORITIES,
            "cri_dockerd_url": {"type": "str", "required": True},
            "cri_dockerd_sha256": {"type": "dict", "required": True},
            "pause_image": {"type": "str", "required": True},
            "registry_mirrors": {"type": "list", "elements": "str", "default": []},
            "registry_credentials": credentials.ARGUMENT,
            "proxy": PROXY_ARGUMENT,
            "cni_conf_dir": {"type": "path", "default": "/etc/cni/net.d"},
            "cni_bin_dir": {"type": "path", "default": "/opt/cni/bin"},
        },
        supports_check_mode=True,
    )
    DockerRuntime(module).run()


if __name__ == "__main__":
    main()
