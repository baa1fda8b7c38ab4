"""containerd's configuration: read what it says it runs with, change single values, describe registries.

containerd prints its configuration in one regular form (`containerd config dump`, `config default`): a table per
header, a value per line. That is all that is read here; files that people wrote are read by containerd itself.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import re
from typing import Any, Optional

OLDEST = (1, 6)
"""The first one with the interface (CRI v1) that kubelet speaks."""
SOCKET = "unix:///run/containerd/containerd.sock"
HOSTS_DIRECTORY = "/etc/containerd/certs.d"
CRI_PLUGINS = {
    "cri",
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
}
# What a version of the format calls the parts of the CRI plugin; the second is that of containerd 2.
OLD = 'plugins."io.containerd.grpc.v1.cri"'
IMAGES, RUNTIME = 'plugins."io.containerd.cri.v1.images"', 'plugins."io.containerd.cri.v1.runtime"'

Key = tuple[str, str]
_HEADER = re.compile(r"\s*\[\[?(.+?)\]\]?\s*$")
_VALUE = re.compile(r"(\s*)([\w.\"'-]+)\s*=\s*(.*?)\s*$")


def parse_version(text: str) -> Optional[tuple[int, ...]]:
    """Return the numbers in what `containerd --version` prints, None when there are none."""
    found = re.search(r"\bv?(\d+)\.(\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else None


def parse(text: str) -> dict[Key, Any]:
    """Return the values of a configuration as containerd prints it, by table and key."""
    values, table = {}, ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            table = _plain(header[1])
        elif value := _VALUE.match(line):
            values[table, value[2].strip("\"'")] = literal(value[3])
    return values


def tables(text: str) -> list[str]:
    """Return the headers of a configuration as containerd prints it."""
    return [_plain(found[1]) for line in text.splitlines() if (found := _HEADER.match(line))]


def patched(text: str, wanted: dict[Key, Any]) -> str:
    """Return a configuration as containerd prints it with these values; missing keys and tables are added."""
    missing = dict(wanted)
    lines: list[str] = []
    table = ""

    def add_missing(indent: str) -> None:
        for key in [key for key in missing if key[0] == table]:
            lines.append(f"{indent}{key[1]} = {as_toml(missing.pop(key))}")

    indent = ""
    for line in text.splitlines():
        header = _HEADER.match(line)
        if header:
            blank = bool(lines) and not lines[-1].strip()
            if blank:
                lines.pop()
            add_missing(indent)
            if blank:
                lines.append("")
            table = _plain(header[1])
            indent = line[: len(line) - len(line.lstrip())] + "  "
        elif value := _VALUE.match(line):
            key = (table, value[2].strip("\"'"))
            if key in missing:
                line = f"{value[1]}{value[2]} = {as_toml(missing.pop(key))}"  # noqa: PLW2901
        lines.append(line)
    add_missing(indent)
    for table in dict.fromkeys(name for name, _ in missing):
        lines += ["", f"[{table}]"]
        add_missing("  ")
    return "\n".join(lines) + "\n"


def without_disabled_cri(text: str) -> str:
    """Return a file of any form in which the CRI plugin is not switched off; other plugins stay off."""
    head, rest = _split(text)

    def keep(found: re.Match[str]) -> str:
        names = re.findall(r"[\"']([^\"']*)[\"']", found[1])
        if CRI_PLUGINS.isdisjoint(names):
            return found[0]
        return f"disabled_plugins = {as_toml([name for name in names if name not in CRI_PLUGINS])}"

    return re.sub(r"(?m)^\s*disabled_plugins\s*=\s*\[([^\]]*)\]", keep, head) + rest


def imports(text: str) -> Optional[str]:
    """Return what a file of any form says it imports, as TOML; None when it does not say."""
    found = re.search(r"(?m)^\s*imports\s*=\s*(\[[^\]]*\])", _split(text)[0])
    return " ".join(found[1].split()) if found else None


def cri_is_disabled(values: dict[Key, Any]) -> bool:
    """Tell whether containerd runs without its interface for Kubernetes."""
    return not CRI_PLUGINS.isdisjoint(values.get(("", "disabled_plugins"), []))


def old_mirrors(text: str) -> list[str]:
    """Return the tables that describe registries in the form containerd does not accept beside the hosts directory."""
    return [
        table
        for table in tables(text)
        if ".registry.mirrors." in table or (".registry.configs." in table and table.endswith(".tls"))
    ]


def wanted_values(
    present: dict[Key, Any], *, pause_image: str, cni_conf_dir: str, cni_bin_dir: str, options_tables: list[str]
) -> dict[Key, Any]:
    """Return the values Kubernetes needs, in the names of the version that printed the present ones.

    Args:
        present: The values containerd runs with.
        pause_image: Image of the container that holds a pod's network.
        cni_conf_dir: Where pod networks leave their configuration.
        cni_bin_dir: Where the CNI plugins are.
        options_tables: Tables with the options of OCI runtimes, such as one that somebody added for GPUs.
    """
    old = int(present.get(("", "version"), 2)) < 3  # noqa: PLR2004
    images, runtime = (OLD, OLD) if old else (IMAGES, RUNTIME)
    sandbox = (images, "sandbox_image") if old else (f"{images}.pinned_images", "sandbox")
    cni, registry = f"{runtime}.cni", f"{images}.registry"
    runc = f"{runtime}.containerd.runtimes.runc.options"
    directories = [path for path in str(present.get((registry, "config_path"), "")).split(":") if path]
    wanted = {
        sandbox: pause_image,
        # kubelet drives cgroups through systemd, and whatever starts containers must do the same.
        (runc, "SystemdCgroup"): True,
        (cni, "conf_dir"): cni_conf_dir,
        (registry, "config_path"): ":".join(
            directories if HOSTS_DIRECTORY in directories else [HOSTS_DIRECTORY, *directories]
        ),
    }
    for table in options_tables:
        if (table, "SystemdCgroup") in present:
            wanted[table, "SystemdCgroup"] = True
    if (cni, "bin_dirs") in present:
        directories = present[cni, "bin_dirs"]
        wanted[cni, "bin_dirs"] = directories if cni_bin_dir in directories else [cni_bin_dir, *directories]
    else:
        wanted[cni, "bin_dir"] = cni_bin_dir
    return wanted


def registry_files(ca_certificates: dict[str, str], mirrors: dict[str, list[str]]) -> dict[str, str]:
    """Return the files below the hosts directory, content by path: one directory per registry.

    containerd reads them at each pull, so they need no restart.
    """
    files = {}
    for registry, certificate in ca_certificates.items():
        files[_authority(registry)] = certificate.rstrip() + "\n"
    for registry in [*ca_certificates, *(name for name in mirrors if name not in ca_certificates)]:
        server = f"https://{'registry-1.docker.io' if registry == 'docker.io' else registry}"
        lines = [f'server = "{server}"']
        # Asked in this order.
        for address in [*mirrors.get(registry, []), server]:
            lines += ["", f'[host."{address.rstrip("/")}"]']
            if address != server:
                lines.append('  capabilities = ["pull", "resolve"]')
            place = address.partition("://")[2].partition("/")[0]
            if place in ca_certificates:
                lines.append(f'  ca = "{_authority(place)}"')
        files[f"{HOSTS_DIRECTORY}/{registry}/hosts.toml"] = "\n".join(lines) + "\n"
    return files


def _authority(registry: str) -> str:
    return f"{HOSTS_DIRECTORY}/{registry}/ca.crt"


def literal(text: str) -> Any:
    """Return the value of a TOML literal as containerd prints it: string, boolean, number or a list of strings."""
    if text.startswith("["):
        return [single or json.loads(f'"{double}"') for single, double in re.findall(r"'([^']*)'|\"([^\"]*)\"", text)]
    if text.startswith("'"):
        return text.strip("'")
    try:
        return json.loads(text)
    except ValueError:
        return text


def as_toml(value: Any) -> str:
    """Return a string, boolean, number or list of strings as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(as_toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _split(text: str) -> tuple[str, str]:
    """Return what is before the first table, and the rest."""
    found = re.search(r"(?m)^[ \t]*\[", text)
    end = found.start() if found else len(text)
    return text[:end], text[end:]


def _plain(header: str) -> str:
    return header.strip().replace("'", '"')
