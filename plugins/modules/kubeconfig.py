#!/usr/bin/python
"""Ansible module kubeconfig: the part that runs on the host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeconfig
short_description: Give people access to the cluster with kubectl
description:
  - On a control plane, gives root and O(user) a context for the cluster in their C(~/.kube/config); on the operator's
    machine, in O(path). Everything else in such a file stays, to the byte.
  - The cluster is known again by its CA and its address, never by a name. Where O(context) is the name of something
    else, the context gets another one.
  - The file as it was before the first change is kept beside it. No secret is in the result.
version_added: 0.1.0
author: kubestrap
options:
  user: {description: "User on the host, besides root; empty means the one who logged in.", type: str, default: ""}
  path:
    description: Kubeconfig on the operator's machine; empty means none. C(~/.kube/config) means the file that kubectl
      writes to, which the environment variable C(KUBECONFIG) may say.
    type: str
    default: ""
  context: {description: Name of the context where it is free., type: str, default: kubernetes}
  keep:
    description: Whether credentials for this cluster that are there stay. Each control plane has credentials of its
      own, and which of them people have does not matter.
    type: bool
    default: false
  server:
    description: Address of the API in that file, such as C(https://192.0.2.11:6443); empty means the one nodes use.
    type: str
    default: ""
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Give access
  kubestrap.cluster.kubeconfig:
    path: ~/.kube/config
    context: production
"""

RETURN = r"""
path: {description: Kubeconfig on the operator's machine., returned: when O(path) is given, type: str}
context: {description: Context in it., returned: when O(path) is given, type: str}
kubectl: {description: The words that begin a kubectl command for it., returned: when O(path) is given, type: str}
"""

import hashlib
import json
import os
import pwd
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeconfig
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.homes import HomeError, as_user
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeconfig import Admin, KubeconfigError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import ADMIN_KUBECONFIG, environment
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import ended

SECONDS_TO_READ = 60


def as_kubectl_reads(text: str, path: str) -> Any:
    """Return a kubeconfig as data, read by the kubectl of this host.

    Raises:
        KubeconfigError: when kubectl cannot read it.
    """
    # Not from its place: what was looked at is what is read.
    handle = os.memfd_create("kubeconfig")
    try:
        with os.fdopen(os.dup(handle), "wb") as stream:
            stream.write(text.encode())
        command = ["kubectl", "--kubeconfig", f"/proc/self/fd/{handle}", "config", "view", "--raw", "-o", "json"]
        done = ended(command, seconds=SECONDS_TO_READ, environment=environment(), pass_fds=[handle])
    except FileNotFoundError:
        raise KubeconfigError("kubectl is not installed on this host") from None
    except subprocess.TimeoutExpired:
        raise KubeconfigError(f"kubectl did not read {path} within {SECONDS_TO_READ} s") from None
    finally:
        os.close(handle)
    if done.returncode != 0:
        said = done.stderr.strip().rpartition(f"/proc/self/fd/{handle}")[2].lstrip('": ')
        raise KubeconfigError(f"{path} was left alone: kubectl cannot read it ({said}). Repair or move it.")
    return json.loads(done.stdout)


def converge_user(user: pwd.struct_passwd, context: str, admin: Admin, conf: str, *, check: bool) -> tuple[str, bool]:
    """Give one user of this host a context for the cluster; return the file, and whether that changes it.

    Raises:
        HomeError: when it cannot be done as that user.
        KubeconfigError: the same, for root.
    """
    path = str(Path(user.pw_dir, ".kube/config"))

    def act() -> bool:
        # What it is in most runs, without a question to kubectl: written by us, or a copy of admin.conf.
        with_admin_only = kubeconfig.edited("", kubeconfig.plan([kubeconfig.View()], 0, context, admin), path)
        try:
            if kubeconfig.read_file(path) in (with_admin_only, conf):
                return False
        except OSError:
            pass  # said in words by what follows
        return kubeconfig.converge([path], context, admin, as_kubectl_reads, check=check).changed

    return path, bool(as_user(user, act))


def identity() -> str:
    """Return what tells this machine from every other; its own ID is nobody else's business."""
    machine = (read_text("/etc/machine-id") or "").strip()
    return hashlib.sha256(f"kubestrap {machine}".encode()).hexdigest()[:16] if machine else ""


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
    admin = kubeconfig.admin_of(content, identity())
    if admin is None:
        module.fail_json(
            msg=f"{ADMIN_KUBECONFIG} has no address, CA, certificate and key in itself, as kubeadm writes it. "
            "`kubeadm kubeconfig user` or `kubeadm init phase kubeconfig admin` make a new one."
        )
    name = module.params["user"] or os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    for person in dict.fromkeys(["root", name]):
        try:
            user = pwd.getpwnam(person)
        except KeyError:
            module.fail_json(msg=f"There is no user {person!r} on this host (cluster_node_user).")
        try:
            path, changed = converge_user(user, module.params["context"], admin, content, check=module.check_mode)
        except (KubeconfigError, HomeError) as error:
            module.fail_json(msg=f"kubectl for the user {person} (cluster_node_user): {error}")
        if changed:
            changes.note(path, before="", after=f"context for {module.params['context']} (secret)\n")
    # The action plugin takes it out of the result before anybody sees it.
    changes.exit(admin=asdict(admin))


if __name__ == "__main__":
    main()
