"""Line up the hosts that lack the same archive: each gets it from the one before it, the first from this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import json
import os
import shlex
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.kubestrap.cluster.plugins.module_utils import relay

# Ansible itself depends on it.
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PROGRAM = inspect.getsource(relay).encode()
# Seconds that a host waits for the others to say whether they lack the archive, and for the address of the one before.
_PATIENCE = 2.0
_START = 10.0
_LOOK_AGAIN = 0.02


class RelayError(Exception):
    """What a host said instead of taking its place."""


class RelayLine:
    """One line, known to every process of this run by its directory. Whoever owns the directory removes it."""

    def __init__(self, directory: Path, host: str, hosts: list[str]) -> None:
        """Name the host of this process, and all hosts that are asked, in the same order everywhere."""
        self._directory, self._host, self._hosts = directory, host, hosts
        directory.mkdir(mode=0o700, exist_ok=True)

    @staticmethod
    def command(taker: str) -> str:
        """Return what starts the relay on a host, with the command there that takes the archive."""
        # The program itself comes with the input, so that lists of processes stay readable.
        return f"python3 -c {shlex.quote(f'import sys; exec(sys.stdin.buffer.read({len(_PROGRAM)}))')} {taker}"

    def join(self, *, lacks: bool) -> Place | None:
        """Say whether the host lacks the archive. Its place; None when it needs none, is alone or too late."""
        self._file(self._host, "lacks" if lacks else "has").touch()
        if not lacks:
            return None
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline and not all(self._answered(host) for host in self._hosts):
            time.sleep(_LOOK_AGAIN)
        hosts, certificate = self._close()
        if self._host not in hosts or len(hosts) == 1:
            return None
        index = hosts.index(self._host)
        return Place(self, hosts[index - 1] if index else None, index + 1 < len(hosts), certificate)

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

    def _answered(self, host: str) -> bool:
        return self._file(host, "lacks").exists() or self._file(host, "has").exists()

    def _close(self) -> tuple[list[str], str]:
        """Fix who is in the line, and its certificate. The first to come here does it for all."""
        closed = self._directory / "line"
        if not closed.exists():
            hosts = [host for host in self._hosts if self._file(host, "lacks").exists()]
            self._write(closed, json.dumps([hosts, one_time_certificate()]))
        hosts, certificate = json.loads(closed.read_text())
        return hosts, certificate

    def _file(self, host: str, what: str) -> Path:
        return self._directory / f"{self._hosts.index(host)}.{what}"

    def _write(self, path: Path, text: str) -> None:
        """Write at once, and only the first time."""
        with tempfile.NamedTemporaryFile("w", dir=self._directory) as draft:
            draft.write(text)
            draft.flush()
            with contextlib.suppress(FileExistsError):
                os.link(draft.name, path)


@dataclass(frozen=True)
class Place:
    """A host's place in a line.

    Attributes:
        line: The line.
        before: Host that gives the archive; None when that is this machine.
        after: Whether another host waits for it.
        certificate: PEM of the one-time certificate and key of the line.
    """

    line: RelayLine
    before: str | None
    after: bool
    certificate: str

    def take(self, process: subprocess.Popen[bytes], address: str) -> str:
        """Lead the relay of the host to its place.

        Args:
            process: What runs `RelayLine.command` on the host; its input and output are pipes.
            address: Where the host after it reaches the host; empty for the address of its default route.

        Returns:
            Why the archive has to be written into the process; empty when it comes from the host before.

        Raises:
            RelayError: when the relay does not start.
        """
        try:
            _tell(process, _PROGRAM, {"address": address, "certificate": self.certificate})
            own = _answer(process, "address")
        except RelayError:
            self.line.publish(None)
            raise
        self.line.publish(own)
        before = self.line.address_of(self.before) if self.before else None
        _tell(process, b"", {"before": before, "after": self.after})
        return str(_answer(process, "missing"))


def _tell(process: subprocess.Popen[bytes], text: bytes, words: dict[str, Any]) -> None:
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(text + json.dumps(words).encode() + b"\n")  # type: ignore[union-attr]
        process.stdin.flush()  # type: ignore[union-attr]


def _answer(process: subprocess.Popen[bytes], key: str) -> Any:
    """Read until the host has said this. SSH and sudo may say things of their own before it."""
    said = b""
    for line in process.stdout:  # type: ignore[union-attr]
        with contextlib.suppress(ValueError):
            words = json.loads(line)
            if isinstance(words, dict) and key in words:
                return words[key]
        said += line
    # What it did not take is in the way of closing the pipe.
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]
    raise RelayError(said.decode(errors="replace").strip())


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
