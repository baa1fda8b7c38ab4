"""Hosts give an archive on to each other. The relays are real processes, here all on this machine's loopback."""

import concurrent.futures
import io
import json
import os
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.relay import BLOCK, BROKEN_OFF, REFUSED
from ansible_collections.kubestrap.cluster.plugins.plugin_utils import relay_line
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.relay_line import (
    END,
    ArchiveList,
    Place,
    RelayError,
    RelayLine,
    listed,
)

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
    return RelayLine(tmp_path / "line", host, HOSTS, at_a_time=50)


def list_of(archive: bytes, *, blocks: bool = False) -> bytes:
    """What the operator says of an archive, with the blocks themselves or without."""
    cut = [archive[at : at + BLOCK] for at in range(0, len(archive), BLOCK)]
    return b"".join(listed(block) + (block if blocks else b"") for block in cut) + END


WHOLE, LIST = list_of(ARCHIVE, blocks=True), list_of(ARCHIVE)


def places(tmp_path: Path, *, lacking: list[str]) -> list[Place | None]:
    """What each host is told, all asking at once."""
    with concurrent.futures.ThreadPoolExecutor(len(HOSTS)) as pool:
        return list(pool.map(lambda host: line(tmp_path, host).join(lacks=host in lacking), HOSTS))


def finish(process: subprocess.Popen[bytes], archive: bytes = LIST) -> int:
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
    assert finish_all(processes, [WHOLE, LIST, LIST]) == [0, 0, 0]
    assert [(tmp_path / host).read_bytes() == ARCHIVE for host in HOSTS] == [True] * 3


def test_the_exit_code_is_that_of_the_command_and_the_next_get_everything(tmp_path: Path, start: Start) -> None:
    processes = [start("one"), start("two", taker="sh -c 'exit 3'"), start("three")]
    take_all(places(tmp_path, lacking=HOSTS), processes)
    assert finish_all(processes, [WHOLE, LIST, LIST]) == [0, 3, 0]
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
        assert list(pool.map(finish, [two, three], [WHOLE, LIST])) == [0, 0]
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
    processes[0].stdin.write(WHOLE[:1_000_000])
    processes[0].stdin.flush()
    processes[0].kill()
    assert finish_all(processes[1:], [LIST, LIST]) == [BROKEN_OFF, BROKEN_OFF]


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


def test_an_operator_that_is_gone_is_no_end_of_the_archive(tmp_path: Path, start: Start) -> None:
    processes = [start(host) for host in HOSTS]
    take_all(places(tmp_path, lacking=HOSTS), processes)
    cut = [WHOLE.removesuffix(END), LIST.removesuffix(END), LIST.removesuffix(END)]
    assert finish_all(processes, cut) == [BROKEN_OFF] * 3


# -- a host of the line that was broken into

TAG = b"registry.k8s.io/kube-proxy:v1.36.4"
Members = list[tuple[tarfile.TarInfo, bytes]]


def image() -> bytes:
    """An archive as `docker save` writes it: layers first, names last."""
    layer = ARCHIVE[: 2 * BLOCK]
    manifest = json.dumps([{"Config": "c.json", "RepoTags": ["shop:1"], "Layers": ["layer.tar"]}]).encode()
    return packed([file("layer.tar", layer), file("c.json", b"{}"), file("manifest.json", manifest)])


def file(name: str, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info, content


def packed(members: Members) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


def with_members(*more: tuple[tarfile.TarInfo, bytes], first: bool = False) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(image())) as archive:
        members = [(one, (archive.extractfile(one) or io.BytesIO()).read()) for one in archive.getmembers()]
    return packed([*more, *members] if first else [*members, *more])


def with_pax() -> bytes:
    info, content = file("manifest.json", b"[]")
    info.pax_headers = {"path": "../" * 9 + "etc/cron.d/x"}
    return with_members((info, content))


EVIL = {
    "another tag in manifest.json": image().replace(b'["shop:1"]', b'["shop:1","%s"]' % TAG),
    "another manifest.json at the end": with_members(file("manifest.json", b'[{"RepoTags":["%s"]}]' % TAG)),
    "another manifest.json at the beginning": with_members(file("manifest.json", b"[]"), first=True),
    "a file repositories": with_members(file("repositories", b'{"registry.k8s.io/kube-proxy":{"v1.36.4":"0"}}')),
    "an index.json": with_members(file("index.json", b'{"manifests":[]}')),
    "the same member twice": with_members(file("layer.tar", b"other")),
    "a symbolic link": with_members(link("layer.tar", "/etc/shadow")),
    "a hard link": with_members(link("layer.tar", "c.json", tarfile.LNKTYPE)),
    "a name that leads out": with_members(file("../../etc/cron.d/x", b"* * * * * root id")),
    "a name by a pax header": with_pax(),
    "a second archive after the end": image() + packed([file("manifest.json", b"[]")]),
    "a byte after the end": image() + b"x",
    "one bit": bytes([image()[0] ^ 1]) + image()[1:],
    "less, on the border of a block": image()[:BLOCK],
    "less": image()[: BLOCK + 5],
    "nothing": b"",
    "an endless stream": image() + bytes(9 * BLOCK),
}


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_that_the_operator_did_not_send_reaches_the_loader(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch, evil: str
) -> None:
    (tmp_path / "evil").write_bytes(EVIL[evil])
    found = places(tmp_path, lacking=HOSTS)
    # The same program, but it gives on what is in a file.
    honest = relay_line._PROGRAM
    give = f"after.sendall(open({str(tmp_path / 'evil')!r}, 'rb').read()); after.unwrap(); return 0"
    turned = honest.replace(b"return _pass_on(before, after, sys.argv[1:])", give.encode())
    assert turned != honest
    monkeypatch.setattr(relay_line, "_PROGRAM", turned)
    one = start("one")
    two, three = None, None
    taking = threading.Thread(target=found[0].take, args=(one, LOOPBACK))  # type: ignore[union-attr]
    taking.start()
    assert line(tmp_path, "two").address_of("one")
    monkeypatch.setattr(relay_line, "_PROGRAM", honest)
    two, three = start("two"), start("three")
    take_all(found[1:], [two, three])
    taking.join()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda each: each.communicate(list_of(image()), timeout=20)[0].decode(), [two, three]))
    assert two.returncode == REFUSED, said
    assert three.returncode == BROKEN_OFF, said
    assert re_at(said[0]), said
    for host in ("two", "three"):
        taken = (tmp_path / host).read_bytes() if (tmp_path / host).exists() else b""
        assert image().startswith(taken), "a byte that the operator did not send"


def re_at(said: str) -> bool:
    return "another archive" in said or "more came" in said


def test_a_host_that_says_odd_things_about_itself_is_passed_over(tmp_path: Path) -> None:
    for number, odd in enumerate(('["10.0.0.1"]', '[1, "x"]', '{"a": 1}', '["10.0.0.1", 99999999]', "null")):
        found = RelayLine(tmp_path / str(number), "one", HOSTS, at_a_time=2)
        RelayLine(tmp_path / str(number), "two", HOSTS, at_a_time=2)._file("two", "lacks").touch()
        place = found.join(lacks=True)
        assert place is not None
        said = f"""{{"address": {odd}}}\n{{"missing": ""}}"""
        script = f"head -c {len(relay_line._PROGRAM)} >/dev/null; echo '{said}'; cat >/dev/null"
        with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as liar:
            place.take(liar, LOOPBACK)
        assert found.address_of("one") is None


# -- more hosts than Ansible works on at a time


def test_120_hosts_with_50_at_a_time_make_a_line_for_each_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_line, "_PATIENCE", 0.4)
    monkeypatch.setattr(relay_line, "one_time_certificate", lambda: "certificate")
    hosts = [f"host{number}" for number in range(120)]

    def one(host: str) -> Place | None:
        place = RelayLine(tmp_path / "line", host, hosts, at_a_time=50).join(lacks=True)
        time.sleep(7 * hosts.index(host) % 50 / 200)
        return place

    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        found = list(pool.map(one, hosts))
    copies = sum(place is None or place.before is None for place in found)
    assert copies == 3, f"{copies} copies leave the operator's machine"
    assert {place.before for place in found if place and place.before} < set(hosts)
    assert time.monotonic() - began < 20


def test_the_list_of_an_archive_that_stops_in_the_middle_is_no_list(tmp_path: Path) -> None:
    archive = ArchiveList(tmp_path / "list")

    def stop_in_the_middle() -> None:
        with archive.writing() as write:
            write(listed(b"a"))
            raise OSError("docker save failed")

    with pytest.raises(OSError, match="docker"):
        stop_in_the_middle()
    lines = archive.lines()
    assert next(lines) == listed(b"a")
    with pytest.raises(RelayError, match="in the middle"):
        next(lines)


def test_the_list_is_that_of_the_first_time(tmp_path: Path) -> None:
    archive = ArchiveList(tmp_path / "list")
    for content in (b"a", b"b"):
        with archive.writing() as write:
            write(listed(content))
            write(END)
    assert list(archive.lines()) == [listed(b"a"), END]
