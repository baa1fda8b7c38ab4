"""What works today and breaks a node later: `check` names it, provoked on real hosts; healthy ones get none of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import Hosts, Program

NAMED = {
    "sysctl-file-read-after-ours": (
        "echo net.ipv4.ip_forward=0 > /etc/sysctl.d/99-zz-mine.conf",
        "rm /etc/sysctl.d/99-zz-mine.conf",
        ("sysctl-overridden", "/etc/sysctl.d/99-zz-mine.conf sets net.ipv4.ip_forward = 0"),
        0,
    ),
    "another-pod-networks-configuration": (
        (
            'mkdir -p /etc/cni/net.d; echo \'{"cniVersion": "1.0.0", "name": "old", "plugins": [{"type": "bridge"}]}\' '
            "> /etc/cni/net.d/05-old.conflist"
        ),
        "rm /etc/cni/net.d/05-old.conflist; rmdir /etc/cni/net.d /etc/cni",
        ("cni-foreign", "05-old.conflist"),
        3,
    ),
    "forward-policy-drop": (
        "iptables -P FORWARD DROP",
        "iptables -P FORWARD ACCEPT",
        ("firewall-active", "FORWARD drops what it does not accept"),
        0,
    ),
    "unit-that-runs-swapon": (
        "printf '[Service]\\nExecStart=/sbin/swapon /swapfile\\n' > /etc/systemd/system/my-swap.service",
        "rm /etc/systemd/system/my-swap.service",
        ("swap-comes-back", "my-swap.service turns swap on"),
        0,
    ),
    "name-servers-too-many-and-silent": (
        # Addresses of the lab's own network that no host has.
        (
            "cp /etc/resolv.conf /root/resolv.before; net=$(hostname -I | cut -d. -f1-3); "
            "{ for n in 241 242 243; do echo nameserver $net.$n; done; cat /root/resolv.before; "
            "echo nameserver 192.0.2.1; echo search a.example b.example c.example; } > /root/resolv.new; "
            "cat /root/resolv.new > /etc/resolv.conf"
        ),
        "cat /root/resolv.before > /etc/resolv.conf; rm /root/resolv.before /root/resolv.new",
        ("resolver-too-many", "resolver-silent", ".241, "),
        # Without any name server apt finds no package either, which blocks.
        3,
    ),
}


@contextmanager
def provoked(hosts: Hosts, name: str, make: str, undo: str) -> Iterator[None]:
    hosts.sh(name, make)
    try:
        yield
    finally:
        hosts.sh(name, undo)


@pytest.mark.parametrize(("make", "undo", "told", "code"), NAMED.values(), ids=NAMED)
def test_check_names(
    bare: Hosts,
    program: Program,
    make: str,
    undo: str,
    told: tuple[str, ...],
    code: int,
    measured: Callable[[str, str], None],
) -> None:
    with provoked(bare, "worker1", make, undo):
        result = program.run("check", "-i", bare.inventory, expect=code)
    for text in told:
        assert text in result.stdout
    measured("found before it breaks", told[0])
    healthy = program.run("check", "-i", bare.inventory)

    assert told[0] not in healthy.stdout


def test_network_that_loses_large_packets_is_named(
    cluster: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    rule = "OUTPUT -p udp --dport 8472 -m length --length 1300:65535 -j DROP"
    with provoked(cluster, "worker1", f"iptables -I {rule}", f"iptables -D {rule}"):
        result = program.run("up", "-i", cluster.inventory, expect=None)
    assert result.code in {5, 6}, result.stdout
    assert "get lost: the network between the hosts does not carry" in result.stdout
    measured("found before it breaks", "MTU black hole")
    program.run("up", "-i", cluster.inventory)
