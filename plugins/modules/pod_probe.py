#!/usr/bin/python
"""Ansible module pod_probe."""

from __future__ import annotations

DOCUMENTATION = r"""
module: pod_probe
short_description: Try DNS and the way to other pods from inside a pod of this host
description:
  - Enters the network namespace of a pod, and from there sends pings to the pods of other nodes and asks the cluster's
    DNS, over UDP and TCP. Needs no program in the pod.
  - Never fails because of what it finds; changes nothing.
version_added: 0.1.0
author: kubestrap
options:
  node: {description: Name of this node; empty means the hostname., type: str, default: ""}
  pods: {description: "One pod on each node, with node, uid and address.", type: list, elements: dict, required: true}
  dns: {description: "Where DNS is served (address) and the name to ask for (name).", type: dict, required: true}
  timeout: {description: Seconds an answer may take., type: float, default: 5}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: none}
"""

EXAMPLES = r"""
- name: Probe
  kubestrap.cluster.pod_probe:
    node: worker1
    pods: [{node: worker1, uid: 1b4e28ba-2fa1-11d2-883f-0016d3cca427, address: 10.244.1.2}]
    dns: {address: 10.96.0.10, name: kubernetes.default.svc.cluster.local}
"""

RETURN = r"""
problems:
  description: What does not work, in words.
  returned: always
  type: list
  elements: str
"""

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import foreign_chains

CLONE_NEWNET = 0x40000000
ECHO_REQUEST, ECHO_REPLY = 8, 0
# Of IPv4 and of ICMP, in bytes.
HEADERS = 20 + 8
# linux/in.h; Python has no names for them.
IP_MTU_DISCOVER, IP_PMTUDISC_PROBE = 10, 3
LARGE_SECONDS = 2
# linux/sockios.h
SIOCGIFMTU = 0x8921
# What VXLAN adds to a packet, in bytes.
VXLAN = 50
RESEND_AFTER = 0.5


def find_process(uid: str, proc: Path = Path("/proc")) -> str:
    """Return the ID of a process of a pod, whatever runtime runs it: the pod's control group has its UID in its name.

    Raises:
        OSError: when the pod does not run here.
    """
    # systemd, which makes the group, takes a dash for the separator of levels.
    names = (f"pod{uid}", f"pod{uid.replace('-', '_')}")
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # The process ended meanwhile.
                text = (entry / "cgroup").read_text()
                if any(name in text for name in names):
                    return entry.name
    raise OSError("the host does not run the pod")


def enter_pod(uid: str) -> None:
    """Move this process into a pod's network namespace.

    Raises:
        OSError: when the pod does not run here.
    """
    pid = find_process(uid)
    handle = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    try:
        # os.setns came with Python 3.12.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(handle)


def checksum(data: bytes) -> int:
    """Return the Internet checksum."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(identifier: int, sequence: int, size: int = 0) -> bytes:
    """Return an ICMP echo request; with a size in bytes, filled up so that its packet has it."""
    body = b"kubestrap".ljust(size - HEADERS, b".")
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, identifier, sequence)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(head + body), identifier, sequence) + body


def ping(addresses: list[str], timeout: float, size: int = 0) -> set[str]:
    """Return those of the addresses that do not answer a ping in so many seconds, with packets of so many bytes."""
    silent = set(addresses)
    if not silent:
        return silent
    identifier = os.getpid() & 0xFFFF
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        # Neither here nor on the way may it be cut into packets that get through.
        raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE)
        deadline = time.monotonic() + timeout
        sequence, resend = 0, 0.0
        while silent and time.monotonic() < deadline:
            if time.monotonic() >= resend:
                sequence += 1
                for address in silent:
                    # No route is no answer.
                    with contextlib.suppress(OSError):
                        raw.sendto(echo_request(identifier, sequence, size), (address, 0))
                resend = time.monotonic() + RESEND_AFTER
            if select.select([raw], [], [], 0.05)[0]:
                packet, (sender, _) = raw.recvfrom(65536)
                offset = (packet[0] & 0x0F) * 4
                kind, _code, _sum, echoed = struct.unpack("!BBHH", packet[offset : offset + 6])
                if kind == ECHO_REPLY and echoed == identifier:
                    silent.discard(sender)
    return silent


def interface_mtu() -> int:
    """Return the largest packet, in bytes, that leaves through the interface of the default route; 0 when unknown."""
    routes = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    interface = next((line.split()[0] for line in routes if line.split()[1] == "00000000"), "")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, contextlib.suppress(OSError):
        asked = struct.pack("16si", interface.encode(), 0)
        return int(struct.unpack("16si", fcntl.ioctl(any_socket, SIOCGIFMTU, asked))[1])
    return 0


def question(name: str) -> bytes:
    """Return a DNS question for the IPv4 address of a name."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", os.getpid() & 0xFFFF, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def why_no_answer(reply: bytes) -> str:
    """Return what is wrong with a DNS reply, empty when it holds an answer."""
    _, flags, _, answers, _, _ = struct.unpack("!HHHHHH", reply[:12])
    code = flags & 0x0F
    if code:
        return {2: "the server failed", 3: "the name does not exist", 5: "the server refused"}.get(code, f"code {code}")
    return "" if answers else "an empty answer"


def ask_udp(address: str, name: str, timeout: float) -> str:
    """Ask over UDP; return what is wrong, empty when an answer comes."""
    # Datagrams get lost without a fault, and a pod behind the address may be on a node that was lost just now: each
    # question comes from a port of its own, so it may go to another pod.
    for _attempt in range(max(1, round(timeout))):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            udp.settimeout(1)
            udp.sendto(question(name), (address, 53))
            return why_no_answer(udp.recv(4096))
    return "no answer"


def ask_tcp(address: str, name: str, timeout: float) -> str:
    """Ask over TCP; return what is wrong, empty when an answer comes."""
    wrong = ""
    for _attempt in range(max(1, round(timeout))):
        wrong = _ask_tcp_once(address, name)
        if not wrong:
            break
    return wrong


def _ask_tcp_once(address: str, name: str) -> str:
    asked = question(name)
    try:
        with socket.create_connection((address, 53), timeout=1) as tcp:
            tcp.sendall(struct.pack("!H", len(asked)) + asked)
            with tcp.makefile("rb") as stream:
                length = struct.unpack("!H", stream.read(2))[0]
                return why_no_answer(stream.read(length))
    except (OSError, struct.error) as error:
        return str(error)


def probe(node: str, pods: list[dict[str, Any]], dns: dict[str, str], timeout: float) -> list[str]:
    """Return what does not work from a pod of this node, in words."""
    own = next((pod for pod in pods if pod["node"] == node), None)
    if own is None:
        return [f"Node {node} has no pod to probe from."]
    others = {pod["address"]: pod["node"] for pod in pods if pod["node"] != node}
    chains = foreign_chains()
    own_firewall = f" On {node} itself, {' and '.join(chains)} drops what it does not accept." if chains else ""
    try:
        enter_pod(own["uid"])
    except OSError as error:
        return [f"The network of a pod on node {node} cannot be entered: {error}."]
    problems = []
    silent = ping(list(others), timeout)
    if silent:
        names = ", ".join(sorted(f"{others[address]} ({address})" for address in silent))
        problems.append(
            f"Pods on {node} do not reach pods on {names}. Most often a firewall between the hosts drops UDP port 8472 "
            f"(flannel's VXLAN): open it between all nodes.{own_firewall}"
        )
    reached = [address for address in others if address not in silent]
    size = interface_mtu()
    if reached and size and (cut := ping(reached, LARGE_SECONDS, size)):
        names = ", ".join(sorted(f"{others[address]} ({address})" for address in cut))
        problems.append(
            f"Pods on {node} reach pods on {names} with small packets, but packets of {size} bytes, the MTU of pods, "
            f"get lost: the network between the hosts does not carry the {size + VXLAN} bytes that makes of them. Set "
            "the MTU of the hosts' interfaces to what it carries (`ip link set dev INTERFACE mtu N`, and in the "
            "system's configuration), then restart flannel's pods and the app's."
        )
    for protocol, ask in (("UDP", ask_udp), ("TCP", ask_tcp)):
        wrong = ask(dns["address"], dns["name"], timeout)
        if wrong:
            cause = "see above" if silent else "kube-proxy on the node, or a firewall between the node and CoreDNS"
            problems.append(
                f"Pods on {node} get no DNS answer over {protocol} from {dns['address']} for {dns['name']}: {wrong}. "
                f"Likely cause: {cause}."
            )
    return problems


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "node": {"type": "str", "default": ""},
            "pods": {"type": "list", "elements": "dict", "required": True},
            "dns": {"type": "dict", "required": True},
            "timeout": {"type": "float", "default": 5},
        },
        supports_check_mode=True,
    )
    params = module.params
    if module.check_mode:
        module.exit_json(changed=False, problems=[])
    problems = probe(params["node"] or socket.gethostname().lower(), params["pods"], params["dns"], params["timeout"])
    module.exit_json(changed=False, problems=problems)


if __name__ == "__main__":
    main()
