"""Action plugin app_answers: ask an app from the operator's machine, and when that fails from inside."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.modules.app_answers import ask_all, with_remark

# The app runs already, and its address is a matter of moments; the host has more patience.
HERE_SECONDS = 5


class ActionModule(ActionBase):
    """Ask here, else let the module ask on the host."""

    _VALID_ARGS = frozenset({"app", "outside", "timeout"})

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the verdict; an app that only answers inside is fine, and the verdict has a note about it."""
        super().run(tmp, task_vars)
        app: dict[str, Any] = dict(self._task.args["app"])
        outside = boolean(self._task.args.get("outside", True))
        answers = ask_all(app["urls"], HERE_SECONDS) if outside else None
        if answers is not None and not answers.silent:
            with_remark(app, answers.remark())
            return {"changed": False, "app": app}
        result: dict[str, Any] = self._execute_module(module_args=dict(self._task.args), task_vars=task_vars)
        if result.get("failed") or not result.get("app", {}).get("ok"):
            return result
        here = ask_all(app["urls"], 0).silent if outside else {}
        if here:
            host = (task_vars or {}).get("inventory_hostname", "the control plane")
            with_remark(
                result["app"],
                f"answers when asked on {host}, but {len(here)} of {len(app['urls'])} addresses do not answer to this "
                f"machine ({next(iter(here.values()))}): is a bastion or a firewall in between?",
            )
        return result
