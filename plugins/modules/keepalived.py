#!/usr/bin/python
"""Ansible module keepalived."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keepalived
short_description: Hold one address on whichever control plane has a working API server
description:
  - Installs keepalived from the distribution and configures one VRRP instance with unicast peers. Every control plane
    has the same priority, raised by a health check of its own API server, so the address leaves a host whose API server
    fails, and does not come back by itself when that host recovers.
  - While no API server works anywhere, the address stays where it is.
  - Returns when some host has the address. Reloads keepalived when its configuration is newer; the address stays.
version_added: 0.1.0
author: kubestrap
options:
  address: {description: The address., type: str, required: true}
  node_address: {description: "Address of this host inside the cluster; empty means the one of its default route.",
                 type: str, default: ""}
  peers: {description: Addresses of the other control planes., type: list, elements: str, default: []}
  keep_peers:
    description: Keep peers the configuration names already, because O(peers) is known not to be all of them.
    type: bool
    default: false
  api_port: {description: TCP port of the API server on this host., type: int, default: 6443}
  takes_address:
    description: Whether this host may take the address when nobody has it. Others wait until somebody does.
    type: bool
    default: true
  timeout: {description: Seconds until somebody must have the address., type: int, default: 120}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: full}
"""

EXAMPLES = r"""
- name: Hold the address of the API
  kubestrap.cluster.keepalived:
    address: 10.0.0.10
    node_address: 10.0.0.11
    peers: [10.0.0.12, 10.0.0.13]
"""

RETURN = r"""
interface: {description: Interface the address is on when this host has it., returned: always, type: str}
"""

import ipaddress
import re
import socket
import time
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import systemd
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes, read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.network import default_address
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.manager import add
from ansible_collections.kubestrap.cluster.plugins.module_utils.programs import run

# Both distributions we know call them so; curl asks the API server.
PACKAGES = ("keepalived", "curl")
CONFIGURATION = "/etc/keepalived/keepalived.conf"
CHECK = "/etc/keepalived/kubestrap-check-api"
SERVICE = "keepalived.service"
HEADER = "# Written by kubestrap; changes are overwritten.\n"
# Without a peer keepalived falls back to multicast, where any other VRRP router would be taken for one.
NOBODY = "127.0.0.1"

CHECK_SCRIPT = """\
#!/bin/sh
{header}# The certificate is not looked at: what is asked is whether it works, and that needs no trust.
exec curl --noproxy '*' --silent --fail --insecure --max-time 4 --output /dev/null https://{node_address}:{port}/readyz
"""

TEMPLATE = """\
{header}global_defs {{
    enable_script_security
    script_user root
    vrrp_check_unicast_src
    vrrp_garp_master_refresh 60
}}

vrrp_script api_server {{
    script "{check}"
    interval 2
    timeout 5
    fall 3
    rise 1
    weight 50
    init_fail
}}

vrrp_instance kubernetes_api {{
    state BACKUP
    interface {interface}
    virtual_router_id {router}
    priority 100
    advert_int 1
    unicast_src_ip {node_address}
    unicast_peer {{
{peers}    }}
    virtual_ipaddress {{
        {address}/32 dev {interface}
    }}
    track_script {{
        api_server
    }}
}}
"""


def configuration(*, address: str, node_address: str, interface: str, peers: Iterable[str]) -> str:
    """Return keepalived.conf: the same for the same hosts, whatever order they come in."""
    others = sorted({*peers} - {node_address}, key=ipaddress.ip_address) or [NOBODY]
    return TEMPLATE.format(
        header=HEADER,
        check=CHECK,
        address=address,
        node_address=node_address,
        interface=interface,
        # All peers have the same address to hold, so its last byte is as good as a number one would have to choose.
        router=int(ipaddress.IPv4Address(address)) % 256 or 256 - 1,
        peers="".join(f"        {peer}\n" for peer in others),
    )


def peers_of(text: str) -> list[str]:
    """Return the peers a configuration of ours names."""
    block = re.search(r"unicast_peer \{\n(.*?)\}", text, re.DOTALL)
    return [] if block is None else [peer for peer in block[1].split() if peer != NOBODY]


def interface_of(address: str, listing: str) -> str:
    """Return the interface that has an address, from the output of `ip -oneline -4 address`; empty when none has."""
    for line in listing.splitlines():
        words = line.split()
        if len(words) > 3 and words[3].partition("/")[0] == address:  # noqa: PLR2004
            return words[1]
    return ""


def somebody_has(address: str, port: int) -> bool:
    """Tell whether a host has the address, this one included: it takes a connection, or refuses it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
        tcp.settimeout(1)
        try:
            tcp.connect((address, port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return True


class Keepalived:
    """One run of the module."""

    def __init__(self, module: AnsibleModule) -> None:
        """Remember what is asked for."""
        self.module = module
        self.asked: dict[str, Any] = module.params
        self.asked["node_address"] = self.asked["node_address"] or default_address()
        self.changes = Changes(module)

    def run(self) -> None:
        """Converge and end the module."""
        before = read_text(CONFIGURATION)
        if before and not before.startswith(HEADER):
            self.module.fail_json(
                msg=f"This host uses keepalived already: {CONFIGURATION} is not ours and is left alone. Let that "
                "keepalived hold the address of the API as well, and give it as cluster_api_endpoint instead of "
                "cluster_api_virtual_address; or remove the file if nobody needs it."
            )
        interface = self._interface()
        unit = systemd.show(self.module, [SERVICE])[SERVICE]
        started = systemd.StartedWith(self.module, SERVICE, unit, [CONFIGURATION])
        # Installed without a configuration it does not start, so the files may come first or last.
        manager = systems.manager(self.module)
        missing = [name for name in PACKAGES if name not in manager.installed(self.module, PACKAGES)]
        add(manager, self.changes, missing)
        script = CHECK_SCRIPT.format(
            header=HEADER, node_address=self.asked["node_address"], port=self.asked["api_port"]
        )
        self.changes.file(CHECK, script, mode=0o755)
        content = configuration(
            address=self.asked["address"],
            node_address=self.asked["node_address"],
            interface=interface,
            peers=[*self.asked["peers"], *(peers_of(before or "") if self.asked["keep_peers"] else [])],
        )
        self.changes.file(CONFIGURATION, content)
        self._service(started)
        self.changes.exit(interface=interface)

    def _interface(self) -> str:
        listing = run(self.module, ["ip", "-oneline", "-4", "address"], purpose="look at the addresses of the host")
        interface = interface_of(self.asked["node_address"], listing)
        if not interface:
            self.module.fail_json(
                msg=f"No interface of this host has its address {self.asked['node_address']} (cluster_node_address)."
            )
        return interface

    def _service(self, started: systemd.StartedWith) -> None:
        (unit,) = systemd.show(self.module, [SERVICE]).values()
        systemd.enable(self.changes, SERVICE, unit)
        if unit["ActiveState"] != "active":
            if not self.asked["takes_address"]:
                self._wait()
            systemd.start(self.changes, SERVICE, unit)
        elif started.differs(CONFIGURATION) or (self.module.check_mode and self.changes):
            systemd.restart(self.changes, SERVICE, verb="reload", reason=f"{CONFIGURATION} is another")
        self._wait()
        if not self.module.check_mode:
            started.note()

    def _wait(self) -> None:
        if self.module.check_mode:
            return
        deadline = time.monotonic() + self.asked["timeout"]
        while not somebody_has(self.asked["address"], self.asked["api_port"]):
            if time.monotonic() > deadline:
                self.module.fail_json(
                    msg=f"Nobody has the address {self.asked['address']} after {self.asked['timeout']} s. Do the "
                    "control planes reach each other with VRRP (IP protocol 112), and is the address free and of "
                    "their network? `journalctl -u keepalived` on them says what keepalived thinks."
                )
            time.sleep(0.2)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "address": {"type": "str", "required": True},
            "node_address": {"type": "str", "default": ""},
            "peers": {"type": "list", "elements": "str", "default": []},
            "keep_peers": {"type": "bool", "default": False},
            "api_port": {"type": "int", "default": 6443},
            "takes_address": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    Keepalived(module).run()


if __name__ == "__main__":
    main()
