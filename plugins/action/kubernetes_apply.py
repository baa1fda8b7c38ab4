"""Action plugin kubernetes_apply: manifests go from the operator's files to the host, and are nowhere noted on the way.

They may hold Secrets: they are no variables and no results of a task, which events and logs would show, and the host
does not write down what the module was started with.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.manifests import ManifestError, files, read
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.unseen import unseen


class ActionModule(ActionBase):
    """Read the manifests here, and run the module on the host."""

    _requires_connection = True
    supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the action."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        paths, base = arguments.pop("manifests", []), arguments.pop("base", ".")
        if paths:
            try:
                found = [one for path in files([str(path) for path in paths], str(base)) for one in read(path)]
            except ManifestError as error:
                raise AnsibleActionFail(str(error)) from error
            if not found:
                raise AnsibleActionFail(f"The manifests hold no Kubernetes object: {', '.join(map(str, paths))}.")
            arguments.update(objects=[one.obj for one in found], sources=[one.source for one in found])
        # At high verbosity the connection prints what a module returns.
        with unseen(self):
            result: dict[str, Any] = self._execute_module(
                module_args=arguments, task_vars={**(task_vars or {}), "ansible_no_target_syslog": True}
            )
        result.pop("invocation", None)
        return result
