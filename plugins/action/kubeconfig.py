"""Action plugin kubeconfig: the part that runs on the operator's machine."""

from __future__ import annotations

import os
import pwd
import shlex
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeconfig
from ansible_collections.kubestrap.cluster.plugins.module_utils.homes import HomeError, as_user, owner_of
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeconfig import Admin, Converged, KubeconfigError
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.unseen import unseen

DEFAULT = "~/.kube/config"


def read(text: str, path: str) -> Any:
    """Return a kubeconfig as data in which every value is the text it is written as: no number, no date, no guess.

    Raises:
        KubeconfigError: when it is no YAML.
    """
    try:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes nothing but text, lists and mappings
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise KubeconfigError(f"{path}{where} is not YAML; the file was left alone: repair or move it.") from None


def files_for(path: str, environment: dict[str, str]) -> tuple[list[str], int]:
    """Return the files that kubectl reads together with a kubeconfig of the inventory, and which of them to add to.

    The default is kubectl's own: what it reads without being told a file. Any other path stands for itself.
    """
    usual = kubeconfig.files_of_kubectl(environment, str(Path.home()))
    if path == DEFAULT:
        return usual, kubeconfig.written_by_kubectl(usual)
    one = str(Path(path).expanduser().absolute())
    # Beside others of $KUBECONFIG, a name that is taken there is taken.
    return (usual, usual.index(one)) if one in usual else ([one], 0)


def command(path: str, context: str, environment: dict[str, str]) -> str:
    """Return the words that begin a kubectl command, as the person at the keyboard can type it."""
    words = ["kubectl"]
    explicit = path not in kubeconfig.files_of_kubectl(environment, str(Path.home()))
    person = _behind_sudo(environment)
    if person is not None:
        # Their shell has their own home and environment.
        explicit = path != str(Path(person.pw_dir, ".kube/config"))
        if Path(path).exists() and Path(path).stat().st_uid != person.pw_uid:
            words, explicit = ["sudo", "kubectl"], True
    return shlex.join([*words, *(["--kubeconfig", path] if explicit else []), "--context", context])


def _behind_sudo(environment: dict[str, str]) -> pwd.struct_passwd | None:
    number = environment.get("SUDO_UID", "")
    if os.geteuid() != 0 or not number.isdecimal() or number == "0":
        return None
    try:
        return pwd.getpwuid(int(number))
    except KeyError:
        return None


def _admin(said: Any, server: str) -> Admin:
    """Return what a host says, for people who may reach the API at another address than the nodes do."""
    try:
        admin = Admin(**{key: str(value) for key, value in said.items()})
    except (AttributeError, TypeError):
        raise AnsibleActionFail("The host's answer is of a strange shape: it names no cluster.") from None
    return replace(admin, server=server) if server else admin


class ActionModule(ActionBase):
    """Run the module on the host, then put what it found into the operator's file."""

    _requires_connection = True
    supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        # At high verbosity the connection prints what a module returns.
        with unseen(self):
            result: dict[str, Any] = self._execute_module(module_args=dict(arguments), task_vars=task_vars)
        admin = result.pop("admin", None)
        # What is printed to be typed is never what a host says.
        result.pop("kubectl", None)
        if result.get("failed") or not arguments.get("path"):
            return result
        files, target = files_for(str(arguments["path"]), dict(os.environ))
        context = str(arguments.get("context", "kubernetes"))
        done = Converged(files[target], context, changed=True)
        if admin is not None:
            known = _admin(admin, str(arguments.get("server") or ""))
            done = self._converge(files, target, context, known)
        result.update(path=done.path, context=done.context)
        result["kubectl"] = command(done.path, done.context, dict(os.environ))
        if done.changed:
            result["changed"] = True
            what = f"{done.path} on the operator's machine"
            after = f"context {done.context} (secret)\n"
            result.setdefault("diff", []).append(
                {"before_header": what, "after_header": what, "before": "", "after": after}
            )
        return result

    def _converge(self, files: list[str], target: int, context: str, admin: Admin) -> Converged:
        keep = boolean(self._task.args.get("keep", False))
        check = self._task.check_mode

        def act() -> dict[str, Any]:
            return asdict(kubeconfig.converge(files, context, admin, read, target=target, keep=keep, check=check))

        try:
            owner = owner_of(files[target])
            return Converged(**(act() if owner is None else as_user(owner, act)))
        except (KubeconfigError, HomeError) as error:
            raise AnsibleActionFail(f"{error} (cluster_kubeconfig)") from error
