"""What works today and breaks a node later."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import look, rules_machine, rules_network
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding

ROOT = Path(__file__).parents[5]
OURS = rules_machine.SYSCTL_FILE
FORWARD = {"net.ipv4.ip_forward": "1"}


def ids(findings: list[Finding]) -> list[str]:
    return [finding.id for finding in findings]


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("/etc/sysctl.d/99-zz-mine.conf", "net.ipv4.ip_forward=0\n", True),
        ("/etc/sysctl.d/99-zz-mine.conf", "net/ipv4/ip_forward = 0\n", True),
        ("/etc/sysctl.d/99-zz-mine.conf", " -net.ipv4.ip_forward = 0\n", True),
        ("/usr/lib/sysctl.d/zz.conf", "net.ipv4.ip_forward = 0\n", True),
        ("/etc/sysctl.d/99-zz-mine.conf", "net.ipv4.ip_forward = 1\n", False),
        ("/etc/sysctl.d/99-zz-mine.conf", "net.ipv4.ip_forward=0\nnet.ipv4.ip_forward=1\n", False),
        ("/etc/sysctl.d/99-zz-mine.conf", "# net.ipv4.ip_forward=0\n;net.ipv4.ip_forward=0\n", False),
        ("/etc/sysctl.d/10-mine.conf", "net.ipv4.ip_forward=0\n", False),
        ("/etc/sysctl.d/99-zz-mine.conf", "net.ipv6.conf.all.forwarding=0\n", False),
    ],
)
def test_file_that_wins_over_ours(name: str, text: str, told: bool) -> None:
    for files in ({name: text}, {name: text, OURS: "net.ipv4.ip_forward = 1\n"}):
        found = rules_machine.overridden_sysctls(files, FORWARD)
        assert ids(found) == (["sysctl-overridden"] if told else [])
        assert all(name in finding.evidence for finding in found)


def test_settings_are_those_of_node_base() -> None:
    needed = yaml.safe_load((ROOT / "roles/preflight/vars/main.yml").read_text())["__preflight_sysctls"]
    made = yaml.safe_load((ROOT / "roles/node_base/vars/main.yml").read_text())["__node_base_sysctls"]
    assert needed.items() <= made.items()


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], ""),
        (["10-flannel.conflist"], ""),
        (["05-old.conflist"], "05-old.conflist"),
        (["05-old.conflist", "10-flannel.conflist"], "05-old.conflist"),
        # On a bare host the first pods would get it; beside flannel's own it is never used.
        (["87-podman-bridge.conflist"], "87-podman-bridge.conflist"),
        (["87-podman-bridge.conflist", "10-flannel.conflist"], ""),
        (["README", ".gitkeep", "05-old.conflist.bak"], ""),
        (["200-loopback.conf", "x.json"], "200-loopback.conf, x.json"),
    ],
)
def test_configuration_of_another_pod_network(names: list[str], told: str) -> None:
    found = rules_network.foreign_cni(names, in_cluster=False)
    assert ids(found) == (["cni-foreign"] if told else [])
    if told:
        assert told in found[0].evidence
        assert found[0].blocker
        assert "rm " not in found[0].fix


@pytest.mark.parametrize(
    ("names", "told"),
    [
        # What connects the pods of a node is nothing to move away.
        (["10-bridge.conflist"], "10-bridge.conflist"),
        (["10-calico.conflist", "87-podman.conflist"], "10-calico.conflist"),
        # Beside flannel's it does not connect them, or takes the pods that start from now on.
        (["05-old.conflist", "10-flannel.conflist"], ""),
    ],
)
def test_network_of_a_node_is_not_moved_away(names: list[str], told: str) -> None:
    (found,) = rules_network.foreign_cni(names, in_cluster=True)
    if told:
        assert told in found.evidence
        assert "Set cluster_pod_network to none" in found.fix
    assert ("`mv" in found.fix or " mv " in found.fix) == (not told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[Service]\nExecStart=/sbin/swapon /swapfile\n", True),
        ("[Service]\nType=oneshot\nExecStartPost=/bin/sh -c 'mkswap /dev/zram0 && swapon /dev/zram0'\n", True),
        ("[Service]\nExecStart=/sbin/swapoff -a\n", False),
        ("[Service]\n# ExecStart=/sbin/swapon -a\nExecStart=/bin/true\n", False),
        ("[Unit]\nDescription=no swapon here\n", False),
    ],
)
def test_unit_that_runs_swapon(text: str, told: bool) -> None:
    found = rules_machine.swap_units({"/etc/systemd/system/my-swap.service": text}, {})
    assert ids(found) == (["swap-comes-back"] if told else [])
    assert all("systemctl disable --now my-swap.service" in finding.fix for finding in found)


def test_script_that_runs_swapon() -> None:
    scripts = {"/etc/rc.local": "#!/bin/sh\n/sbin/swapon /swapfile\n", "/etc/crontab": "# @reboot root swapon -a\n"}
    (finding,) = rules_machine.swap_units({}, scripts)
    assert "/etc/rc.local" in finding.evidence


def test_swap_units_of_their_own_and_scripts_of_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    directory = "/etc/systemd/system"
    units = {
        f"{directory}/swapfile.swap": "[Swap]\nWhat=/swapfile\n[Install]\nWantedBy=multi-user.target\n",
        f"{directory}/kept-off.swap": "[Swap]\nWhat=/swapfile\n[Install]\nWantedBy=swap.target\n",
        f"{directory}/zram.service": f"[Service]\nType=oneshot\nExecStart=/bin/bash {tmp_path}/zram.sh start\n",
        f"{directory}/tool.service": f"[Service]\nExecStart=-{tmp_path}/tool\n",
        f"{directory}/asks.service": f"[Service]\nExecStart={tmp_path}/asks.sh\nExecStart=/sbin/swapon --show\n",
    }
    (tmp_path / "zram.sh").write_text("#!/bin/sh\nzramctl -s 1G /dev/zram0 && swapon /dev/zram0\n")
    (tmp_path / "asks.sh").write_text("#!/bin/sh\n# swapon is elsewhere\nswapon -s\n")
    (tmp_path / "tool").write_bytes(b"\x7fELF swapon /x")
    monkeypatch.setattr(look, "OWN_PROGRAMS", (str(tmp_path),))
    found = rules_machine.swap_units(units, look.boot_scripts(units))
    assert [finding.evidence.split()[0] for finding in found] == [
        f"{directory}/swapfile.swap",
        f"{tmp_path}/zram.sh",
    ]


def test_name_servers() -> None:
    def judge(servers: list[str], *silent: str) -> list[str]:
        return ids(rules_network.nameservers("/etc/resolv.conf", servers, silent))

    five = [f"192.0.2.{n}" for n in range(1, 6)]
    assert judge(five[:3]) == []
    assert judge(five) == ["resolver-too-many"]
    assert judge(five, *five[:3]) == ["resolver-too-many", "resolver-silent"]
    assert judge(five[:2], five[0]) == ["resolver-silent"]
    (one,) = rules_network.nameservers("/etc/resolv.conf", five[:2], five[:1])
    assert "192.0.2.1 in /etc/resolv.conf does not answer: each look-up waits" in one.evidence
    (both,) = rules_network.nameservers("/etc/resolv.conf", five[:2], five[:2])
    assert "no name can be looked up" in both.evidence


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        port = udp.getsockname()[1]
        connect = socket.socket.connect

        class Redirected(socket.socket):
            def connect(self, address: Any) -> None:
                connect(self, (address[0], port))

        monkeypatch.setattr(look.socket, "socket", Redirected)
        monkeypatch.setattr(look, "ANSWER_SECONDS", 0.3)
        yield udp


def test_refusal_is_an_answer(server: socket.socket) -> None:
    def refuse() -> None:
        asked, sender = server.recvfrom(512)
        server.sendto(asked[:2] + b"\x81\x05" + asked[4:], sender)

    thread = threading.Thread(target=refuse)
    thread.start()
    assert look.answers("127.0.0.1")
    thread.join()


@pytest.mark.usefixtures("server")
def test_silence_is_none() -> None:
    assert not look.answers("127.0.0.1")


def test_time_service_that_runs_and_reaches_nobody() -> None:
    service = rules_machine.clock_service(["systemd", "systemd-timesyn", "sshd"])
    assert service == "systemd-timesyncd"
    finding = rules_machine.unsynchronised(service)
    assert "systemd-timesyncd runs, but" in finding.evidence
    assert "nstall" not in finding.fix
    assert "Install one" in rules_machine.unsynchronised(rules_machine.clock_service(["systemd"])).fix


def ruleset(
    policy: str, *rules: dict[str, Any], family: str = "inet", name: str = "forward", hook: str = "forward"
) -> str:
    chain = {"family": family, "table": "filter", "name": name, "hook": hook, "type": "filter", "policy": policy}
    made = [{"rule": {"family": family, "table": "filter", "chain": name, "expr": [rule]}} for rule in rules]
    return json.dumps({"nftables": [{"metainfo": {}}, {"chain": chain}, *made]})


@pytest.mark.parametrize(
    ("said", "chains"),
    [
        (ruleset("accept"), []),
        (ruleset("drop"), ["inet filter forward"]),
        (ruleset("drop", {"accept": None}), ["inet filter forward"]),
        (ruleset("drop", name="input", hook="input"), ["inet filter input"]),
        (ruleset("drop", name="output", hook="output"), []),
        (ruleset("drop", {"jump": {"target": "DOCKER-USER"}}, family="ip", name="FORWARD"), []),
        (ruleset("drop", {"jump": {"target": "FLANNEL-FWD"}}, family="ip", name="FORWARD"), []),
        ("", []),
        ("[]", []),
        ("no json", []),
    ],
)
def test_chain_that_drops_what_it_does_not_accept(said: str, chains: list[str]) -> None:
    assert look.dropping_chains(said) == chains


@pytest.mark.parametrize(
    ("said", "chains"),
    [
        ("-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n", ["iptables FORWARD"]),
        ("-P INPUT DROP\n-P FORWARD ACCEPT\n-A INPUT -j ACCEPT\n", ["iptables INPUT"]),
        ("-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n", []),
        ("", []),
    ],
)
def test_policy_of_iptables(said: str, chains: list[str]) -> None:
    assert look.dropping_policy(said) == chains
