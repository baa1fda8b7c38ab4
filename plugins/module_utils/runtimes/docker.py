"""Docker's daemon.json: read as dockerd reads it, what Kubernetes needs in it, and what it must not say.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import codecs
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, blocker
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import execute

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ansible.module_utils.basic import AnsibleModule

SOCKET = "unix:///run/cri-dockerd.sock"
OLDEST = (25,)
"""The first one that a maintained cri-dockerd can talk to."""
CRI_DOCKERD_UNIT = "/etc/systemd/system/cri-docker.service"
CRI_DOCKERD_HOME = Path("/usr/local/lib/cri-dockerd")
DAEMON_JSON = "/etc/docker/daemon.json"
# What the inventory asked for the last time, so that it can be taken back.
LAST_ASKED = "/etc/kubestrap/docker-settings.json"
# kubelet drives cgroups through systemd, and Docker must do the same; `kubectl logs` reads json-file.
CGROUP_DRIVER = "native.cgroupdriver"
LOG_DRIVER = "json-file"
LOG_LIMITS = {"max-size": "100m", "max-file": "3"}
# Options of json-file, and those of every driver (Docker's page on each of its logging drivers).
LOG_OPTIONS = {
    "max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag",
    "mode", "max-buffer-size", "cache-disabled", "cache-max-size", "cache-max-file", "cache-compress",
}  # fmt: skip
# What dockerd takes over on SIGHUP (its documentation of "configuration reload behavior"); anything else: restart.
RELOADABLE = {
    "authorization-plugins", "debug", "default-runtime", "features", "insecure-registries", "labels", "live-restore",
    "max-concurrent-downloads", "max-concurrent-uploads", "max-download-attempts", "registry-mirrors", "runtimes",
    "shutdown-timeout",
}  # fmt: skip
# Shapes of what is looked at or changed here; dockerd knows those of the rest (`dockerd --validate`).
SHAPES: dict[str, type] = {
    "exec-opts": list, "log-driver": str, "log-opts": dict, "registry-mirrors": list, "insecure-registries": list,
    "hosts": list, "userns-remap": str, "live-restore": bool, "data-root": str, "runtimes": dict,
    "default-runtime": str,
}  # fmt: skip
LISTS = {key for key, shape in SHAPES.items() if shape is list}
NAMES = {list: "a list", dict: "an object", str: "a text", bool: "true or false", int: "a number", float: "a number"}
# Flags of dockerd that are called otherwise than their key; the rest is called the same. Runtimes may be in both.
FLAGS = {
    "H": "hosts", "host": "hosts", "exec-opt": "exec-opts", "log-opt": "log-opts", "dns-opt": "dns-opts",
    "label": "labels", "registry-mirror": "registry-mirrors", "insecure-registry": "insecure-registries",
    "storage-opt": "storage-opts", "default-ulimit": "default-ulimits",
    "authorization-plugin": "authorization-plugins", "g": "data-root", "s": "storage-driver", "D": "debug",
    "G": "group", "l": "log-level", "b": "bridge", "p": "pidfile",
}  # fmt: skip
USERNS_REMAP = "docker-userns-remap"
# Containers of pods; the others are the person's own.
POD_LABEL = "io.kubernetes.pod.name"
# How packages start dockerd, where there is no unit yet.
USUAL_COMMAND = ["dockerd", "-H", "fd://", "--containerd=/run/containerd/containerd.sock"]


class SettingsError(Exception):
    """daemon.json is not what dockerd takes; says which key, and what to write."""


class Container(NamedTuple):
    """A running container that is not Kubernetes' own."""

    identity: str
    name: str
    image: str
    removed: bool
    """Whether Docker removes it as soon as it stops (--rm)."""


def read(path: str = DAEMON_JSON) -> dict[str, Any]:
    """Return the settings in a file, none when there is no file.

    Raises:
        SettingsError: dockerd would not take it.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        return {}
    except IsADirectoryError:
        raise SettingsError(f"{path} is a directory. Move it away.") from None
    try:
        return parse(content)
    except SettingsError as error:
        raise SettingsError(f"{path} {error}") from None


def parse(content: bytes) -> dict[str, Any]:
    """Return the settings in the content of daemon.json; nothing, blanks and `null` are none, as for dockerd.

    Raises:
        SettingsError: It is no JSON, a key is there twice, or has a value of another shape than dockerd takes.
    """
    try:
        text = _decoded(content).strip()
    except UnicodeDecodeError as error:
        raise SettingsError(f"is no UTF-8 text (byte {error.start + 1}). Write it as UTF-8.") from None
    try:
        settings = json.loads(text, object_pairs_hook=_without_twins, parse_constant=_no_number) if text else None
    except RecursionError:
        raise SettingsError("has too many levels.") from None
    except ValueError as error:
        raise SettingsError(f"is not valid JSON ({error}). Correct or remove the file.") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise SettingsError(
            f'holds {NAMES[type(settings)]}, and Docker takes an object only: {{"KEY": VALUE, ...}}. '
            "Correct or remove the file."
        )
    # dockerd takes null for "not said".
    settings = {key: value for key, value in settings.items() if value is not None}
    check_shapes(settings)
    return settings


def check_shapes(settings: dict[str, Any]) -> None:
    """Raise SettingsError when a setting has a value of another shape than dockerd takes; None is "not said"."""
    for key, value in settings.items():
        if value is not None:
            _check_shape(key, value)


def merged(present: dict[str, Any], wanted: dict[str, Any], *, made_by_hand: bool = False) -> dict[str, Any]:
    """Return what daemon.json should hold: what it holds, what Kubernetes needs, and over both what the user wants.

    A list that is wanted replaces the one that is there; only mirrors are added, before those of others.

    Args:
        present: What it holds.
        wanted: What the user wants.
        made_by_hand: The host is a node that was made without us: with what it holds it works, and another setting
            would stop all of its containers.
    """
    settings = dict(present)
    if not made_by_hand:
        settings.update(_needed(present))
    settings = deep_merge(settings, wanted)
    if "registry-mirrors" in wanted:
        others = [one for one in present.get("registry-mirrors", []) if one not in wanted["registry-mirrors"]]
        settings["registry-mirrors"] = [*wanted["registry-mirrors"], *others]
    return settings


def _needed(present: dict[str, Any]) -> dict[str, Any]:
    """Return what Kubernetes needs: the driver of control groups, and logs that end."""
    options = [option for option in present.get("exec-opts", []) if not option.startswith(f"{CGROUP_DRIVER}=")]
    log_options = present.get("log-opts", {})
    # Without a driver they are those of json-file, which is Docker's own choice.
    if present.get("log-driver", LOG_DRIVER) != LOG_DRIVER:
        # One that only another driver knows would keep containers from starting.
        log_options = {key: value for key, value in log_options.items() if key in LOG_OPTIONS}
    return {
        "exec-opts": [*options, f"{CGROUP_DRIVER}=systemd"],
        "log-driver": LOG_DRIVER,
        "log-opts": {**LOG_LIMITS, **log_options},
    }


def without_withdrawn(present: dict[str, Any], before: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Return settings without what the inventory asked for the last time and asks for no more.

    Of a list only the entries it gave go; what somebody changed since stays.
    """
    result = dict(present)
    for key, value in before.items():
        now, wanted = result.get(key), asked.get(key)
        if key not in result or wanted == value:
            continue
        if isinstance(value, dict) and isinstance(now, dict):
            rest: Any = without_withdrawn(now, value, wanted if isinstance(wanted, dict) else {})
        elif isinstance(value, list) and isinstance(now, list):
            kept = wanted if isinstance(wanted, list) else []
            rest = [entry for entry in now if entry not in value or entry in kept]
        else:
            rest = None if now == value else now
        if rest or rest is False or rest == 0:
            result[key] = rest
        else:
            del result[key]
    return result


def deep_merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return objects merged key by key; anything else from above replaces what is below."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = deep_merge(result[key], value)
        else:
            result[key] = value
    return result


def only_reload(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Tell whether dockerd takes over the difference without a restart."""
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return bool(changed) and changed <= RELOADABLE


def asked_settings(settings: dict[str, Any], mirrors: list[str]) -> dict[str, Any]:
    """Return what the inventory says of daemon.json; settings count more than the list of mirrors."""
    return {**({"registry-mirrors": mirrors} if mirrors else {}), **settings}


def last_asked() -> dict[str, Any]:
    """Return what the inventory asked for when this host was converged the last time."""
    try:
        before = json.loads(read_text(LAST_ASKED) or "{}")
    except ValueError:
        return {}
    return before if isinstance(before, dict) else {}


def refusals(settings: dict[str, Any], flags: Iterable[str]) -> list[Finding]:
    """Return what keeps Docker or Kubernetes from working with these settings.

    Args:
        settings: What daemon.json is to say.
        flags: The command line of dockerd in its unit.
    """
    command = list(flags)
    remap = settings.get("userns-remap")
    in_unit = remap is None and "userns-remap" in keys_of(command)
    found = []
    if remap or in_unit:
        where = "--userns-remap in the unit of Docker" if in_unit else f'"userns-remap": "{remap}" in {DAEMON_JSON}'
        evidence = (
            f"Docker gives containers users of their own ({where}), and pods that share the network of the host, as "
            "those of Kubernetes itself do, cannot start with that."
        )
        fix = (
            "Take userns-remap out (what Docker made with it, images and containers, is then out of sight, not gone), "
            "or use containerd on this host (cluster_container_runtime: containerd)."
        )
        found.append(blocker("docker-userns-remap", evidence, fix))
    twice = sorted(keys_of(command) & settings.keys())
    if twice:
        names, both = ", ".join(twice), "is" if len(twice) == 1 else "are"
        evidence = (
            f"{names} {both} said in {DAEMON_JSON} (by now, or with what Kubernetes needs), and on the command line of "
            f"dockerd as well ({_flags(command, twice)} in ExecStart of docker.service): it does not start with that."
        )
        fix = (
            f"Say {names} in one place: take it out of {DAEMON_JSON}, or start dockerd without the flag (`systemctl "
            "edit docker.service`, with an empty ExecStart= before the new one)."
        )
        found.append(blocker("docker-settings-twice", evidence, fix))
    return found


def keys_of(command: Iterable[str]) -> set[str]:
    """Return the keys of daemon.json that a command line of dockerd sets."""
    keys = set()
    for word in command:
        found = re.fullmatch(r"--([a-z0-9-]+)(?:=.*)?|-([A-Za-z])(?:.*)", word, re.DOTALL)
        if found:
            name = found[1] or found[2]
            keys.add(FLAGS.get(name, name))
    return keys - {"config-file"}


def command_line(module: AnsibleModule) -> list[str]:
    """Return how systemd would start dockerd, variables of the unit filled in."""
    code, stdout, _ = execute(
        module, ["systemctl", "show", "docker.service", "--property", "ExecStart,Environment,EnvironmentFiles"]
    )
    properties = dict(line.split("=", 1) for line in stdout.splitlines() if "=" in line) if code == 0 else {}
    found = re.search(r"argv\[\]=(.*?) ;", properties.get("ExecStart", ""))
    if not found:
        return USUAL_COMMAND
    variables = _assignments(properties.get("Environment", ""))
    for path in re.findall(r"(\S+) \(ignore_errors=", properties.get("EnvironmentFiles", "")):
        lines = (read_text(path) or "").splitlines()
        for line in lines:
            if not line.lstrip().startswith(("#", ";")):
                variables.update(_assignments(line))
    words: list[str] = []
    for word in found[1].split():
        single = re.fullmatch(r"\$(\w+)", word)
        if single:
            words += variables.get(single[1], "").split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda name: variables.get(name[1], ""), word))
    return words


def own_containers(module: AnsibleModule) -> list[Container]:
    """Return what runs on Docker and is not of Kubernetes, the oldest first; none where no Docker answers."""
    identities = ask(module, "ps", "--no-trunc", "--quiet").split()
    if not identities:
        return []
    form = (
        "{{.Id}}\t{{.Name}}\t{{.Config.Image}}\t{{.HostConfig.AutoRemove}}\t"
        f'{{{{with .Config.Labels}}}}{{{{index . "{POD_LABEL}"}}}}{{{{end}}}}'
    )
    containers = []
    # One that ended meanwhile is an error, and the others are told all the same.
    for line in ask(module, "inspect", "--type", "container", "--format", form, *reversed(identities)).splitlines():
        identity, name, image, removed, pod = [*line.split("\t"), "", "", "", ""][:5]
        if name and pod in {"", "<no value>"}:
            containers.append(Container(identity, name.lstrip("/"), image, removed == "true"))
    return containers


def survives_restart(module: AnsibleModule) -> bool:
    """Tell whether the Docker that runs leaves containers alone when it is restarted (live-restore)."""
    return ask(module, "info", "--format", "{{.LiveRestoreEnabled}}").strip() == "true"


def own_cri_dockerd(kubelet: str) -> bool:
    """Tell whether a kubelet with these settings speaks to a cri-dockerd that is not kubestrap's."""
    return "cri-dockerd" in kubelet and f"{CRI_DOCKERD_HOME}/" not in (read_text(CRI_DOCKERD_UNIT) or "")


def ask(module: AnsibleModule, *arguments: str) -> str:
    """Return what `docker` prints, within a minute; empty without a Docker that answers."""
    _, stdout, _ = execute(module, ["docker", *arguments])
    return str(stdout)


def _decoded(content: bytes) -> str:
    # dockerd strips a byte order mark and goes by it (loadDaemonCliConfig, since 23.0).
    for mark, encoding in (
        (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")
    ):  # fmt: skip
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode("utf-8")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twins = sorted({key for key in keys if keys.count(key) > 1})
    if twins:
        raise ValueError(f"{', '.join(twins)} is there twice; which of them counts is not clear: leave one")
    return dict(pairs)


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _check_shape(key: str, value: Any) -> None:
    shape = SHAPES.get(key)
    if shape and not (isinstance(value, shape) and not (shape is not bool and isinstance(value, bool))):
        raise SettingsError(f'has {NAMES[type(value)]} as "{key}", and Docker takes {NAMES[shape]} there.')
    items = enumerate(value, 1) if key in LISTS else value.items() if key == "log-opts" else ()
    for name, item in items:
        if not isinstance(item, str):
            example = f", such as {json.dumps(str(item))}" if isinstance(item, (int, float)) else ""
            kind = "null" if item is None else NAMES[type(item)]
            raise SettingsError(f'has {kind} in "{key}" ({name}), and Docker takes texts there{example}.')


def _assignments(text: str) -> dict[str, str]:
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    return dict(word.split("=", 1) for word in words if "=" in word)


def _flags(command: list[str], keys: list[str]) -> str:
    # Without values: there may be passwords in them.
    return ", ".join(word.partition("=")[0] for word in command if keys_of([word]) & set(keys))
