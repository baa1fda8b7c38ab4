"""Where playbooks and roles are: in the wheel, or in the checkout."""

import sys
import sysconfig
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

COLLECTION = Path("ansible_collections/kubestrap/cluster")


def content_root() -> Path:
    """Return the directory that holds ansible.cfg: the wheel's copy, else the checkout."""
    package = Path(str(files("kubestrap")))
    packaged = package / "_ansible"
    return packaged if packaged.is_dir() else package.parent.parent


def collections_path() -> Path:
    """Return what ANSIBLE_COLLECTIONS_PATH must name."""
    root = content_root()
    return root if (root / COLLECTION).is_dir() else root / "collections"


def collection() -> Path:
    """Return the directory of the collection `kubestrap.cluster`."""
    return collections_path() / COLLECTION


def collection_module(name: str) -> Any:
    """Return a module of the collection that also runs on this machine: one judge for the program and for Ansible."""
    place = collections_path()
    package = ""
    # Such modules import each other by the name that Ansible gives them. These packages are ours, whatever else of
    # that name is installed.
    for part in (*COLLECTION.parts, "plugins", "module_utils"):
        place /= part
        package = f"{package}.{part}".lstrip(".")
        sys.modules.setdefault(package, ModuleType(package)).__dict__.setdefault("__path__", [str(place)])
    return import_module(f"{package}.{name}")


def programs_directory() -> Path:
    """Return where ansible-playbook and ansible-inventory of this very environment are."""
    return Path(sysconfig.get_path("scripts"))
