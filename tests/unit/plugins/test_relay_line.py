"""Hosts give an archive on to each other. The relays are real processes, here all on this machine's loopback."""

import concurrent.futures
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.relay import BROKEN_OFF
from ansible_collections.kubestrap.cluster.plugins.plugin_utils import relay_line
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.relay_line import Place, RelayError, RelayLine

type Start = Callable[..., subprocess.Popen[bytes]]
ARCHIVE = os.urandom(3_000_001)
HOSTS = ["one", "two", "three"]
LOOPBACK = "127.0.0.1"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start the relay of a host; what comes is written into a file with its name."""
    started = []

    def start(host: str, taker: str = "sh -c 'cat >{file}'") -> subprocess.Popen[bytes]:
        command = RelayLine.command(taker.format(file=tmp_path / host))
        pipe = subprocess.PIPE
        process = subprocess.Popen(["sh", "-c", f"exec {command} 2>&1"], stdin=pipe, stdout=pipe)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(tmp_path: Path, host: str) -> RelayLine:
    return RelayLine(tmp_path / "line", host, HOSTS)


def places(tmp_path: Path, *, lacking: list[str]) -> list[Place | None]:
    """What each host is told, all asking at once."""
    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(lambda host: line(tmp_path, host).join(lacks=host in lacking), HOSTS))


def finish(process: subprocess.Popen[bytes], archive: bytes = b"") -> int:
    """Give what has to be given, and wait for the end."""
    process.communicate(archive, timeout=20)
    return process.returncode


def take_all(found: list[Place | None], processes: list[subprocess.Popen[bytes]]) -> list[str]:
    """Lead every relay to its place, side by side."""
    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(lambda pair: pair[0].take(pair[1], LOOPBACK), zip(found, processes, strict=True)))


def finish_all(processes: list[subprocess.Popen[bytes]], archives: list[bytes]) -> list[int]:
    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(finish, processes, archives))


def test_only_those_who_lack_the_archive_stand_in_line(tmp_path: Path) -> None:
    one, two, three = places(tmp_path, lacking=["one", "three"])
    assert one is not None
    assert three is not None
    assert (one.before, one.after) == (None, True)
    assert two is None
    assert (three.before, three.after) == ("one", False)
    assert one.certificate == three.certificate


def test_one_alone_needs_no_line(tmp_path: Path) -> None:
    assert places(tmp_path, lacking=["two"]) == [None, None, None]


def test_nobody_waits_long_for_a_host_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_line, "_PATIENCE", 0.1)
    assert line(tmp_path, "one").join(lacks=True) is None
    assert line(tmp_path, "two").join(lacks=True) is None, "the line is closed"


def test_the_archive_leaves_here_once_and_reaches_all(tmp_path: Path, start: Start) -> None:
    processes = [start(host) for host in HOSTS]
    first, *others = take_all(places(tmp_path, lacking=HOSTS), processes)
    assert first
    assert others == ["", ""]
    assert finish_all(processes, [ARCHIVE, b"", b""]) == [0, 0, 0]
    assert [(tmp_path / host).read_bytes() == ARCHIVE for host in HOSTS] == [True] * 3


def test_the_exit_code_is_that_of_the_command_and_the_next_get_everything(tmp_path: Path, start: Start) -> None:
    processes = [start("one"), start("two", taker="sh -c 'exit 3'"), start("three")]
    take_all(places(tmp_path, lacking=HOSTS), processes)
    assert finish_all(processes, [ARCHIVE, b"", b""]) == [0, 3, 0]
    assert (tmp_path / "three").read_bytes() == ARCHIVE


def test_a_host_that_reaches_nobody_takes_the_archive_from_here(tmp_path: Path, start: Start) -> None:
    found = places(tmp_path, lacking=HOSTS)
    with socket.create_server((LOOPBACK, 0)) as gone:
        nobody = gone.getsockname()
    line(tmp_path, "one").publish(list(nobody))
    two, three = start("two"), start("three")
    assert found[1] is not None
    assert found[2] is not None
    assert "refused" in found[1].take(two, LOOPBACK)
    assert found[2].take(three, LOOPBACK) == ""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert list(pool.map(finish, [two, three], [ARCHIVE, b""])) == [0, 0]
    assert (tmp_path / "three").read_bytes() == ARCHIVE


def test_a_host_without_the_relay_says_so_and_the_next_take_the_archive_from_here(tmp_path: Path, start: Start) -> None:
    found = places(tmp_path, lacking=HOSTS)
    broken = subprocess.Popen(
        ["sh", "-c", "echo python3: not found; exit 127"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert found[0] is not None
    assert found[1] is not None
    with broken, pytest.raises(RelayError, match="python3: not found"):
        found[0].take(broken, LOOPBACK)
    two = start("two")
    assert found[1].take(two, LOOPBACK)


def test_all_after_a_break_know_that_the_archive_is_not_whole(tmp_path: Path, start: Start) -> None:
    processes = [start(host) for host in HOSTS]
    take_all(places(tmp_path, lacking=HOSTS), processes)
    processes[0].stdin.write(ARCHIVE[:1_000_000])
    processes[0].stdin.flush()
    processes[0].kill()
    assert finish_all(processes[1:], [b"", b""]) == [BROKEN_OFF, BROKEN_OFF]


def test_a_stranger_is_sent_away(tmp_path: Path, start: Start) -> None:
    found = places(tmp_path, lacking=HOSTS)
    one, two = start("one"), start("two")
    assert found[0] is not None
    assert found[1] is not None
    taking = threading.Thread(target=found[0].take, args=(one, LOOPBACK))
    taking.start()
    address = line(tmp_path, "two").address_of("one")
    assert address is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with socket.create_connection((str(address[0]), int(address[1]))) as plain, context.wrap_socket(plain) as stranger:
        stranger.settimeout(10)
        with pytest.raises(OSError, match=r"certificate required|reset|EOF"):
            stranger.recv(1)
    taking.join()
    assert found[1].take(two, LOOPBACK) == ""
