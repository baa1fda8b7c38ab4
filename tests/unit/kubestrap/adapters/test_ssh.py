"""The look at connections with a stand-in for ssh: patience, crowds, many hosts. Real ones: tests/integration."""

import os
import time
from pathlib import Path

import pytest
from kubestrap.adapters import ssh
from kubestrap.adapters.ssh import SSHProbe
from kubestrap.model.cluster import Host

# It takes the log's name as ssh does, answers what the real one answers to -G, and runs what comes over stdin here.
FAKE = """#!/bin/sh
[ "$1" = -G ] && exec ssh "$@"
all="$*"
while [ $# -gt 0 ]; do [ "$1" = -E ] && log=$2; shift; done
count=$(($(cat {state} 2>/dev/null || echo 0) + 1)); echo $count > {state}
connected() {{ echo "debug1: Connecting to 192.0.2.11 port 22."; echo "debug1: Connection established."; }}
answer() {{ sed -n 's/.*echo \\"\\?\\(kubestrap-[0-9a-f]*\\) id .*/\\1/p' | {{ read -r mark
  echo "$mark id 0 root"; echo "$mark python 3 13 /usr/bin/python3"; echo "$mark end"; }}; }}
{body}
"""


@pytest.fixture
def probe(tmp_path, monkeypatch):
    monkeypatch.setattr(ssh, "DEAD_SECONDS", 2)
    monkeypatch.setattr(ssh, "_LOOK_SECONDS", 0.1)

    def run(body, *names, **variables):
        program = tmp_path / "fake-ssh"
        program.write_text(FAKE.format(body=body, state=tmp_path / "count"))
        program.chmod(0o700)
        given = {
            "ansible_ssh_executable": str(program),
            "ansible_ssh_args": "-F /dev/null",
            "ansible_host": "192.0.2.11",
            **variables,
        }
        hosts = [Host(name=name, role="worker", variables=given) for name in names or ("w1",)]
        results = SSHProbe(tmp_path / "state").probe(hosts)
        assert list((tmp_path / "state").glob("run-*")) == []
        return results if names else results[0]

    return run


def alive(word):
    lines = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if os.access(path, os.R_OK))
    return sum(word.encode() in line for line in lines)


def test_many_hosts_are_asked_side_by_side(probe, monkeypatch):
    monkeypatch.setattr(ssh, "DEAD_SECONDS", 60)
    began = time.monotonic()
    results = probe("sleep 1; answer", *(f"h{number}" for number in range(60)))
    assert [result.sentence for result in results if not result.ok] == []
    # One after the other would be a minute.
    assert time.monotonic() - began < 30


def test_a_silent_host_is_given_up_and_nothing_of_it_stays(probe):
    word = f"97.{os.getpid()}"  # nobody else's
    result = probe(f"echo 'debug1: Connecting to 192.0.2.11 port 22.' > $log; sleep {word}")
    assert result.problem.startswith("192.0.2.11 port 22 does not answer within")
    deadline = time.monotonic() + 10
    # It is killed, but a busy machine takes its time to bury it.
    while alive(word) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(word) == 0


def test_usedns_a_slow_login_is_reached(probe):
    result = probe("connected > $log; sleep 3; answer")
    assert result.ok
    assert result.seconds > 3


def test_a_time_out_is_no_refusal(probe, monkeypatch):
    monkeypatch.setattr(ssh, "LOGIN_SECONDS", 6)
    said = probe("connected > $log; echo 'debug1: Remote protocol version 2.0' >> $log; sleep 60").sentence
    assert "the login is not through" in said
    assert "refused" not in said


def test_a_crowd_is_tried_again(probe, monkeypatch):
    monkeypatch.setattr(ssh.random, "uniform", lambda *_: 0.01)
    closed = "echo 'kex_exchange_identification: Connection closed by remote host' >> $log; exit 255"
    assert probe(f"connected > $log; [ $count -lt 3 ] && {{ {closed}; }}; answer").ok


def test_who_talks_without_end_is_cut_short(probe):
    began = time.monotonic()
    assert not probe("echo 'Authenticated to x' > $log; exec yes").ok
    assert time.monotonic() - began < 20


def test_noise_around_the_answer_is_no_matter(probe):
    assert probe("echo Welcome; printf 'no line end'; answer; echo bye").ok


def test_the_password_reaches_ssh_and_no_command_line(probe, tmp_path):
    ask = (
        f'$SSH_ASKPASS "root@x password: " > {tmp_path}/got; $SSH_ASKPASS "Enter passphrase: " || touch {tmp_path}/not'
    )
    seen = f'echo "$all" > {tmp_path}/words; env > {tmp_path}/env; answer'
    assert probe(f"{ask}; {seen}", ansible_password="pw 'quoted'").ok  # noqa: S106
    assert (tmp_path / "got").read_text() == "pw 'quoted'\n"
    assert (tmp_path / "not").exists()
    for name in ("words", "env"):
        assert "quoted" not in (tmp_path / name).read_text()
    assert "BatchMode" not in (tmp_path / "words").read_text()


def test_a_question_of_the_persons_own_wording_is_answered(probe, tmp_path):
    ask = f'$SSH_ASKPASS "Token for x: " > {tmp_path}/got; $SSH_ASKPASS "root@x password: " || touch {tmp_path}/not'
    variables = {"ansible_password": "pw", "ansible_sshpass_prompt": "Token for"}
    assert probe(f"{ask}; answer", **variables).ok
    assert (tmp_path / "got").read_text() == "pw\n"
    assert (tmp_path / "not").exists()


def test_a_password_of_vault_the_look_goes_as_far_as_the_login(probe, tmp_path):
    vault = {"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256"}
    words = f'echo "$all" > {tmp_path}/words; connected > $log'
    asked = f"{words}; echo 'debug1: Authentications that can continue: publickey,password' >> $log; exit 255"
    assert probe(asked, ansible_password=vault).ok
    assert "PreferredAuthentications=none" in (tmp_path / "words").read_text()
    refused = "echo 'ssh: connect to host 192.0.2.11 port 22: Connection refused' > $log; exit 255"
    assert "refuses connections" in probe(refused, ansible_password=vault).problem
    changed = f"{words}; echo '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @' >> $log; exit 255"
    assert "its host key has changed" in probe(changed, ansible_password=vault).problem


def test_without_a_password_nothing_is_asked(probe, tmp_path):
    assert probe(f'echo "$all" > {tmp_path}/words; answer').ok
    assert "BatchMode=yes" in (tmp_path / "words").read_text()


def test_an_address_is_never_an_option_of_ssh(tmp_path):
    login = ssh.login_to(Host(name="-oProxyCommand=touch x", role="worker"))
    command = ssh._command(login, tmp_path / "log")
    assert command[command.index("--") + 1] == "-oProxyCommand=touch x"
