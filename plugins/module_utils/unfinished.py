"""The mark of an init or join that is under way: the only proof that what is on a host may be thrown away.

It is written, to the disk and not only to its cache, before kubeadm starts, and removed after kubeadm's last phase.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import (
    read_text,
    write_atomically,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.disk import sync_directory
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError

MARK = f"{kubeadm.KUBERNETES}/kubestrap/unfinished.json"
# What a shell adds to the number of the signal that ended a program.
SHELL_KILLED = 128


@dataclass(frozen=True)
class Mark:
    """What was begun here.

    Attributes:
        what: `init`, `join`, or `reset` when their remains are being removed.
        node: Name of the node it is to make.
        address: Address of the host at that time.
        kept: Files of the person's that were here before, such as a CA of theirs.
        since: With `reset`, when that was begun whose remains these are, in nanoseconds; 0 for the time of the mark.
    """

    what: str
    node: str
    address: str
    kept: tuple[str, ...] = ()
    since: int = 0


def write(mark: Mark) -> None:
    """Write the mark, so that it is there after a power cut too."""
    write_atomically(MARK, json.dumps(asdict(mark), indent=1, sort_keys=True) + "\n", mode=0o600)
    # The directory may be new, too.
    sync_directory(Path(MARK).parent.parent)


def read() -> Optional[Mark]:
    """Return the mark; None when there is none, or none that can be read: then nothing is proved."""
    try:
        data = json.loads(read_text(MARK) or "")
        return Mark(
            what=data["what"],
            node=data["node"],
            address=data["address"],
            kept=tuple(data["kept"]),
            since=int(data.get("since", 0)),
        )
    except (ValueError, KeyError, TypeError):
        return None


def written() -> int:
    """Return when that was begun which the mark speaks of, in nanoseconds, as the file system says it of other files.

    What a reset removes is older than the mark of the reset itself.
    """
    mark = read()
    return (mark.since if mark else 0) or Path(MARK).stat().st_mtime_ns


def remove() -> None:
    """Remove the mark: what was begun is finished."""
    Path(MARK).unlink(missing_ok=True)
    if Path(MARK).parent.is_dir():
        sync_directory(Path(MARK).parent)


def run(*command: str, timeout: int) -> subprocess.CompletedProcess[str]:
    """Run the program that the mark speaks of; when it ends well, the mark goes, even if nobody waits for it any more.

    Args:
        command: The program and its arguments.
        timeout: Seconds.

    Raises:
        KubeadmError: when it does not end within that time. It goes on, and the next run waits for it.
    """
    try:
        done = kubeadm.run("sh", "-c", '"$@" && rm -f -- "$0"', MARK, *command, timeout=timeout)
    except KubeadmError:
        raise KubeadmError(f"{' '.join(command[:2])} did not end within {timeout} s.") from None
    if done.returncode > SHELL_KILLED:
        done.returncode = SHELL_KILLED - done.returncode
    return done
