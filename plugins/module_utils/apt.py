"""Packages of Debian and Ubuntu: what is installed, what could be, and installing it.

Not ansible.builtin.apt, because that needs python3-apt on the host (and installs it when missing), and because its
messages are apt's. Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ansible_collections.kubestrap.cluster.plugins.module_utils.commands import last_lines, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ansible.module_utils.basic import AnsibleModule
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

LISTS = Path("/var/lib/apt/lists")
LISTS_FRESH_SECONDS = 24 * 3600
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
    "LC_ALL": "C.UTF-8",
}
NOT_IN_LISTS = re.compile(
    r"Unable to locate package|has no installation candidate|404 +Not Found|Version .* was not found"
)


class Package:
    """One package as dpkg knows it."""

    def __init__(self, version: str, *, held: bool) -> None:
        """Hold the installed version and whether it is protected from upgrades."""
        self.version = version
        self.held = held


def installed(module: AnsibleModule, names: Iterable[str]) -> dict[str, Package]:
    """Return those of the packages that are installed."""
    form = "${Package} ${Version} ${db:Status-Want} ${db:Status-Status}\n"
    # Exit code 1 means that some name is unknown, which is an answer.
    _, text, _ = module.run_command(["dpkg-query", "--show", f"--showformat={form}", *names])
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
    return time.time() - LISTS.stat().st_mtime < LISTS_FRESH_SECONDS


def update(module: AnsibleModule, *, source: str | None = None) -> str:
    """Refresh apt's lists and return what apt complained about, empty when all went well.

    With one source file, only its lists are refreshed and the others are left alone.
    """
    only = [] if source is None else [
        "-o", f"Dir::Etc::sourcelist={source}", "-o", "Dir::Etc::sourceparts=-", "-o", "APT::Get::List-Cleanup=0",
    ]  # fmt: skip
    command = ["apt-get", "update", *OPTIONS, "-o", "APT::Update::Error-Mode=any", *only]
    code, stdout, stderr = module.run_command(command, environ_update=ENVIRONMENT)
    return complaints(stdout + stderr) if code != 0 else ""


def install(module: AnsibleModule, wanted: Sequence[str], *, change_version: bool = False) -> None:
    """Install packages (`name` or `name=version`) in one transaction, without recommended ones.

    The lists are refreshed first when they are old, or afterwards when they turn out to be. A source that cannot be
    refreshed matters only when the installation fails: a host may have sources that have nothing to do with this.

    Args:
        module: The running module.
        wanted: The packages.
        change_version: Whether installed and held packages may get another version.
    """
    trouble = "" if lists_are_fresh() else update(module)
    allow = ["--allow-change-held-packages", "--allow-downgrades"] if change_version else []
    command = ["apt-get", "install", *OPTIONS, "--no-install-recommends", *allow, "--", *wanted]
    code, stdout, stderr = module.run_command(command, environ_update=ENVIRONMENT)
    if code != 0 and NOT_IN_LISTS.search(stdout + stderr):
        trouble = update(module)
        code, stdout, stderr = module.run_command(command, environ_update=ENVIRONMENT)
    if code != 0:
        _fail_installation(module, wanted, stdout + stderr, trouble)


def add(changes: Changes, missing: Sequence[str]) -> None:
    """Install the packages a host lacks, told as one change; none is fine."""
    if missing:
        changes.act(
            f"packages {' '.join(missing)}",
            lambda: install(changes.module, missing),
            before="not installed\n",
            after="installed\n",
        )


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
    if "Could not get lock" in text:
        advice = " Another program is installing packages on this host: wait until it is done and run again."
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
