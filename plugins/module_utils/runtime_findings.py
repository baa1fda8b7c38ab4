"""What would keep the container runtime a host is asked for from working, found by looking.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import advice, confidential, living_cluster, systemd
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import rules_supply
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, blocker, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import choose, read_os_release
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import containerd
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import docker as settings_of_docker
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import RUNTIMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ansible.module_utils.basic import AnsibleModule

# A bare host has no lists of packages yet, and to look changes nothing on it. A release keeps its version.
OLD_DOCKER = {("docker.io", "debian", "12"): "20.10.24"}
# Where kubelet reads which runtime it has; the first that says it counts.
KUBELET_SETTINGS = (
    "/var/lib/kubelet/instance-config.yaml",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
)


def docker(module: AnsibleModule, packages: dict[str, list[str]], excluded: list[str]) -> Iterator[Finding]:
    """Find what speaks against Docker Engine from these packages, which exclude others."""
    name = choose(module, packages, purpose="packages of Docker")[0]
    manager = systems.manager(module)
    installed = manager.installed(module, [name, *excluded])
    engine = installed.get(name)
    others = [other for other in excluded if other in installed]
    if others and engine is None:
        yield blocker(
            "docker-conflict",
            f"The host has {', '.join(others)}, which cannot be installed beside {name}.",
            advice.remove_packages(
                "Take the Docker that is there (cluster_docker_source: docker.com for docker-ce, distribution for "
                "docker.io)."
            ),
        )
        return
    system = read_os_release()
    release = (name, system.get("ID", ""), system.get("VERSION_ID", ""))
    version = engine.version if engine else manager.candidate(module, name) or OLD_DOCKER.get(release)
    if version is not None and manager.upstream_version(version) < settings_of_docker.OLDEST:
        yield blocker(
            "docker-too-old",
            f"Docker {version} is {'installed' if engine else 'what this distribution has'}; cri-dockerd, the link to "
            f"Kubernetes, needs Docker {settings_of_docker.OLDEST[0]} or newer.",
            "Two ways out: Docker's own packages (cluster_docker_source: docker.com), or containerd, which needs no "
            "Docker (cluster_container_runtime: containerd).",
        )


def docker_settings(module: AnsibleModule, asked: dict[str, Any], proxy: Proxy) -> Iterator[Finding]:
    """Find what the settings of Docker would do to Kubernetes, and what a restart of Docker to other people's things.

    Args:
        module: The running module.
        asked: What the inventory wants in daemon.json.
        proxy: The proxy that Docker is to use.
    """
    if not Path("/run/systemd/system").is_dir():
        return
    try:
        before = settings_of_docker.read()
    except settings_of_docker.SettingsError as error:
        yield blocker("docker-settings-invalid", str(error), f"Correct {settings_of_docker.DAEMON_JSON}.")
        return
    present = settings_of_docker.without_withdrawn(before, settings_of_docker.last_asked(), asked)
    after = settings_of_docker.merged(present, asked, made_by_hand=living_cluster.made_by_hand())
    yield from settings_of_docker.refusals(after, settings_of_docker.command_line(module))
    unit = systemd.show(module, ["docker.service"])["docker.service"]
    new_settings = after != before and not settings_of_docker.only_reload(before, after)
    if unit.get("ActiveState") == "active" and (new_settings or proxy.is_new_to("docker.service")):
        changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
        yield from _restart(module, f"new settings ({', '.join(changed)})" if new_settings else "another proxy")


def _restart(module: AnsibleModule, reason: str) -> Iterator[Finding]:
    containers = [] if settings_of_docker.survives_restart(module) else settings_of_docker.own_containers(module)
    for removed in (True, False):
        concerned = [f"{one.name} ({one.image})" for one in containers if one.removed is removed]
        if not concerned:
            continue
        evidence = f"Docker has to be restarted for {reason}, and that stops containers that are not of Kubernetes: "
        if removed:
            yield blocker(
                "docker-restart-removes",
                f"{evidence}{', '.join(concerned)}. Docker removes them then, with all that is in them, because they "
                "were started with --rm.",
                "Save what you need of them and stop them. Or keep them running through the restart: put "
                f'"live-restore": true into {settings_of_docker.DAEMON_JSON}, run `systemctl reload docker`, and run '
                "again.",
            )
        else:
            yield warning(
                "docker-restart",
                f"{evidence}{', '.join(concerned)}.",
                "Nothing to do: they are started again at once. To keep them running through it, put "
                f'"live-restore": true into {settings_of_docker.DAEMON_JSON} and run `systemctl reload docker` before.',
            )


def containerd_(module: AnsibleModule, packages: dict[str, list[str]]) -> Iterator[Finding]:
    """Find what speaks against the containerd that is there, or that these packages hold."""
    version = containerd.installed_version(module)
    what = ".".join(map(str, version or ())) + " is installed"
    if version is None:
        manager = systems.manager(module)
        candidate = manager.candidate(module, choose(module, packages, purpose="packages of containerd")[0])
        version = manager.upstream_version(candidate) if candidate else None
        what = f"{candidate} is what this host would install"
    if version is not None and version[:2] < containerd.OLDEST:
        oldest = ".".join(map(str, containerd.OLDEST))
        yield blocker(
            "containerd-too-old",
            f"containerd {what}; kubelet needs {oldest} or newer.",
            "Upgrade it, or take Docker's own packages (cluster_containerd_source: docker.com).",
        )


def node_runtime() -> Optional[str]:
    """Return what this host runs its containers with as a node; None when it is none, or runs something else."""
    for path in KUBELET_SETTINGS:
        found = re.search(r"container-?runtime-?endpoint[:=]\s*\"?([^\s\"]+)", read_text(path) or "", re.IGNORECASE)
        if found:
            return next((name for name, one in RUNTIMES.items() if found[1].endswith(one.socket_file)), None)
    return None


def change(wanted: str, present: Optional[str]) -> Iterator[Finding]:
    """Find that a node would have to change its runtime under its running containers."""
    if present is not None and present != wanted:
        yield blocker(
            "runtime-change",
            f"The host is a node that runs {present}, and {wanted} is asked for.",
            advice.another_host(f"Keep it (cluster_container_runtime: {present} for this host)."),
        )


def _all_of_docker(module: AnsibleModule) -> Iterator[Finding]:
    asked = module.params
    yield from docker(module, asked["runtime_packages"], asked["docker_conflicting_packages"])
    settings = settings_of_docker.asked_settings(asked["docker_settings"], asked["docker_registry_mirrors"])
    confidential.keep(module, settings)
    yield from docker_settings(module, settings, Proxy(asked["proxy"]))
    yield from rules_supply.mirrors(asked["mirrored_registries"])


# What speaks against each, by what the module preflight was asked.
LOOKS: dict[str, Callable[[AnsibleModule], Iterator[Finding]]] = {
    "docker": _all_of_docker,
    "containerd": lambda module: containerd_(module, module.params["runtime_packages"]),
}
