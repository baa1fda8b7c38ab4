"""Packages of Debian and Ubuntu: what is installed, what could be, and installing it.

Not ansible.builtin.apt, because that needs python3-apt on the host (and installs it when missing), and because its
messages are apt's. Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import fcntl
import fnmatch
import os
import re
import struct
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.ledger import of_file
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import Package, Source
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import TIMED_OUT, execute, last_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
    from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import Proxy

NAME = "apt"
REFRESH = "apt-get update"
LISTS = Path("/var/lib/apt/lists")
LISTS_FRESH_SECONDS = 24 * 3600
SOURCES = "/etc/apt/sources.list.d"
SOURCES_LIST = Path("/etc/apt/sources.list")
KEYRINGS = "/etc/apt/keyrings"
# After whatever the distribution or a cloud put there.
PROXY = "/etc/apt/apt.conf.d/99kubestrap-proxy"
# Gone since March 2024, or a second entry for the same packages with another key: either makes apt refuse to refresh.
# The dead repository had one suite for every distribution, wherever it was mirrored.
STALE = re.compile(r"apt\.kubernetes\.io|\bkubernetes-xenial\b|pkgs\.k8s\.io/core:")
PREFERENCES = Path("/etc/apt/preferences")
# What its holder does. apt itself waits for dpkg's first lock alone.
LOCKS = {
    LISTS / "lock": "refreshes the lists of packages",
    Path("/var/cache/apt/archives/lock"): "downloads packages",
    Path("/var/lib/dpkg/lock-frontend"): "installs packages",
    Path("/var/lib/dpkg/lock"): "installs packages",
}
LOCKED = re.compile(r"Could not get lock|Unable to (lock|acquire)|is another process using it")
LOCK_SECONDS = 300
# Fetches one file as apt does.
HELPER = Path("/usr/lib/apt/apt-helper")
LOOK_OPTIONS = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=8", "-o", "Acquire::https::Timeout=8"]
LOOK_SECONDS = 20
# Shorter waits are nothing to talk about.
TOLD_SECONDS = 5
DEADLINE_SECONDS = 1800
# apt waits for whoever holds the lock (unattended-upgrades, cloud-init) instead of failing at once.
OPTIONS = [
    *("-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"),
    # A configuration file that somebody changed stays; dpkg would ask, and nobody is there to answer.
    *("-o", "DPkg::Options::=--force-confdef", "-o", "DPkg::Options::=--force-confold"),
]
ENVIRONMENT = {
    "DEBIAN_FRONTEND": "noninteractive",
    # needrestart would restart services by itself in the middle of an installation.
    "NEEDRESTART_SUSPEND": "1",
    "APT_LISTCHANGES_FRONTEND": "none",
}
NOT_IN_LISTS = re.compile(
    r"Unable to locate package|has no installation candidate|404 +Not Found|Version .* was not found"
)


def installed(module: AnsibleModule, names: Iterable[str]) -> dict[str, Package]:
    """Return those of the packages that are installed."""
    form = "${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\n"
    # Exit code 1 means that some name is unknown, which is an answer.
    _, text, _ = execute(module, ["dpkg-query", "--show", f"--showformat={form}", *names])
    found = {}
    for line in text.splitlines():
        words = line.split(" ")
        if words[-1] == "installed":
            found[words[0]] = Package(words[1], held=words[2] == "hold")
    return found


def available_versions(module: AnsibleModule, name: str) -> list[str]:
    """Return the versions of a package in apt's lists, newest first."""
    text = run(module, ["apt-cache", "madison", name], purpose=f"look up the versions of {name}")
    return [line.split("|")[1].strip() for line in text.splitlines() if line.count("|") > 1]


def candidate(module: AnsibleModule, name: str) -> str | None:
    """Return the version apt would install, None when it knows no such package."""
    text = run(module, ["apt-cache", "policy", name], purpose=f"look up {name}")
    match = re.search(r"^ +Candidate: (\S+)$", text, re.MULTILINE)
    return None if match is None or match[1] == "(none)" else match[1]


def upstream_version(version: str) -> tuple[int, ...]:
    """Return the numbers of a package's version without epoch and revision: 5:28.5.2-1~debian.13 is (28, 5, 2)."""
    return tuple(
        int(number) for number in re.findall(r"\d+", re.sub(r"^\d+:", "", version).split("+")[0].split("-")[0])
    )


def lists_are_fresh() -> bool:
    """Tell whether apt's lists were refreshed within a day."""
    if not any("_Packages" in entry.name for entry in LISTS.glob("*")):
        return False
    # Lists from the future are as old as the clock was wrong: nobody knows.
    return 0 <= time.time() - LISTS.stat().st_mtime < LISTS_FRESH_SECONDS


def holder(path: Path) -> Optional[str]:
    """Return who holds a lock of apt or dpkg, by program and process; None when nobody does."""
    try:
        with path.open("rb") as stream:
            asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            kind, _, _, _, process = struct.unpack("hhqqi4x", fcntl.fcntl(stream, fcntl.F_GETLK, asked))
    except OSError:
        return None
    if kind == fcntl.F_UNLCK:
        return None
    try:
        name = Path(f"/proc/{process}/comm").read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # In another container, or gone meanwhile.
        name = "another program"
    return f"{name} (process {process})"


def holders() -> dict[Path, str]:
    """Return who holds which lock at the moment."""
    found = {path: holder(path) for path in LOCKS}
    return {path: who for path, who in found.items() if who}


def busy() -> dict[str, str]:
    """Return who works with the packages at the moment, and what at."""
    return {who: LOCKS[path] for path, who in holders().items()}


def update(module: AnsibleModule, *, source: str | None = None) -> str:
    """Refresh apt's lists and return what apt complained about, empty when all went well.

    With one source file, only its lists are refreshed and the others are left alone.
    """
    only = [] if source is None else [
        "-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
    ]  # fmt: skip
    code, text = _apt_get(module, ["update", "-o", "APT::Update::Error-Mode=any", *only])
    return complaints(text) if code != 0 else ""


def available(module: AnsibleModule, name: str) -> str | None:
    """Return the version of a package that apt would install, after its lists were refreshed where they are old.

    None in check mode before a host's first refresh, when it knows no packages at all. Ends the module when there is no
    such package, with what apt says about that.
    """
    trouble = "" if lists_are_fresh() or module.check_mode else update(module)
    version = candidate(module, name)
    if version is None and not module.check_mode:
        trouble = trouble or update(module)
        version = candidate(module, name)
    if version is None and (not module.check_mode or pins(name)):
        if trouble:
            reason = f"apt cannot refresh its lists of packages, and knows no {name} without. apt says:\n{trouble}"
        elif found := pins(name):
            reason = f"apt may not install {name}: {found}. Raise that priority, or remove the entry."
        else:
            reason = (
                f"apt knows no package {name}, and has just refreshed its lists. Check the sources of apt on this host "
                f"({SOURCES}): the distribution's main ones, and universe on Ubuntu."
            )
        module.fail_json(msg=reason)
    return version


def pins(name: str, *, any_source: bool = False) -> str:
    """Return which entries of apt's preferences forbid a package (a priority below zero), with their files.

    Args:
        name: The package.
        any_source: Whether only those count that forbid it wherever it comes from: others may be about sources that
            have no such package.
    """
    found = []
    for path in (PREFERENCES, *sorted(PREFERENCES.with_name("preferences.d").glob("*"))):
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for entry in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(Package|Pin|Pin-Priority):\s*(.*?)\s*$", entry, re.MULTILINE | re.IGNORECASE))
            fields = {key.lower(): value for key, value in fields.items()}
            names = [word.partition(":")[0] for word in fields.get("package", "").split()]
            priority = fields.get("pin-priority", "")
            if any_source and not re.fullmatch(r"(release|version)\s+\*", fields.get("pin", "")):
                continue
            if re.fullmatch(r"-\d+", priority) and any(_is_meant(word, name) for word in names):
                found.append(f"{path} gives it the priority {priority}")
    return ", ".join(found)


def _is_meant(pattern: str, name: str) -> bool:
    if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
        try:
            return re.search(pattern[1:-1], name) is not None
        except re.error:
            return False
    return fnmatch.fnmatchcase(name, pattern)


def excluded(module: AnsibleModule, names: Iterable[str]) -> dict[str, list[str]]:
    """Return installed packages that say of themselves that they go with none of these: who, and with whom not.

    Known without lists of packages, so on a host that never had any. What excludes only some versions is left to apt.
    """
    wanted = set(names)
    form = "${Package}\t${db:Status-Status}\t${Conflicts}, ${Breaks}\n"
    _, text, _ = execute(module, ["dpkg-query", "--show", f"--showformat={form}"])
    found = {}
    for line in text.splitlines():
        package, status, others = line.split("\t")
        named = sorted(wanted & {re.sub(r":\w+$", "", other.strip()) for other in others.split(",")})
        if status == "installed" and named and package not in wanted:
            found[package] = named
    return found


def unreachable_sources(module: AnsibleModule) -> tuple[int, dict[str, str]]:
    """Return how many sources apt has on the network, and what it says about those it cannot read, by their address.

    Only the first file of each is fetched, the way apt fetches it (proxy, logins), to a directory that goes again.
    """
    _, listing, _ = execute(module, ["apt-get", "update", "--print-uris"], environ_update=ENVIRONMENT)
    urls = re.findall(r"^'(https?://[^']+/InRelease)'", listing, re.MULTILINE)
    if not urls or not HELPER.exists():
        return 0, {}
    with tempfile.TemporaryDirectory(prefix="kubestrap-") as directory:
        pairs = [word for number, url in enumerate(urls) for word in (url, f"{directory}/{number}")]
        command = [HELPER, *LOOK_OPTIONS, "download-file", *pairs]
        code, stdout, stderr = execute(module, command, seconds=LOOK_SECONDS, environ_update=ENVIRONMENT)
    if code == 0:
        return len(urls), {}
    if code == TIMED_OUT:
        return len(urls), dict.fromkeys(urls, f"no complete answer within {LOOK_SECONDS} s")
    failed = dict(re.findall(r"^E: Failed to fetch (\S+)\s+(.*?)\s*$", stdout + stderr, re.MULTILINE))
    return len(urls), failed or dict.fromkeys(urls, complaints(stdout + stderr))


def simulate(module: AnsibleModule, wanted: Sequence[str]) -> tuple[list[str], str]:
    """Return the installed packages that apt would remove to install others, and why it could not install them."""
    # Only looks: no lock, no root, nothing downloaded.
    command = ["apt-get", "install", "--simulate", "-q", "-y", "--no-install-recommends", "--", *wanted]
    code, stdout, stderr = execute(module, command, environ_update=ENVIRONMENT)
    return re.findall(r"^Remv (\S+)", stdout, re.MULTILINE), complaints(stdout + stderr) if code else ""


def install(module: AnsibleModule, wanted: Sequence[str], *, change_version: bool = False) -> None:
    """Install packages (`name` or `name=version`) in one transaction, without recommended ones, removing none.

    The lists are refreshed first when they are old, or afterwards when they turn out to be. A source that cannot be
    refreshed matters only when the installation fails: a host may have sources that have nothing to do with this.

    Args:
        module: The running module.
        wanted: The packages.
        change_version: Whether installed and held packages may get another version.
    """
    trouble = "" if lists_are_fresh() else update(module)
    allow = ["--allow-change-held-packages", "--allow-downgrades"] if change_version else []
    arguments = ["install", "--no-install-recommends", "--no-remove", *allow, "--", *wanted]
    code, text = _apt_get(module, arguments)
    if code != 0 and NOT_IN_LISTS.search(text):
        trouble = update(module)
        code, text = _apt_get(module, arguments)
    if code != 0:
        _fail_installation(module, wanted, text, trouble)


def _apt_get(module: AnsibleModule, arguments: Sequence[str]) -> tuple[int, str]:
    """Run apt-get when nobody holds a lock that it does not wait for itself; return its exit code and all it said."""
    until = time.monotonic() + LOCK_SECONDS
    seen: dict[str, float] = {}
    while True:
        while (held := holders()) and time.monotonic() < until:
            for path, who in held.items():
                seen.setdefault(f"{who}, which {LOCKS[path]}", time.monotonic())
            time.sleep(1)
        # Killed only when it hangs for good: dpkg would be in the middle of something.
        command = ["apt-get", arguments[0], *OPTIONS, *arguments[1:]]
        code, stdout, stderr = execute(module, command, seconds=DEADLINE_SECONDS, environ_update=ENVIRONMENT)
        if code != 0 and LOCKED.search(stdout + stderr) and time.monotonic() < until:
            # Somebody was faster.
            time.sleep(1)
            continue
        for who, since in seen.items():
            if time.monotonic() - since > TOLD_SECONDS:
                module.warn(f"Waited for {who} on this host.")
        return code, stdout + stderr


def without_stale_entries(text: str, url: str, *, deb822: bool) -> str:
    """Return a source file of apt without other entries for Kubernetes; empty when nothing else is in it.

    Args:
        text: The file.
        url: The repository in use, which must not be in a second file.
        deb822: Whether the file is in the style of paragraphs (.sources) instead of lines (.list).
    """
    entries = re.split(r"\n\s*\n", text.strip("\n")) if deb822 else text.splitlines()
    kept = [entry for entry in entries if not _is_stale(entry, url)]
    if kept == entries:
        return text
    if not any(line.strip() and not line.lstrip().startswith("#") for entry in kept for line in entry.splitlines()):
        return ""
    return ("\n\n" if deb822 else "\n").join(kept) + "\n"


def _is_stale(entry: str, url: str) -> bool:
    active = "\n".join(line for line in entry.splitlines() if not line.lstrip().startswith("#"))
    return url.rstrip("/") in active or STALE.search(active) is not None


def disable_other_sources(changes: Changes, ours: str, url: str) -> None:
    """Take other entries for Kubernetes out of apt's sources; a file with nothing else is moved aside.

    Args:
        changes: What the module changes.
        ours: The file of the repository in use.
        url: Its address, which must not be in a second file.
    """
    for path in [SOURCES_LIST, *sorted(Path(SOURCES).glob("*.list")), *sorted(Path(SOURCES).glob("*.sources"))]:
        text = read_text(str(path))
        if text is None or str(path) == ours:
            continue
        kept = without_stale_entries(text, url, deb822=path.suffix == ".sources")
        if not kept and text and path != SOURCES_LIST:
            # apt passes over this ending without a word.
            aside = path.with_name(f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}.disabled")
            changes.act(
                str(path),
                partial(path.rename, aside),
                before="read by apt\n",
                after=f"moved to {aside}\n",
                was=[of_file(str(path))],
            )
        elif kept != text:
            changes.file(str(path), kept, keep=True)


def source(*, name: str, url: str, suite: str, components: str) -> Source:
    """Return how a repository is described: one file in the style of paragraphs, with the key it must be signed by."""
    key = f"{KEYRINGS}/{name}.asc"
    lines = ["Types: deb", f"URIs: {url}", f"Suites: {suite}"]
    if components:
        lines.append(f"Components: {components}")
    lines.append(f"Signed-By: {key}")
    return Source(key, f"{SOURCES}/{name}.sources", "\n".join(lines) + "\n")


def use_proxy(changes: Changes, proxy: Proxy) -> None:
    """Let apt use a proxy from now on, so that security updates arrive; without one, the file goes."""
    if not proxy:
        changes.absent(PROXY)
        return
    lines = [f'Acquire::{scheme}::Proxy "{address}";' for scheme, address in proxy.addresses.items()]
    # apt knows single names and addresses only.
    lines += [
        f'Acquire::{scheme}::Proxy::{name} "DIRECT";'
        for scheme in proxy.addresses
        for name in proxy.no_proxy
        if not name.startswith((".", "*")) and "/" not in name and ":" not in name
    ]
    changes.file(PROXY, "".join(f"{line}\n" for line in lines), mode=proxy.mode)


def exactly(name: str, version: str) -> str:
    """Return how `install` is told which version of a package."""
    return f"{name}={version}"


def hold(module: AnsibleModule, names: Iterable[str]) -> None:
    """Protect packages from upgrades."""
    selections = "".join(f"{name} hold\n" for name in names)
    run(module, ["dpkg", "--set-selections"], purpose="hold packages", stdin=selections)


def complaints(text: str) -> str:
    """Return apt's errors and warnings, or the end of its output when it names none."""
    lines = [
        line
        for line in text.splitlines()
        if re.match(r"[EW]: |dpkg: error|Err:| +\S+ : (Depends|Conflicts|Breaks)", line)
    ]
    return last_lines("\n".join(lines) if lines else text)


def _fail_installation(module: AnsibleModule, wanted: Sequence[str], text: str, trouble: str) -> NoReturn:
    advice = ""
    names = [word.partition("=")[0] for word in wanted]
    if LOCKED.search(text):
        held = "; ".join(f"{who} {what}" for who, what in busy().items())
        advice = (
            f" Another program works with the packages of this host, since {LOCK_SECONDS} s or more"
            f"{f': {held}' if held else ''}. Wait until it is done and run again."
        )
    elif "remove is disabled" in text:
        going, _ = simulate(module, wanted)
        advice = (
            f" apt would have to remove {', '.join(going) or 'other packages'} for that, and nobody asked for it. "
            "Nothing was changed. Take another container runtime (cluster_container_runtime) if that goes with it; or "
            f"remove it yourself if nobody needs it (it names {', '.join(names)} as what it conflicts with)."
        )
    elif "no installation candidate" in text and any(map(pins, names)):
        advice = f" {'; '.join(filter(None, map(pins, names)))}."
    elif "held broken packages" in text:
        advice = " Installed packages stand in the way: see which below."
    elif "No space left on device" in text or "enough free space" in text:
        advice = " The disk is full: make room and run again."
    elif "dpkg --configure -a" in text:
        advice = " An earlier installation was interrupted: run `dpkg --configure -a` on the host."
    module.fail_json(
        msg=f"Cannot install {', '.join(wanted)}.{advice} apt says:\n{complaints(text)}"
        + (f"\nBefore that, its lists could not be refreshed:\n{trouble}" if trouble else "")
    )
    raise AssertionError  # fail_json does not return
