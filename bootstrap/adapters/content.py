"""Where playbooks and roles are: in the wheel, or in the checkout."""

import sysconfig
from importlib.machinery import SourceFileLoader
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import Any

COLLECTION = Path("ansible_collections/kubestrap/cluster")


def content_root() -> Path:
    """Return the directory that holds ansible.cfg: the wheel's copy, else the checkout."""
    package = Path(str(files("bootstrap")))
    packaged = package / "_ansible"
    return packaged if packaged.is_dir() else package.parent


def collections_path() -> Path:
    """Return what ANSIBLE_COLLECTIONS_PATH must name."""
    root = content_root()
    return root if (root / COLLECTION).is_dir() else root / "collections"


def collection() -> Path:
    """Return the directory of the collection `kubestrap.cluster`."""
    return collections_path() / COLLECTION


def collection_module(name: str) -> Any:
    """Return a module of the collection that also runs on this machine: one judge for the program and for Ansible."""
    loader = SourceFileLoader(f"kubestrap_{name}", str(collection() / f"plugins/module_utils/{name}.py"))
    module = ModuleType(loader.name)
    loader.exec_module(module)
    return module


def programs_directory() -> Path:
    """Return where ansible-playbook and ansible-inventory of this very environment are."""
    return Path(sysconfig.get_path("scripts"))
