"""What Ansible's programs are started with: a clean environment and variables in private files."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bootstrap.adapters.content import collections_path, content_root, programs_directory
from bootstrap.errors import UsageError

# ansible-runner writes the environment of the run to a file, so nothing gets in that Ansible has no use for.
_KEPT = {
    "HOME",
    "USER",
    "LOGNAME",
    "TERM",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    # Which file kubectl writes to, and who types the command that leads there.
    "KUBECONFIG",
    "SUDO_UID",
    "ANSIBLE_BECOME_PASSWORD_FILE",
    "ANSIBLE_CONNECTION_PASSWORD_FILE",
    "ANSIBLE_PRIVATE_KEY_FILE",
    "ANSIBLE_REMOTE_USER",
}
_KEPT_PREFIXES = ("ANSIBLE_VAULT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "AWS_", "GOOGLE_", "AZURE_", "OS_")
_USER_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections"


def clean_environment() -> dict[str, str]:
    """Return the environment for Ansible's programs: ours first on the PATH, our configuration, our collection."""
    kept = {
        name: value for name, value in os.environ.items() if name in _KEPT or name.upper().startswith(_KEPT_PREFIXES)
    }
    return kept | {
        "PATH": f"{programs_directory()}:{os.environ.get('PATH', os.defpath)}",
        # Ansible refuses to start where the locale is not UTF-8.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(content_root() / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{collections_path()}:{_USER_COLLECTIONS}",
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_DEPRECATION_WARNINGS": "False",
    }


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner can read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def extra_vars_files(extra_vars: Sequence[str], directory: Path) -> list[Path]:
    """Turn every `-e` into a file, because arguments are visible to everybody on the machine.

    Raises:
        UsageError: When one of them cannot be read.
    """
    files = []
    for index, text in enumerate(extra_vars):
        if text.startswith("@"):
            path = Path(text[1:]).expanduser().absolute()
            if not path.is_file():
                raise UsageError(f"-e {text}: there is no file {path}; correct the path")
            files.append(path)
        else:
            files.append(write_private(directory / f"extra-vars-{index}.json", json.dumps(_parsed(text))))
    return files


def _parsed(text: str) -> Mapping[str, Any]:
    shown = text.partition("=")[0]
    if text.lstrip().startswith(("{", "[")):
        try:
            data = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"-e {shown}: neither JSON nor YAML; quote it as in -e '{{\"name\": [1, 2]}}'") from error
        if not isinstance(data, dict):
            raise UsageError(f"-e {shown}: must be a mapping, as in -e '{{\"name\": [1, 2]}}'")
        return data
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError as error:
        raise UsageError(f"-e {shown}: a quote is not closed") from error
    for name, equals, _ in pairs:
        if not equals or not name:
            raise UsageError(f"-e {shown}: is no variable; write name=value, JSON, or @file")
    return {name: value for name, _, value in pairs}
