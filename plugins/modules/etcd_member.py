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
  - A name is no proof. A member or a Node goes only when name and address are the host's; when the member is dead,
    which is watched for a while, or never voted; and when the Node is not Ready, or the host itself proves that its
    join was cut. Any doubt is an error, and nothing is removed.
version_added: 0.1.0
author: kubestrap
options:
  name: {description: Name of the node that is to join., type: str, required: true}
  address: {description: Address of that host inside the cluster., type: str, required: true}
  unfinished:
    description: Whether a mark on the host proves that its join was cut. What it is a member by is then of that join.
    type: bool
    default: false
  authorities:
    description: Fingerprints of the CAs that the files of the host name.
    type: list
    elements: str
    default: []
  trouble:
    description: Why the host cannot go on as the member it is, when it still has all of that member. Empty when there
      is nothing on the host worth keeping.
    type: str
    default: ""
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
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
import re
import socket
import ssl
import urllib.error
import urllib.parse
import urllib.request
from functools import partial
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import control_plane, traces
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import (
    COULD_NOT_LOOK,
    DOES_NOT,
    HOLDS,
    NOT_YET,
    Judgement,
    watch,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError, is_ready
from ansible_collections.kubestrap.cluster.plugins.module_utils.proxy import open_directly

CERTIFICATES = "/etc/kubernetes/pki/etcd"
ENDPOINT = "https://127.0.0.1:2379/v3/cluster/member"
METRICS = "http://127.0.0.1:2381/metrics"
# So long a member must be dead, look after look: a restart takes less.
DEAD_FOR = 10
# A Node counts as Ready for 50 s after its kubelet was heard last.
NODE_STALE_WITHIN = 90


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

    def active_peer(self, member: dict[str, Any]) -> Optional[bool]:
        """Tell whether this etcd hears from a member; None when it does not say."""
        try:
            with open_directly(METRICS, timeout=10, context=self.context) as answer:
                text = answer.read(10_000_000).decode(errors="replace")
        except OSError:
            return None
        remote = f"{int(member['ID']):x}"
        found = re.search(rf'^etcd_network_active_peers{{[^}}]*Remote="{remote}"[^}}]*}} (\S+)', text, re.MULTILINE)
        return float(found[1]) > 0 if found else None

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
    """Return the members that are, or were, the host of this name and address.

    Raises:
        EtcdError: when one has only the name or only the address: then nobody knows who it is.
    """
    found = []
    for member in members:
        there = [urllib.parse.urlsplit(url).hostname for url in member.get("peerURLs") or []]
        # One that was announced and never started has no name yet.
        if address in there and member.get("name") in (name, "", None):
            found.append(member)
        elif address in there:
            raise EtcdError(
                f"etcd has a member at {address} under the name {member['name']}, and this host is called {name}. Give "
                "the host its name again."
            )
        elif member.get("name") == name:
            raise EtcdError(
                f"etcd has a member named {name} at {', '.join(map(str, there))}, and this host is at {address}. Give "
                "this host another hostname if they are two hosts (a copy of a host keeps its name), or its old "
                "address if it is the same."
            )
    return found


def votes(member: dict[str, Any]) -> bool:
    """Tell whether a member was ever started and counts for the majority."""
    return bool(member.get("name")) and not member.get("isLearner")


def alive(etcd: Etcd, member: dict[str, Any], address: str) -> Judgement:
    """Tell whether a member works: whether somebody listens on its port, else what etcd itself says of it."""
    try:
        with socket.create_connection((address, 2380), timeout=3):
            return Judgement(HOLDS, f"it answers at {address}:2380")
    except ConnectionRefusedError:
        return Judgement(DOES_NOT)
    except OSError as error:
        reason = f"{address}:2380 cannot be reached ({error})"
    active = etcd.active_peer(member)
    if active is None:
        return Judgement(COULD_NOT_LOOK, f"{reason}, and etcd does not say whether it works")
    return Judgement(HOLDS, "etcd hears from it") if active else Judgement(DOES_NOT)


def refuse_living(etcd: Etcd, member: dict[str, Any], asked: dict[str, Any]) -> None:
    """Raise an error unless a member is dead, look after look.

    Raises:
        EtcdError: when it answers once, or nobody can say.
    """
    found = watch(lambda: alive(etcd, member, asked["address"]), DEAD_FOR)
    if found.answer != DOES_NOT:
        raise EtcdError(
            f"its member of etcd is there and may work: {found.why}. It is not removed, and nothing else is. "
            "If this host was made anew, stop what has its address; else put back what it is missing, and run again."
        )


def refuse_ready(kubectl: Kubectl, asked: dict[str, Any]) -> bool:
    """Tell whether the cluster has a Node of this host, which is not Ready.

    Raises:
        EtcdError: when it is Ready and stays so, or is another host.
    """

    def gone() -> Judgement:
        nodes = kubectl.items("get", "nodes")
        reason = control_plane.stranger(nodes, asked["name"], asked["address"])
        if reason:
            return Judgement(COULD_NOT_LOOK, reason)
        mine = [node for node in nodes if node["metadata"]["name"] == asked["name"]]
        if mine and is_ready(mine[0]) and not asked["unfinished"]:
            return Judgement(NOT_YET, f"the cluster has a node {asked['name']} that is Ready. It is not removed")
        return Judgement(HOLDS, "there" if mine else "")

    found = watch(gone, NODE_STALE_WITHIN)
    if found.answer != HOLDS:
        raise EtcdError(found.why)
    return bool(found.why)


def make_room(changes: Changes, etcd: Etcd, kubectl: Kubectl, asked: dict[str, Any]) -> list[str]:
    """Remove what is left of the host's earlier life; return the names of the members that stay.

    Raises:
        EtcdError: when that would lose something, or is not possible, or nobody can say.
    """
    known = traces.fingerprints(traces.look().authority)
    if asked["authorities"] and not known & set(asked["authorities"]):
        raise EtcdError("what is on it belongs to a cluster with another CA. It is left alone, and nothing is removed.")
    members = etcd.members()
    old = earlier_lives(members, asked["name"], asked["address"])
    if asked["trouble"] and any(map(votes, old)):
        raise EtcdError(
            f"{asked['name']} is a control plane of this cluster, but does not work as one: {asked['trouble']}"
        )
    # All that may be refused is asked for before the first thing goes.
    # kubeadm lets a member vote after the last file of a control plane is there, so a join that was cut before leaves
    # none that votes. One that does is a control plane that lost a file, though the mark of its join is still there.
    for member in filter(votes, old):
        refuse_living(etcd, member, asked)
    has_node = refuse_ready(kubectl, asked)
    for member in old:
        state = "member" if votes(member) else "member that never voted"
        changes.act(
            f"etcd member {member.get('name') or asked['name']}",
            partial(etcd.remove, member),
            before=f"{state} {member['ID']} at {', '.join(member.get('peerURLs') or [])}\n",
            after="",
        )
    if has_node:
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
            "unfinished": {"type": "bool", "default": False},
            "authorities": {"type": "list", "elements": "str", "default": []},
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
    except (EtcdError, KubectlError, KubeadmError) as error:
        module.fail_json(msg=f"{module.params['name']} cannot join: {error}")
    except OSError as error:
        module.fail_json(msg=f"etcd of this control plane cannot be asked: {error}")
    changes.exit(members=members)


if __name__ == "__main__":
    main()
