#!/usr/bin/python
"""Ansible module etcd_member."""

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_member
short_description: Make room in etcd for a control plane that joins
description:
  - Run on a control plane of the cluster, for another host that is about to join as O(name). Removes what the cluster
    still knows of an earlier life of that host, its member of etcd and its Node object, because etcd would wait for
    the old one and Kubernetes refuses a second node of the name.
  - A member that holds data the host still has is not removed, with an error.
author: kubestrap
options:
  name: {description: Name of the node that is to join., type: str, required: true}
  address: {description: Address of that host inside the cluster., type: str, required: true}
  trouble:
    description: Why the host cannot go on as the member it is, when it still has that member's data. Empty when there
      is nothing on the host worth keeping.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Make room for cp2
  kubestrap.cluster.etcd_member:
    name: cp2
    address: 10.0.0.12
  delegate_to: cp1
"""

RETURN = r"""
members: {description: Names of the members that stay., returned: always, type: list, elements: str}
"""

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import open_directly

CERTIFICATES = "/etc/kubernetes/pki/etcd"
ENDPOINT = "https://127.0.0.1:2379/v3/cluster/member"


class EtcdError(Exception):
    """etcd did not do what it was asked. The text is what it said."""


class Etcd:
    """The etcd of this host, through the JSON gateway it has beside gRPC: there is no etcdctl outside its image."""

    def __init__(self) -> None:
        """Take the certificates kubeadm made for asking etcd."""
        self.context = ssl.create_default_context(cafile=f"{CERTIFICATES}/ca.crt")
        self.context.load_cert_chain(f"{CERTIFICATES}/healthcheck-client.crt", f"{CERTIFICATES}/healthcheck-client.key")

    def members(self) -> list[dict[str, Any]]:
        """Return the members as etcd describes them."""
        return list(self._ask("list").get("members") or [])

    def remove(self, member: dict[str, Any]) -> None:
        """Take a member out of the cluster."""
        self._ask("remove", ID=member["ID"])

    def _ask(self, what: str, **values: str) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - the address is a constant
            f"{ENDPOINT}/{what}", data=json.dumps(values).encode(), headers={"Content-Type": "application/json"}
        )
        try:
            with open_directly(request, timeout=30, context=self.context) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise EtcdError(error.read().decode(errors="replace").strip()) from error
        except OSError as error:
            raise EtcdError(str(error)) from error
        return found


def earlier_lives(members: list[dict[str, Any]], name: str, address: str) -> list[dict[str, Any]]:
    """Return the members that are, or were, the host of this name or address."""
    return [
        member
        for member in members
        if member.get("name") == name
        or any(urllib.parse.urlsplit(url).hostname == address for url in member.get("peerURLs") or [])
    ]


def votes(member: dict[str, Any]) -> bool:
    """Tell whether a member was ever started and counts for the majority."""
    return bool(member.get("name")) and not member.get("isLearner")


def make_room(changes: Changes, etcd: Etcd, kubectl: Kubectl, asked: dict[str, Any]) -> list[str]:
    """Remove what is left of the host's earlier life; return the names of the members that stay.

    Raises:
        EtcdError: when that would lose something, or is not possible.
    """
    members = etcd.members()
    old = earlier_lives(members, asked["name"], asked["address"])
    if asked["trouble"] and any(map(votes, old)):
        raise EtcdError(
            f"{asked['name']} is a control plane of this cluster, but does not work as one: {asked['trouble']}\n"
            "If it cannot be repaired: `kubeadm reset` on it, and `kubestrap up` joins it anew."
        )
    for member in old:
        state = "member" if votes(member) else "member that never voted"
        changes.act(
            f"etcd member {member.get('name') or asked['name']}",
            partial(etcd.remove, member),
            before=f"{state} {member['ID']} at {', '.join(member.get('peerURLs') or [])}\n",
            after="",
        )
    if kubectl.run("get", "node", asked["name"], "--ignore-not-found", "-o", "name").strip():
        changes.act(
            f"node {asked['name']}",
            lambda: kubectl.run("delete", "node", asked["name"], "--ignore-not-found"),
            before="of an earlier life of the host\n",
            after="",
        )
    return [str(member.get("name")) for member in members if member not in old]


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "trouble": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    changes = Changes(module)
    kubectl = Kubectl()
    if module.check_mode and not kubectl.ready():
        changes.exit(members=[])
    try:
        members = make_room(changes, Etcd(), kubectl, module.params)
    except (EtcdError, KubectlError) as error:
        module.fail_json(msg=f"{module.params['name']} cannot join: {error}")
    except OSError as error:
        module.fail_json(msg=f"etcd of this control plane cannot be asked: {error}")
    changes.exit(members=members)


if __name__ == "__main__":
    main()
