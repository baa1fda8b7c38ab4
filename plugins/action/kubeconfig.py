"""Action plugin kubeconfig: the part that runs on the operator's machine."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase


class Kubeconfig:
    """A kubeconfig file as data."""

    def __init__(self, path: Path) -> None:
        """Read the file, if there is one.

        Raises:
            AnsibleActionFail: when it is no kubeconfig.
        """
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            self.text = ""
        except OSError as error:
            raise AnsibleActionFail(f"{path} cannot be read: {error.strerror} (cluster_kubeconfig).") from error
        try:
            data = yaml.safe_load(self.text) or {}
        except yaml.YAMLError as error:
            raise AnsibleActionFail(f"{path} is not YAML and was left alone: repair or move it.") from error
        if not isinstance(data, dict):
            raise AnsibleActionFail(f"{path} is not a kubeconfig and was left alone: repair or move it.")
        self.data: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "preferences": {}, **data}

    def leads_to(self, context: str, admin: dict[str, Any]) -> bool:
        """Tell whether the file has a context of that name for the cluster of an admin.conf, with a user."""
        found = {kind: {entry.get("name"): entry for entry in self._entries(kind)} for kind in ("clusters", "users")}
        cluster = {**found["clusters"].get(context, {}).get("cluster", {})}
        cluster.pop("proxy-url", None)
        return bool(cluster == admin["clusters"][0]["cluster"] and found["users"].get(f"{context}-admin"))

    def merge(self, context: str, admin: dict[str, Any]) -> None:
        """Put cluster, user and context of an admin.conf into the file's data."""
        user = f"{context}-admin"
        before = next((entry for entry in self._entries("clusters") if entry.get("name") == context), {})
        # The way there is the person's: a proxy through their bastion.
        way = {key: value for key, value in (before.get("cluster") or {}).items() if key == "proxy-url"}
        self._put("clusters", context, "cluster", {**admin["clusters"][0]["cluster"], **way})
        self._put("users", user, "user", admin["users"][0]["user"])
        existing = next((entry for entry in self._entries("contexts") if entry.get("name") == context), {})
        # A namespace somebody chose for the context stays chosen.
        kept = {key: value for key, value in (existing.get("context") or {}).items() if key == "namespace"}
        self._put("contexts", context, "context", {**kept, "cluster": context, "user": user})
        if not self.data.get("current-context"):
            self.data["current-context"] = context

    def _entries(self, kind: str) -> list[dict[str, Any]]:
        if not isinstance(self.data.get(kind), list):
            self.data[kind] = []
        entries: list[dict[str, Any]] = self.data[kind]
        return entries

    def _put(self, kind: str, name: str, key: str, value: dict[str, Any]) -> None:
        entries = self._entries(kind)
        for entry in entries:
            if entry.get("name") == name:
                entry[key] = value
                return
        entries.append({"name": name, key: value})

    def differs(self) -> bool:
        """Tell whether the data is not what the file says."""
        return not self.text or yaml.safe_load(self.text) != self.data

    def save(self) -> None:
        """Write the file, readable for its owner only; what it was is kept beside it."""
        self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # A link to the real file stays a link.
        path = Path(os.path.realpath(self.path))
        if self.text:
            backup = path.with_name(f"{path.name}.{time.strftime('%Y%m%dT%H%M%S')}")
            shutil.copy2(path, backup)
            backup.chmod(0o600)
        text = yaml.safe_dump(self.data, sort_keys=False)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kubestrap-")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).replace(path)


def credentials(admin: str, server: str) -> dict[str, Any]:
    """Return an admin.conf as data, for people who reach the API at another address than the nodes do."""
    data: dict[str, Any] = yaml.safe_load(admin)
    if server:
        data["clusters"][0]["cluster"]["server"] = str(server)
    return data


class ActionModule(ActionBase):
    """Run the module on the host, then merge what it found into the operator's file."""

    _requires_connection = True
    supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        arguments = self._task.args
        # At high verbosity the connection prints what a module returns.
        before, self._play_context.no_log = self._play_context.no_log, True
        try:
            result = self._execute_module(module_args=dict(arguments), task_vars=task_vars)
        finally:
            self._play_context.no_log = before
        admin = result.pop("admin", None)
        if result.get("failed") or not arguments.get("path"):
            return result
        path = Path(arguments["path"]).expanduser()
        # Strings of the task carry where they come from, which a YAML writer does not know how to write.
        context = str(arguments.get("context", "kubernetes"))
        result.update(path=str(path), context=context)
        kubeconfig = Kubeconfig(path)
        if admin is not None:
            known = credentials(admin, arguments.get("server", ""))
            if boolean(arguments.get("keep", False)) and kubeconfig.leads_to(context, known):
                return result
            kubeconfig.merge(context, known)
        if admin is None or kubeconfig.differs():
            if not self._task.check_mode:
                try:
                    kubeconfig.save()
                except OSError as error:
                    raise AnsibleActionFail(
                        f"{path} cannot be written: {error.strerror} (cluster_kubeconfig)."
                    ) from error
            result["changed"] = True
            what = f"{path} on the operator's machine"
            after = f"context {context} (secret)\n"
            result.setdefault("diff", []).append(
                {"before_header": what, "after_header": what, "before": "", "after": after}
            )
        return result
