"""containerd's configuration: what Kubernetes needs in what it says it runs with, and how registries are described.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import registry_trust
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible.module_utils.basic import AnsibleModule

OLDEST = (1, 6)
"""The first one with the interface (CRI v1) that kubelet speaks."""
SOCKET = "unix:///run/containerd/containerd.sock"
CONFIG = "/etc/containerd/config.toml"
HOSTS_DIRECTORY = "/etc/containerd/certs.d"
CRI_PLUGINS = {
    "cri",
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
}
# What a version of the format calls the parts of the CRI plugin; the second is that of containerd 2.
OLD = ("plugins", "io.containerd.grpc.v1.cri")
IMAGES, RUNTIME = ("plugins", "io.containerd.cri.v1.images"), ("plugins", "io.containerd.cri.v1.runtime")
# Runtimes of this kind, whatever program they start, know the option SystemdCgroup.
RUNC = "io.containerd.runc."

Place = tuple[str, ...]
"""Where a value is: the names of its tables, and its own."""


def parse_version(text: str) -> Optional[tuple[int, ...]]:
    """Return the numbers in what `containerd --version` prints, None when there are none."""
    found = re.search(r"\bv?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else None


def installed_version(module: AnsibleModule) -> Optional[tuple[int, ...]]:
    """Return the version of the containerd on this host, None without one that says it."""
    code, stdout, _ = execute(module, ["containerd", "--version"])
    return parse_version(stdout) if code == 0 else None


def get(data: dict[str, Any], path: Place) -> Any:
    """Return the value at a place, None when there is none."""
    value: Any = data
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def put(data: dict[str, Any], path: Place, value: Any) -> None:
    """Set the value at a place; tables on the way are made."""
    for name in path[:-1]:
        data = data.setdefault(name, {})
    data[path[-1]] = value


def enabled_cri(data: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration in which the CRI plugin is not switched off; other plugins stay off."""
    if not cri_is_disabled(data):
        return data
    return {**data, "disabled_plugins": [name for name in data["disabled_plugins"] if name not in CRI_PLUGINS]}


def cri_is_disabled(data: dict[str, Any]) -> bool:
    """Tell whether containerd runs without its interface for Kubernetes."""
    return not CRI_PLUGINS.isdisjoint(data.get("disabled_plugins") or [])


def absolute_imports(data: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration that imports the same files wherever it lies: containerd starts from the file's place."""
    names = data.get("imports") or []
    absolute = [str(Path(CONFIG).parent / name) for name in names]
    return data if absolute == names else {**data, "imports": absolute}


def old_mirrors(data: dict[str, Any]) -> list[Place]:
    """Return the tables that describe registries in the form containerd does not accept beside the hosts directory."""
    found: list[Place] = []
    for plugin in (OLD, IMAGES):
        registry = (*plugin, "registry")
        found += [(*registry, "mirrors", name) for name in get(data, (*registry, "mirrors")) or {}]
        configs = get(data, (*registry, "configs")) or {}
        found += [(*registry, "configs", name, "tls") for name, config in configs.items() if "tls" in config]
    return found


def wanted_values(
    present: dict[str, Any], *, pause_image: str, cni_conf_dir: str, cni_bin_dir: str
) -> dict[Place, Any]:
    """Return the values Kubernetes needs, in the names of the version that printed the present ones.

    Args:
        present: What containerd says it runs with.
        pause_image: Image of the container that holds a pod's network.
        cni_conf_dir: Where pod networks leave their configuration.
        cni_bin_dir: Where the CNI plugins are.
    """
    old = int(present.get("version", 2)) < 3  # noqa: PLR2004
    images, runtime = (OLD, OLD) if old else (IMAGES, RUNTIME)
    cni, registry = (*runtime, "cni"), (*images, "registry")
    directories = [path for path in str(get(present, (*registry, "config_path")) or "").split(":") if path]
    wanted: dict[Place, Any] = {
        (*images, "sandbox_image") if old else (*images, "pinned_images", "sandbox"): pause_image,
        (*cni, "conf_dir"): cni_conf_dir,
        (*registry, "config_path"): ":".join(
            directories if HOSTS_DIRECTORY in directories else [HOSTS_DIRECTORY, *directories]
        ),
    }
    # kubelet drives cgroups through systemd, and whatever starts containers must do the same.
    for table in _cgroup_options(present, (*runtime, "containerd")):
        wanted[(*table, "SystemdCgroup")] = True
    directories = get(present, (*cni, "bin_dirs"))
    if directories is not None:
        wanted[(*cni, "bin_dirs")] = directories if cni_bin_dir in directories else [cni_bin_dir, *directories]
    else:
        wanted[(*cni, "bin_dir")] = cni_bin_dir
    return wanted


def _cgroup_options(present: dict[str, Any], containerd: Place) -> Iterator[Place]:
    """Yield the tables of options of every OCI runtime that has to be told how to drive cgroups."""
    runtimes = (*containerd, "runtimes")
    places = [(*runtimes, name) for name in get(present, runtimes) or {}]
    # Before containerd 2 two more could be described beside them; without a type they are none.
    places += [(*containerd, name) for name in ("default_runtime", "untrusted_workload_runtime")]
    for place in places:
        options = get(present, (*place, "options")) or {}
        if str(get(present, (*place, "runtime_type")) or "").startswith(RUNC) or "SystemdCgroup" in options:
            yield (*place, "options")


def registry_files(ca_certificates: dict[str, str], mirrors: dict[str, list[str]]) -> dict[str, str]:
    """Return the files below the hosts directory, content by path: one directory per registry.

    containerd reads them at each pull, so they need no restart.
    """
    files = {}
    for registry, certificate in ca_certificates.items():
        files[_authority(registry)] = registry_trust.marked(certificate)
    for registry in [*ca_certificates, *(name for name in mirrors if name not in ca_certificates)]:
        server = f"https://{'registry-1.docker.io' if registry == 'docker.io' else registry}"
        lines = [f'server = "{server}"']
        if registry in ca_certificates:
            # What the hosts below do not have is asked of the server itself, once more and by these words.
            lines.append(f'ca = "{_authority(registry)}"')
        # Asked in this order.
        for address in [*mirrors.get(registry, []), server]:
            lines += ["", f'[host."{address.rstrip("/")}"]']
            if address != server:
                lines.append('  capabilities = ["pull", "resolve"]')
            place = address.partition("://")[2].partition("/")[0]
            if place in ca_certificates:
                lines.append(f'  ca = "{_authority(place)}"')
        files[f"{HOSTS_DIRECTORY}/{registry}/hosts.toml"] = registry_trust.marked("\n".join(lines))
    return files


def _authority(registry: str) -> str:
    return f"{HOSTS_DIRECTORY}/{registry}/ca.crt"
