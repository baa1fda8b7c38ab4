"""Line up the hosts that lack the same archive: each gets it from the one before it, the first from this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import inspect
import json
import os
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import relay

# Ansible itself depends on it.
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PROGRAM = inspect.getsource(relay).encode()
# Seconds that a line waits for one more host since the last one came, and at most; what a host may need to start, and
# to reach the one before it; what the list of an archive may stand still.
_PATIENCE, _LONGEST = 2.0, 20.0
_START, _REACH = 10.0, 90.0
_STILL = 900.0
_LOOK_AGAIN = 0.02
# Bytes that are kept of what a host says.
_SAID = 1 << 14


class RelayError(Exception):
    """What a host said instead of taking its place, or of the archive."""


class RelayLine:
    """The lines for one archive, known to every process of this run by their directory. Whoever owns it removes it.

    Not all hosts can stand in one line: Ansible works on so many at a time, and begins with the next ones when those
    are done. So a line is closed when nobody else can come, or nobody else comes; who comes later makes the next one.
    """

    def __init__(self, directory: Path, host: str, hosts: list[str], *, at_a_time: int) -> None:
        """Name the host of this process, and all that are asked, in the same order everywhere; how many at a time."""
        self._directory, self._host, self._hosts, self._at_a_time = directory, host, hosts, at_a_time
        directory.mkdir(mode=0o700, exist_ok=True)

    @staticmethod
    def command(taker: str) -> str:
        """Return what starts the relay on a host, with the command there that takes the archive."""
        # The program itself comes with the input, so that lists of processes stay readable.
        return f"python3 -c {shlex.quote(f'import sys; exec(sys.stdin.buffer.read({len(_PROGRAM)}))')} {taker}"

    def join(self, *, lacks: bool) -> Place | None:
        """Say whether the host lacks the archive. Its place; None when it needs none, or is alone."""
        self._file(self._host, "lacks" if lacks else "has").touch()
        if not lacks:
            return None
        began = came = time.monotonic()
        known = 0
        while True:
            lines, waiting, answered = self._look()
            for number, (hosts, certificate) in enumerate(lines):
                if self._host in hosts:
                    return self._place(number, hosts, certificate)
            now = time.monotonic()
            if len(waiting) > known:
                known, came = len(waiting), now
            nobody_else = answered == len(self._hosts) or len(waiting) >= self._at_a_time
            if nobody_else or now - came > _PATIENCE or now - began > _LONGEST:
                # The first to come here does it for all.
                self._write(self._line(len(lines)), json.dumps([waiting, one_time_certificate()]))
            else:
                time.sleep(_LOOK_AGAIN)

    def publish(self, address: list[str | int] | None) -> None:
        """Say where the host gives the archive on; None when it does not."""
        self._write(self._file(self._host, "address"), json.dumps(address))

    def address_of(self, host: str) -> list[str | int] | None:
        """Wait for the address of another host; None when it has none or says nothing."""
        file, deadline = self._file(host, "address"), time.monotonic() + _START
        while time.monotonic() < deadline:
            with contextlib.suppress(FileNotFoundError):
                return json.loads(file.read_text())  # type: ignore[no-any-return]
            time.sleep(_LOOK_AGAIN)
        return None

    def _look(self) -> tuple[list[tuple[list[str], str]], list[str], int]:
        """Return the lines that are closed, who waits for the next one, and how many have answered at all."""
        lines: list[tuple[list[str], str]] = []
        # Before the answers: when another line is closed meanwhile, this one's number is taken.
        with contextlib.suppress(FileNotFoundError):
            while True:
                lines.append(tuple(json.loads(self._line(len(lines)).read_text())))
        placed = {host for hosts, _ in lines for host in hosts}
        names = {path.name for path in self._directory.iterdir()}
        lacking = [host for host in self._hosts if self._file(host, "lacks").name in names]
        has = sum(name.endswith(".has") for name in names)
        return lines, [host for host in lacking if host not in placed], len(lacking) + has

    def _place(self, number: int, hosts: list[str], certificate: str) -> Place | None:
        if len(hosts) == 1:
            return None
        index = hosts.index(self._host)
        archive = ArchiveList(self._line(number).with_suffix(".archive"))
        return Place(self, hosts[index - 1] if index else None, index + 1 < len(hosts), certificate, archive)

    def _line(self, number: int) -> Path:
        return self._directory / f"{number}.line"

    def _file(self, host: str, what: str) -> Path:
        # Not its number: hosts that failed meanwhile are in no list any more.
        return self._directory / f"{hashlib.sha256(host.encode()).hexdigest()[:16]}.{what}"

    def _write(self, path: Path, text: str) -> None:
        """Write at once, and only the first time."""
        with tempfile.NamedTemporaryFile("w", dir=self._directory) as draft:
            draft.write(text)
            draft.flush()
            with contextlib.suppress(FileExistsError):
                os.link(draft.name, path)


class ArchiveList:
    """The digests of an archive's blocks, written by the process that sends it to the first of a line."""

    def __init__(self, path: Path) -> None:
        """Name the file; every process of the line knows it."""
        self._path = path

    @contextlib.contextmanager
    def writing(self) -> Iterator[Callable[[bytes], Any]]:
        """Give what takes one line after the other; when it is not left well, those who read know."""
        try:
            file = self._path.open("xb", buffering=0)
        except FileExistsError:
            # Sent once more, by itself: the line has its list.
            yield lambda _: None
            return
        with file:
            whole = False
            try:
                yield file.write
                whole = True
            finally:
                if not whole:
                    file.write(b"{}\n")

    def lines(self) -> Iterator[bytes]:
        """Give the lines as they are written.

        Raises:
            RelayError: when the archive was not read to its end.
        """
        rest, moved = b"", time.monotonic()
        while not self._path.exists():
            if time.monotonic() - moved > _STILL:
                raise RelayError("nobody says what the archive is")
            time.sleep(_LOOK_AGAIN)
        with self._path.open("rb", buffering=0) as file:
            while True:
                found = file.read(1 << 16)
                if not found and time.monotonic() - moved > _STILL:
                    raise RelayError("nobody says how the archive goes on")
                if not found:
                    time.sleep(_LOOK_AGAIN)
                    continue
                moved = time.monotonic()
                *whole, rest = (rest + found).split(b"\n")
                for line in whole:
                    if line == b"{}":
                        raise RelayError("the archive ended in the middle")
                    yield line + b"\n"
                    if line == END.strip():
                        return


END = b'{"end": true}\n'


def listed(block: bytes) -> bytes:
    """Return the line that says what a block is."""
    return json.dumps({"sha256": hashlib.sha256(block).hexdigest(), "size": len(block)}).encode() + b"\n"


@dataclass(frozen=True)
class Place:
    """A host's place in a line.

    Attributes:
        line: The line.
        before: Host that gives the archive; None when that is this machine.
        after: Whether another host waits for it.
        certificate: PEM of the one-time certificate and key of the line.
        archive: What the archive is; written by the process of the first host, read by the others.
    """

    line: RelayLine
    before: str | None
    after: bool
    certificate: str
    archive: ArchiveList

    def take(self, process: subprocess.Popen[bytes], address: str, *, may_be_first: bool = True) -> str:
        """Lead the relay of the host to its place.

        Args:
            process: What runs `RelayLine.command` on the host; its input and output are pipes.
            address: Where the host after it reaches the host; empty for the address of its default route.
            may_be_first: Whether this machine can send once more the same bytes as it sent to the first of the line.

        Returns:
            Why the archive has to be written into the process; empty when it comes from the host before. Its list is
            written in both cases: after this, the program waits for it.

        Raises:
            RelayError: when the relay does not start, or has no use.
        """
        own = None
        try:
            _tell(process, _PROGRAM, {"address": address, "certificate": self.certificate})
            own = _place_of(_answer(process, "address"), address)
        finally:
            self.line.publish(own)
        before = self.line.address_of(self.before) if self.before else None
        _tell(process, b"", {"before": before, "after": self.after})
        missing = str(_answer(process, "missing"))
        if missing and self.before and not may_be_first:
            raise RelayError(f"{missing}, and an image that is packed once more may have other bytes")
        return missing


def _place_of(said: Any, address: str) -> list[str | int] | None:
    """Return where a host gives the archive on, if what it says is that; other hosts will go there."""
    match said:
        case [str(own), int(port)] if 0 < port < 1 << 16:
            return [address or own, port]
    return None


def _tell(process: subprocess.Popen[bytes], text: bytes, words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text + json.dumps(words).encode() + b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]


def _answer(process: subprocess.Popen[bytes], key: str) -> Any:
    """Read until the host has said this. SSH and sudo may say things of their own before it."""
    said = b""
    watch = threading.Timer(_REACH, process.kill)
    watch.start()
    try:
        for line in iter(lambda: process.stdout.readline(_SAID), b""):  # type: ignore[union-attr]
            with contextlib.suppress(ValueError):
                words = json.loads(line)
                if isinstance(words, dict) and key in words:
                    return words[key]
            said = (said + line)[-_SAID:]
    finally:
        watch.cancel()
    # What it did not take is in the way of closing the pipe.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]
    raise RelayError(said.decode(errors="replace").strip() or f"it said nothing within {_REACH:.0f} s")


def one_time_certificate() -> str:
    """Return a new key and its certificate, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubestrap relay")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The key lives for one line. Clocks of bare hosts may be years off, so the dates say nothing.
        .not_valid_before(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2100, 1, 1, tzinfo=dt.UTC))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + certificate.public_bytes(serialization.Encoding.PEM)).decode()
