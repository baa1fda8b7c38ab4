"""The packets of the probe and what their answers mean."""

import socket
import struct
import threading
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.modules import pod_probe

PODS = [{"node": "a", "uid": "1", "address": "10.0.0.1"}, {"node": "b", "uid": "2", "address": "10.0.1.1"}]
ADDRESS = {"address": "10.96.0.10", "name": "kubernetes.default.svc.cluster.local"}


def test_a_checksum_over_a_packet_with_its_checksum_is_zero() -> None:
    assert pod_probe.checksum(pod_probe.echo_request(77, 1)) == 0


def test_a_pod_is_found_by_the_name_of_its_control_group_whatever_runs_it(tmp_path: Path) -> None:
    groups = {
        "1": "0::/init.scope\n",
        "20": "0::/kubepods.slice/kubepods-podaa_bb.slice/docker-9.scope\n",
        "30": "4:pids:/kubepods.slice/kubepods-podcc_dd.slice/cri-containerd-9.scope\n",
        "40": "0::/kubepods/besteffort/podee-ff/9\n",
    }
    for pid, text in groups.items():
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "cgroup").write_text(text)
    (tmp_path / "50").mkdir()
    assert [pod_probe.find_process(uid, tmp_path) for uid in ("aa-bb", "cc-dd", "ee-ff")] == ["20", "30", "40"]
    with pytest.raises(OSError, match="does not run the pod"):
        pod_probe.find_process("aa-cc", tmp_path)


def test_a_question_asks_for_an_ipv4_address() -> None:
    asked = pod_probe.question("a.bc")
    assert asked[12:] == b"\x01a\x02bc\x00" + struct.pack("!HH", 1, 1)


@pytest.mark.parametrize(
    ("flags", "answers", "words"),
    [(0x8180, 1, ""), (0x8180, 0, "empty"), (0x8183, 0, "does not exist"), (0x8182, 0, "failed")],
)
def test_replies_without_an_answer_are_told(flags: int, answers: int, words: str) -> None:
    reply = struct.pack("!HHHHHH", 1, flags, 1, answers, 0, 0)
    assert words in pod_probe.why_no_answer(reply)
    assert bool(pod_probe.why_no_answer(reply)) is bool(words)


def test_tcp_reads_the_reply_behind_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    reply = struct.pack("!HHHHHH", 1, 0x8180, 1, 1, 0, 0)
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        connection.recv(512)
        connection.sendall(struct.pack("!H", len(reply)) + reply)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda _, timeout: connect(server.getsockname(), timeout=timeout))
    assert pod_probe.ask_tcp("10.96.0.10", "a.b", 2) == ""
    thread.join()
    server.close()


def found(monkeypatch: pytest.MonkeyPatch, silent: set[str], udp: str = "", tcp: str = "") -> list[str]:
    monkeypatch.setattr(pod_probe, "enter_pod", lambda _: None)
    monkeypatch.setattr(pod_probe, "ping", lambda *_: silent)
    monkeypatch.setattr(pod_probe, "ask_udp", lambda *_: udp)
    monkeypatch.setattr(pod_probe, "ask_tcp", lambda *_: tcp)
    return pod_probe.probe("a", PODS, ADDRESS, 1)


def test_nothing_is_said_when_all_works(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, set()) == []


def test_silent_pods_are_named_with_the_port_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = found(monkeypatch, {"10.0.1.1"})
    assert "on a do not reach pods on b (10.0.1.1)" in line
    assert "8472" in line


def test_dns_is_told_for_each_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    udp, tcp = found(monkeypatch, set(), udp="timed out", tcp="refused")
    assert "UDP" in udp
    assert "TCP" in tcp


def test_a_pod_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(_: Any) -> None:
        raise OSError("Docker does not run the pod")

    monkeypatch.setattr(pod_probe, "enter_pod", nowhere)
    (line,) = pod_probe.probe("a", PODS, ADDRESS, 1)
    assert "node a" in line
