"""Users and passwords for image registries, in the file that kubelet and cri-dockerd read.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import confidential
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

# A list, because an option of a mapping with keys of the user's own cannot be `no_log`.
ARGUMENT = {
    "type": "list",
    "elements": "dict",
    "default": [],
    "options": {
        "registry": {"type": "str", "required": True},
        "login": {
            "type": "dict",
            "required": True,
            "options": {
                "username": {"type": "str", "required": True},
                "password": {"type": confidential.text, "required": True, "no_log": True},
            },
        },
    },
}
KUBELET = "/var/lib/kubelet/config.json"
# Its readers ignore what they do not know.
MARK = "managedBy"
OURS = "kubestrap"


def rendered(credentials: list[dict[str, Any]]) -> str:
    """Return the content of the file."""
    auths = {}
    for entry in credentials:
        login = "{username}:{password}".format(**entry["login"])
        auths[entry["registry"]] = {"auth": base64.b64encode(login.encode()).decode()}
    return json.dumps({"auths": auths, MARK: OURS}, indent=2, sort_keys=True) + "\n"


def converge(changes: Changes, path: str, credentials: list[dict[str, Any]]) -> None:
    """Make the file hold these credentials, readable by root alone; without any it goes, unless it is not ours."""
    present = read_text(path)
    ours = present is None or _parsed(present).get(MARK) == OURS
    if not credentials:
        if ours:
            changes.absent(path)
        return
    if not ours:
        changes.module.fail_json(
            msg=f"{path} has registry logins that somebody else put there. Move them into cluster_registry_credentials "
            "and remove the file."
        )
    changes.file(path, rendered(credentials), mode=0o600, secret=True)


def logins(path: str = KUBELET) -> dict[str, str]:
    """Return USER:PASSWORD by registry, from such a file of anybody; empty without one."""
    entries = _parsed(read_text(path) or "").get("auths", {})
    return {
        registry: base64.b64decode(entry["auth"]).decode() for registry, entry in entries.items() if entry.get("auth")
    }


def _parsed(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
