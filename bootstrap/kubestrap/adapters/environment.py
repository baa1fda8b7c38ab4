"""What Ansible's programs are started with: a clean environment and variables in private files."""

import json
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from kubestrap.adapters.content import collections_path, content_root, programs_directory
from kubestrap.errors import UsageError

_USER_COLLECTIONS = "~/.ansible/collections:/usr/share/ansible/collections"

KEPT_OUT = frozenset(
    f"ANSIBLE_{name}"
    for name in (
        # What is run, and in which order.
        "CONFIG", "INVENTORY", "PLAYBOOK_DIR", "PLAYBOOK_VARS_ROOT", "ROLES_PATH", "LIBRARY", "MODULE_UTILS",
        "ACTION_PLUGINS", "CONNECTION_PATH", "TRANSPORT", "EXECUTABLE", "STRATEGY", "STRATEGY_PLUGINS", "FORKS",
        "RUN_TAGS", "SKIP_TAGS", "ANY_ERRORS_FATAL", "FORCE_HANDLERS", "TASK_TIMEOUT", "POLL_INTERVAL", "MODULE_ARGS",
        "ENABLE_TASK_DEBUGGER", "BECOME", "BECOME_USER", "BECOME_ALLOW_SAME_USER",
        # What variables and templates mean.
        "GATHERING", "FACTS_MODULES", "HASH_BEHAVIOUR", "PRECEDENCE", "PRIVATE_ROLE_VARS", "INJECT_FACT_VARS",
        "INJECT_INVOCATION", "JINJA2_EXTENSIONS", "JINJA2_NATIVE", "NULL_REPRESENTATION", "ERROR_ON_UNDEFINED_VARS",
        "ALLOW_BROKEN_CONDITIONALS", "CACHE_PLUGIN", "CACHE_PLUGINS", "CACHE_PLUGIN_CONNECTION", "CACHE_PLUGIN_PREFIX",
        "CACHE_PLUGIN_TIMEOUT", "INVENTORY_ANY_UNPARSED_IS_FAILED", "INVENTORY_UNPARSED_FAILED",
        "INVENTORY_UNPARSED_WARNING",
        # What is shown and logged: secrets could be.
        "STDOUT_CALLBACK", "CALLBACKS_ENABLED", "CALLBACK_PLUGINS", "LOAD_CALLBACK_PLUGINS", "FORCE_COLOR", "VERBOSITY",
        "VERBOSE_TO_STDERR", "DEBUG", "DIFF_ALWAYS", "NO_LOG", "LOG_PATH", "LOG_FILTER", "LOG_VERBOSITY",
        "DISPLAY_ARGS_TO_STDOUT", "DISPLAY_TRACEBACK", "NO_TARGET_SYSLOG", "TARGET_LOG_INFO", "KEEP_REMOTE_FILES",
        "PIPELINING", "SSH_PIPELINING", "RETRY_FILES_ENABLED",
        # Questions that nobody could answer: -K, -k and --vault-id ask before anything starts.
        "ASK_PASS", "ASK_VAULT_PASS", "BECOME_ASK_PASS",
        # Host keys are verified unless the inventory says otherwise; connections end with the run.
        "HOST_KEY_CHECKING", "SSH_HOST_KEY_CHECKING", "SSH_CONTROL_PATH", "SSH_CONTROL_PATH_DIR",
    )
) | {"RUNNER_OMIT_EVENTS", "RUNNER_ONLY_FAILED_EVENTS"}  # fmt: skip
"""The person's variables that Ansible does not get: kubestrap decides these. docs/connections.md lists them."""


def clean_environment() -> dict[str, str]:
    """Return the environment for Ansible's programs: the person's, but for what decides how a run goes.

    Inventories, lookups and vault scripts read whatever they like; plain Ansible would let them.
    """
    theirs = {name: value for name, value in os.environ.items() if name not in KEPT_OUT}
    return theirs | {
        # Theirs first: a script of theirs starts with `env python3` and means their Python, not ours.
        "PATH": f"{os.environ.get('PATH', os.defpath)}:{programs_directory()}",
        # Ansible refuses to start where the locale is not UTF-8.
        "LC_ALL": "C.UTF-8",
        "ANSIBLE_CONFIG": str(content_root() / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": f"{collections_path()}:{theirs.get('ANSIBLE_COLLECTIONS_PATH', _USER_COLLECTIONS)}",
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
            if problem := _file_problem(path):
                raise UsageError(f"-e {text}: {problem}")
            files.append(path)
        else:
            files.append(write_private(directory / f"extra-vars-{index}.json", json.dumps(_parsed(text))))
    return files


def _file_problem(path: Path) -> str:
    """Return why a file holds no variables; Ansible blames the inventory for it."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return f"the file cannot be read ({error.strerror})"
    except UnicodeDecodeError:
        return "the file is no UTF-8 text; save it as UTF-8"
    try:
        node = None if text.startswith("$ANSIBLE_VAULT") else yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Without the name of an alias: a password may begin with a *.
        return f"line {mark.line + 1 if mark else 1} is not valid YAML ({str(error.problem).partition(' alias ')[0]})"
    except (yaml.YAMLError, RecursionError):
        return "the file is not valid YAML"
    good = node is None or isinstance(node, yaml.MappingNode)
    return "" if good else "the file holds no variables; write `name: value`"


def _parsed(text: str) -> Mapping[str, Any]:
    # Of a value, which may be a password, nothing is shown.
    named = re.match(r"\w+(?==)|(cluster|ansible)_\w+", text)
    shown = named[0] if named else "..."
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
