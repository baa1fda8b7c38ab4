#!/usr/bin/python
"""Ansible module kubeconfig: the part that runs on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Give people access to the cluster with kubectl
description:
  - On a control plane, gives root and O(user) a C(~/.kube/config).
  - On the operator's machine, merges a context named O(context) into O(path). Other contexts are kept, and the file as
    it was is kept beside it. No secret is in the result.
author: kubestrap
options:
  user: {description: "User on the host, besides root; empty means the one who logged in.", type: str, default: ""}
  path: {description: "Kubeconfig on the operator's machine; empty means none.", type: str, default: ""}
  context: {description: Name of the context there., type: str, default: kubernetes}
  keep:
    description: Whether a context of that name for the same cluster stays as it is. Each control plane has credentials
      of its own, and which of them people have does not matter.
    type: bool
    default: false
  server:
    description: Address of the API in that file, such as C(https://192.0.2.11:6443); empty means the one nodes use.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Give access
  kubestrap.cluster.kubeconfig:
    path: ~/.kube/config
    context: production
"""

RETURN = r"""
path: {description: Kubeconfig on the operator's machine., returned: always, type: str}
context: {description: Context in it., returned: always, type: str}
"""

import os
import pwd
import shutil
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import ADMIN_KUBECONFIG


def converge_user(changes: Changes, user: pwd.struct_passwd, content: str) -> None:
    """Give one user a kubeconfig; another one of theirs is kept beside it."""
    directory = Path(user.pw_dir, ".kube")
    path = str(directory / "config")
    owner = (user.pw_uid, user.pw_gid)
    if not directory.is_dir():
        changes.note(str(directory), before="", after="directory\n")
        if not changes.module.check_mode:
            directory.mkdir(mode=0o750, parents=True)
            os.chown(directory, *owner)
    before = read_text(path)
    if before is not None and before != content and not changes.module.check_mode:
        backup = f"{path}.{time.strftime('%Y%m%dT%H%M%S')}"
        shutil.copy2(path, backup)
        os.chown(backup, *owner)
    changes.file(path, content, mode=0o600, owner=owner, secret=True)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "user": {"type": "str", "default": ""},
            "path": {"type": "str", "default": ""},
            "context": {"type": "str", "default": "kubernetes"},
            "keep": {"type": "bool", "default": False},
            "server": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    changes = Changes(module)
    content = read_text(ADMIN_KUBECONFIG)
    if content is None:
        if not module.check_mode:
            module.fail_json(msg=f"There is no {ADMIN_KUBECONFIG} on this host: it is not a control plane.")
        changes.note("~/.kube/config", before="", after="(secret)\n")
        changes.exit(admin=None)
    name = module.params["user"] or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    for person in dict.fromkeys(["root", name]):
        try:
            user = pwd.getpwnam(person)
        except KeyError:
            module.fail_json(msg=f"There is no user {person!r} on this host (cluster_node_user).")
        converge_user(changes, user, content)
    # The action plugin takes it out of the result before anybody sees it.
    changes.exit(admin=content)


if __name__ == "__main__":
    main()
