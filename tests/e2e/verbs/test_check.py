"""`kubestrap check` on hosts as they come, and on hosts that have something wrong."""

import pytest

from tests.conftest import Hosts, Program

# What a check must not touch: packages, configuration, processes.
STATE = (
    "dpkg-query -W | sha256sum; find /etc -newer /etc/hostname -type f | sort | sha256sum; ls /proc/sys/net | sha256sum"
)


def test_bare_hosts_pass_and_nothing_changes(bare: Hosts, program: Program) -> None:
    before = bare.sh("worker1", STATE)
    result = program.run("check", "-i", bare.inventory)
    assert "No blocker" in result.stdout
    assert bare.sh("worker1", STATE) == before


def test_every_blocker_of_every_host_is_named_at_once(bare: Hosts, program: Program) -> None:
    listen = "import socket, time; s = socket.create_server(('', {port})); time.sleep(120)"
    for host, port in (("cp1", 6443), ("worker1", 10250)):
        bare.sh(host, f'setsid python3 -c "{listen.format(port=port)}" >/dev/null 2>&1 & sleep 0.5')
    try:
        result = program.run("check", "-i", bare.inventory, expect=3)
    finally:
        for host in ("cp1", "worker1"):
            bare.sh(host, "pkill -f create_server")
    assert "6443" in result.stdout
    assert "10250" in result.stdout
    assert bare.host("cp1") in result.stdout
    assert bare.host("worker1") in result.stdout


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("cluster_kubernetes_repository_key_fingerprint=" + "0" * 40, "0" * 40),
        ("cluster_kubernetes_repository=http://127.0.0.1:9/{minor}/", "127.0.0.1:9"),
    ],
    ids=["signed-with-another-key", "mirror-unreachable"],
)
def test_unusable_repository_is_a_blocker(bare: Hosts, program: Program, variable: str, told: str) -> None:
    result = program.run("check", "-i", bare.inventory, "-e", variable, expect=3)
    assert "repository-unusable" in result.stdout
    assert told in result.stdout


def test_wrong_digest_is_refused_before_anything_changes(bare: Hosts, program: Program) -> None:
    before = bare.sh("cp1", STATE)
    wrong = '{"cluster_cri_dockerd_sha256": {"amd64": "' + "0" * 64 + '"}}'
    result = program.run("up", "-i", bare.inventory, "-e", wrong, expect=5)
    assert "0" * 64 in result.stdout
    assert bare.sh("cp1", STATE) == before
