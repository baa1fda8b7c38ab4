"""What a container runtime is told to believe of registries: a directory for each registry, files of ours marked.

What leaves the inventory is taken back; what others put there stays.
Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.module_utils.common.validation import check_type_dict
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

# Readers of certificates skip what is outside of them, and a `#` is a comment in TOML.
MARK = "# Written by kubestrap"
HEADER = f"{MARK} from the inventory: it is written again when it differs, and goes when the registry leaves it.\n"
REGISTRY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
NAMES = ("ca.crt", "hosts.toml")


def by_registry(value: Any) -> dict[str, Any]:
    """Return a mapping by name:port of registries; the type of a parameter.

    Raises:
        TypeError: It is no mapping.
        ValueError: A key cannot be the name of a registry, and not of a directory for it.
    """
    found = dict(check_type_dict(value))
    for registry in found:
        if not REGISTRY.fullmatch(str(registry)):
            raise ValueError(f"{registry!r} must be the name:port of a registry, without https:// and without a path")
    return found


def authorities(value: Any) -> dict[str, str]:
    """Return CA certificates by registry; the type of a parameter, which is `no_log` in case it holds a key as well.

    Raises:
        TypeError: It is no mapping.
        ValueError: A key names no registry, or there is a private key: everybody on a host may read these files.
    """
    found = by_registry(value)
    for registry, certificate in found.items():
        if "PRIVATE KEY" in str(certificate):
            raise ValueError(
                f"what is given for {registry} holds a private key. Leave the certificate alone there; nothing was "
                "written to this host"
            )
    return found


AUTHORITIES = {"type": authorities, "default": {}, "no_log": True}


def marked(content: str) -> str:
    """Return the content of a file of ours."""
    return HEADER + content.strip() + "\n"


def converge(changes: Changes, directory: str, files: dict[str, str]) -> None:
    """Make the directory hold these files, content by path, and no other ones of ours.

    One of somebody else that says the same stays as it is; one that says something else is kept beside ours, with
    the date in its name, where no runtime reads it.
    """
    for path, content in files.items():
        present = read_text(path)
        if present is not None and not is_ours(present):
            if present.strip() == content[len(HEADER) :].strip():
                continue
            set_aside(changes, path)
        changes.file(path, content)
    for name in NAMES:
        for left in sorted(Path(directory).glob(f"*/{name}")):
            if str(left) not in files and is_ours(read_text(str(left)) or ""):
                changes.absent(str(left))
                if not changes.module.check_mode and not any(left.parent.iterdir()):
                    left.parent.rmdir()


def is_ours(content: str) -> bool:
    """Tell whether we wrote a file."""
    return content.startswith(MARK)


def set_aside(changes: Changes, path: str) -> None:
    """Keep a copy of somebody else's file before it is replaced."""
    copy = f"{path}.{time.strftime('%Y%m%dT%H%M%S')}"
    changes.act(copy, lambda: shutil.copy2(path, copy), after=f"as {path} was\n")
