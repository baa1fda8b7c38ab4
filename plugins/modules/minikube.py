#!/usr/bin/python
"""Ansible module minikube."""

from __future__ import annotations

DOCUMENTATION = r"""
module: minikube
short_description: A Kubernetes cluster that minikube keeps on this host
description:
  - Installs minikube, pinned by SHA-256, and what its driver needs besides Docker; starts the cluster when it does not
    run; brings it images.
  - Decides by what C(minikube status) says. Touches no cluster that minikube did not make.
version_added: 0.2.0
author: kubestrap contributors
options:
  state:
    description: C(look) changes nothing. C(deleted) deletes the cluster and what was made for it.
    type: str
    required: true
    choices: [look, started, deleted]
  driver:
    description: C(docker) runs Kubernetes in a container as O(user), C(none) on the host itself as root.
    type: str
    required: true
    choices: [docker, none]
  user:
    description: As whom minikube runs with the driver docker. Empty means the one who logged in.
    type: str
    default: ""
  url:
    description: Minikube, one program. C({arch}) is amd64 or arm64.
    type: str
    default: ""
  sha256:
    description: SHA-256 of it by architecture.
    type: dict
    default: {}
  tools_repository:
    description: Package repository of crictl and the CNI plugins, for hosts that lack them.
    type: str
    default: ""
  tools_key_fingerprint:
    description: Fingerprint of the key that signs that repository.
    type: str
    default: ""
  arguments:
    description: More arguments for C(minikube start).
    type: list
    elements: str
    default: []
  images:
    description: Names of images in the host's Docker that the cluster is to have, too.
    type: list
    elements: str
    default: []
attributes:
  diff_mode: {description: Shows what it changes., support: full}
  check_mode:
    description: Looks and reports, on a host without minikube as well.
    support: full
"""

EXAMPLES = r"""
- name: Start minikube on the host itself
  kubestrap.cluster.minikube:
    state: started
    driver: none
    url: https://github.com/kubernetes/minikube/releases/download/v1.36.0/minikube-linux-{arch}
    sha256: {amd64: cddeab5ab86ab98e4900afac9d62384dae0941498dfbe712ae0c8868250bc3d7}
    tools_repository: https://pkgs.k8s.io/core:/stable:/v1.36/deb/
    tools_key_fingerprint: DE15B14486CD377B9E876E1A234654DA9A296436
"""

RETURN = r"""
ansible_facts:
  description: C(minikube) with C(running) and C(kubeconfig), a file that leads to this cluster and no other.
  returned: success
  type: dict
"""

import grp
import json
import os
import pwd
import re
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeconfig, traces
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import (
    Changes,
    read_text,
    sha256_of,
    write_atomically,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError, architecture, fetch
from ansible_collections.kubestrap.cluster.plugins.module_utils.homes import HomeError, as_user
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import Content, content
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import ADMIN_KUBECONFIG
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import Before
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import add
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.repository import (
    add_kubernetes_repository,
    refresh_repository,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute, last_lines, run
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker

if TYPE_CHECKING:
    from collections.abc import Callable

PROFILE = "minikube"
MINIKUBE_SECONDS = 1800
HOME = Path("/usr/local/lib/minikube")
PROGRAM = Path("/usr/local/bin/minikube")
KUBECTL = Path("/usr/local/bin/kubectl")
CRI_DOCKERD = Path("/usr/local/bin/cri-dockerd")
CNI_PLUGINS = tuple(Path("/opt/cni/bin", name) for name in ("bridge", "firewall", "host-local", "loopback", "portmap"))
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What minikube writes for the driver none and leaves behind, and other clusters on this host would stumble over.
LEFT_BEHIND = (
    "/etc/cni/net.d/1-k8s.conflist",
    "/etc/systemd/system/cri-docker.service.d/10-cni.conf",
    "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
    "/lib/systemd/system/kubelet.service",
)


def is_running(status: dict[str, Any]) -> bool:
    """Tell whether `minikube status` has nothing to complain about."""
    parts = [status.get(name) for name in ("Host", "Kubelet", "APIServer")]
    return parts == ["Running"] * 3 and status.get("Kubeconfig") == "Configured"


def parse_status(text: str) -> dict[str, Any]:
    """Return what `minikube status --output json` says; empty when it knows no cluster and says so in words."""
    try:
        status = json.loads(text)
    except ValueError:
        return {}
    return status if isinstance(status, dict) and "Host" in status else {}


def described(status: dict[str, Any]) -> str:
    """Return a status for a diff."""
    if not status:
        return "no cluster\n"
    return "".join(f"{name}: {status.get(name)}\n" for name in ("Host", "Kubelet", "APIServer", "Kubeconfig"))


def without_advice(text: str) -> str:
    """Return the end of what minikube says, without the box in which it asks for bug reports."""
    return last_lines("\n".join(line for line in text.splitlines() if not re.fullmatch(r"\s*(\*|[│╭╰].*)\s*", line)))


class Minikube:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        """Find out as whom minikube runs, and what it has."""
        self.module = module
        self.asked = module.params
        self.driver: str = self.asked["driver"]
        self.changes = Changes(module)
        self.user = self._user()
        self.profile = Path(self.user.pw_dir, ".minikube/profiles", PROFILE)

    def look(self) -> None:
        """Tell what there is, or why minikube cannot be here, before anything changes."""
        self._digest()
        self._refuse()
        self._exit(running=self._configuration() != {} and is_running(self._status()))

    def start(self) -> None:
        """Converge: program, tools, cluster, images."""
        digest = self._digest()
        status = self._status()
        # First, because it knows before its first change whether what it downloads is what was asked for.
        self._program(digest)
        if self.driver == "none":
            self._tools()
        else:
            self._may_use_docker()
        if not is_running(status):
            self.changes.act("minikube", self._start, before=described(status), after="running\n")
        if not self.module.check_mode:
            self._kubectl()
            self._images()
        self._exit(running=True)

    def delete(self) -> None:
        """Delete the cluster, and what was made for it alone."""
        if self._configuration():
            if not PROGRAM.exists():
                self.module.fail_json(
                    msg=f"{self.profile} says that minikube has a cluster here, but there is no {PROGRAM} to delete it "
                    "with. Run `kubestrap minikube up` first, or delete it with the minikube that made it."
                )
            self._refuse_other_program()
            status = self._status()
            self.changes.act("minikube", self._delete, before=described(status), after="no cluster\n")
            if self.driver == "none":
                self._clean()
        for link, home in ((KUBECTL, None), (CRI_DOCKERD, docker.CRI_DOCKERD_HOME), (PROGRAM, HOME)):
            if self._is_ours(link, home):
                self.changes.absent(str(link))
        self.changes.absent(str(HOME))
        self._exit(running=False)

    def _exit(self, *, running: bool) -> None:
        kubeconfig = ADMIN_KUBECONFIG if self.driver == "none" else str(self.profile / "kubeconfig")
        self.changes.exit(ansible_facts={"minikube": {"running": running, "kubeconfig": kubeconfig}})

    def _user(self) -> pwd.struct_passwd:
        if self.driver == "none":
            return pwd.getpwnam("root")
        name = self.asked["user"] or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            self.module.fail_json(msg=f"There is no user {name!r} on this host (minikube_user, cluster_node_user).")
        if user.pw_uid == 0:
            self.module.fail_json(
                msg="Minikube does not run as root with the driver docker. Name an ordinary user of this host "
                "(cluster_node_user) or log in as one (ansible_user with ansible_become), or, when the machine is for "
                "minikube alone, take the driver none (cluster_minikube_driver)."
            )
        return user

    def _digest(self) -> str:
        digest = self.asked["sha256"].get(architecture())
        if not digest:
            self.module.fail_json(
                msg=f"No SHA-256 of minikube for {architecture()} hosts: add it to minikube_sha256 "
                "(cluster_minikube_sha256)."
            )
        return str(digest).lower()

    def _refuse(self) -> None:
        self._refuse_other_program()
        configured = self._configuration().get("Driver", self.driver)
        if configured != self.driver:
            self.module.fail_json(
                msg=f"Minikube's cluster on this host was made with the driver {configured}, and {self.driver} is "
                f"asked for. Delete it first: `kubestrap minikube down -e cluster_minikube_driver={configured}`."
            )
        found = traces.look()
        if self.driver == "none" and not found.bare and not self._configuration():
            self.module.fail_json(
                msg=f"This host holds {found.describe()}, of a cluster that minikube did not make. Minikube "
                "with the driver none would take the host over. Nothing was changed: choose another host, or remove "
                "that cluster from this one first."
            )

    def _refuse_other_program(self) -> None:
        if os.path.lexists(PROGRAM) and not self._is_ours(PROGRAM, HOME):
            self.module.fail_json(
                msg=f"There is a {PROGRAM} that kubestrap did not put there. Remove it (its cluster first: `minikube "
                "delete`), so that it is clear which minikube keeps the cluster."
            )

    def _configuration(self) -> dict[str, Any]:
        """Return what minikube noted of its cluster; empty when it has none."""
        try:
            return dict(json.loads(self._in_home(lambda: kubeconfig.read_file(str(self.profile / "config.json")))))
        except ValueError:
            return {}

    def _status(self) -> dict[str, Any]:
        # Its exit code says what is down; 85 means that there is no cluster.
        return parse_status(self._minikube("status", "--output", "json")[1]) if PROGRAM.exists() else {}

    def _in_home(self, act: Callable[[], Any]) -> Any:
        """Return what a function returns as the user: in their home nothing is followed for them as root."""
        try:
            return as_user(self.user, act)
        except (HomeError, kubeconfig.KubeconfigError, OSError) as error:
            self.module.fail_json(msg=f"Minikube's files in {self.user.pw_dir} cannot be used: {error}")

    def _minikube(self, *arguments: str) -> tuple[int, str, str]:
        return self._as_user(str(PROGRAM), *arguments)

    def _as_user(self, *command: str) -> tuple[int, str, str]:
        become = [] if self.user.pw_uid == 0 else ["runuser", "--user", self.user.pw_name, "--"]
        code, stdout, stderr = execute(
            self.module,
            [*become, *command],
            # It downloads an operating system's worth of images.
            seconds=MINIKUBE_SECONDS,
            cwd=self.user.pw_dir,
            environ_update={
                "HOME": self.user.pw_dir,
                "USER": self.user.pw_name,
                "LOGNAME": self.user.pw_name,
                "PATH": PATH,
                "KUBECONFIG": "",
                "MINIKUBE_HOME": "",
                "MINIKUBE_IN_STYLE": "false",
                "MINIKUBE_WANTUPDATENOTIFICATION": "false",
            },
        )
        return int(code), str(stdout), str(stderr)

    def _start(self) -> None:
        code, stdout, stderr = self._minikube(
            "start", f"--driver={self.driver}", "--interactive=false", "--wait=all", *self.asked["arguments"]
        )
        if code != 0:
            self.module.fail_json(
                msg=f"Minikube does not start (exit code {code}). It says:\n{without_advice(stdout + stderr)}\n"
                "More: `minikube logs` on the host."
            )

    def _delete(self) -> None:
        code, stdout, stderr = self._minikube("delete")
        if code != 0:
            self.module.fail_json(msg=f"Minikube cannot delete its cluster. It says:\n{last_lines(stdout + stderr)}")

    def _clean(self) -> None:
        for path in LEFT_BEHIND:
            # A package of kubelet has a unit of the same name.
            if "kubelet" not in path or str(BINARIES) in (read_text(path) or ""):
                self.changes.absent(path)
        if not self.module.check_mode:
            run(self.module, ["systemctl", "daemon-reload"], purpose="make systemd read its units again")
            run(self.module, ["systemctl", "try-restart", "cri-docker.service"], purpose="restart cri-dockerd")

    def _tools(self) -> None:
        """Install what minikube looks for on the PATH with the driver none."""
        missing = []
        if shutil.which("crictl", path=PATH) is None:
            missing.append("cri-tools")
        if not all(plugin.exists() for plugin in CNI_PLUGINS):
            missing.append("kubernetes-cni")
        if missing:
            url = self.asked["tools_repository"].rstrip("/") + "/"
            source, _ = add_kubernetes_repository(self.changes, url, self.asked["tools_key_fingerprint"], needed=True)
            refresh_repository(self.changes, source, url, needed=True)
        if shutil.which("sudo", path=PATH) is None:
            # Minikube calls it even when it is root already.
            missing.append("sudo")
        add(systems.manager(self.module), self.changes, missing)
        if shutil.which("cri-dockerd", path=PATH) is None:
            binary = next(docker.CRI_DOCKERD_HOME.glob("*/cri-dockerd"), None)
            if binary is None and not self.module.check_mode:
                self.module.fail_json(msg="There is no cri-dockerd on this host: install it first (role docker).")
            self._link(CRI_DOCKERD, binary or docker.CRI_DOCKERD_HOME)

    def _may_use_docker(self) -> None:
        """Let the user talk to Docker, as minikube asks for."""
        try:
            group = grp.getgrnam("docker")
        except KeyError:
            if not self.module.check_mode:
                self.module.fail_json(msg="There is no group docker on this host: install Docker first (role docker).")
            return
        if group.gr_gid != self.user.pw_gid and self.user.pw_name not in group.gr_mem:
            command = ["usermod", "--append", "--groups", "docker", self.user.pw_name]
            self.changes.act(
                f"{self.user.pw_name} in group docker",
                lambda: run(self.module, command, purpose=f"add {self.user.pw_name} to the group docker"),
                before="no\n",
                after="yes\n",
                was=[Before("group member", f"docker {self.user.pw_name}", None)],
            )

    def _program(self, digest: str) -> None:
        binary = HOME / digest[:16] / "minikube"
        if sha256_of(binary) != digest:
            before = "damaged\n" if binary.exists() else "not there\n"
            was = [] if binary.exists() else [Before("program", str(binary), None)]
            self.changes.act(
                str(binary), lambda: self._place(binary, digest), before=before, after="in place\n", was=was
            )
        self._link(PROGRAM, binary)

    def _place(self, binary: Path, digest: str) -> None:
        try:
            program = fetch(self.asked["url"].replace("{arch}", architecture()), sha256=digest)
        except DownloadError as error:
            self.module.fail_json(msg=f"Cannot install minikube: {error}")
        write_atomically(str(binary), program, mode=0o755)
        for other in HOME.glob("*"):
            if other != binary.parent:
                shutil.rmtree(other)

    def _link(self, link: Path, target: Path) -> None:
        before = str(link.readlink()) if link.is_symlink() else ""
        if before != str(target):
            was = [Before("link", str(link), before or None)]
            self.changes.act(str(link), lambda: _point(link, target), before=before, after=f"{target}\n", was=was)

    def _is_ours(self, link: Path, home: Optional[Path]) -> bool:
        """Tell whether a link leads into a directory of ours; without one, to what minikube fetched."""
        if not link.is_symlink():
            return False
        target = link.readlink()
        return home in target.parents if home else ".minikube" in target.parts or target.is_relative_to(BINARIES)

    def _kubectl(self) -> str:
        """Return a kubectl that fits the cluster; the one minikube fetched becomes the host's when it has none."""
        version = self._configuration().get("KubernetesConfig", {}).get("KubernetesVersion", "")
        if self.driver == "none":
            fetched = BINARIES / version / "kubectl"
        else:
            fetched = Path(self.user.pw_dir, ".minikube/cache/linux", architecture(), version, "kubectl")
            if not fetched.exists():
                self._minikube("kubectl", "--", "version", "--client")
        if self._is_ours(KUBECTL, None) or shutil.which("kubectl", path=PATH) is None:
            self._link(KUBECTL, fetched)
        if self.driver == "docker":
            view = ("config", "view", "--minify", "--flatten", f"--context={PROFILE}")
            code, stdout, stderr = self._as_user(str(fetched), *view)
            if code != 0:
                self.module.fail_json(msg=f"Minikube's kubeconfig cannot be read: {last_lines(stderr)}")
            path = str(self.profile / "kubeconfig")
            if self._in_home(lambda: kubeconfig.read_file(path)) != stdout:
                self.changes.act(
                    path, lambda: self._in_home(lambda: kubeconfig.write(path, stdout)), after="(secret)\n"
                )
        return str(fetched)

    def _images(self) -> None:
        """With the driver docker, the cluster has a Docker of its own; with none, it is the host's."""
        for name in self.asked["images"] if self.driver == "docker" else ():
            here = self._inspect(["docker"], name)
            if here is None:
                self.module.fail_json(msg=f"There is no image {name} in the Docker of this host.")
            if self._inspect(["docker", "exec", PROFILE, "docker"], name) != here:
                self.changes.act(f"image {name}", partial(self._load, name), after="in the cluster\n")

    def _inspect(self, docker: list[str], name: str) -> Optional[Content]:
        code, stdout, _ = execute(self.module, [*docker, "image", "inspect", name])
        return content(json.loads(stdout)[0]) if code == 0 else None

    def _load(self, name: str) -> None:
        code, stdout, stderr = self._minikube("image", "load", "--daemon", name)
        if code != 0:
            self.module.fail_json(msg=f"Minikube cannot load the image {name}: {last_lines(stdout + stderr)}")


BINARIES = Path("/var/lib/minikube/binaries")


def _point(link: Path, target: Path) -> None:
    if os.path.lexists(link):
        link.unlink()
    link.symlink_to(target)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "required": True, "choices": ["look", "started", "deleted"]},
            "driver": {"type": "str", "required": True, "choices": ["docker", "none"]},
            "user": {"type": "str", "default": ""},
            "url": {"type": "str", "default": ""},
            "sha256": {"type": "dict", "default": {}},
            "tools_repository": {"type": "str", "default": ""},
            "tools_key_fingerprint": {"type": "str", "default": "", "no_log": False},
            "arguments": {"type": "list", "elements": "str", "default": []},
            "images": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    minikube = Minikube(module)
    {"look": minikube.look, "started": minikube.start, "deleted": minikube.delete}[module.params["state"]]()


if __name__ == "__main__":
    main()
