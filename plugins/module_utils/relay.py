"""A program of its own on a host: takes an archive from the host before it in a line, gives it to the one after it.

It is sent to the host's Python as text: standard library only, Python 3.9, nothing else of this collection. Its
arguments are the command here that takes the archive as well. It talks with the operator's machine by lines of JSON:

    operator  {"address": "10.0.0.7", "certificate": PEM}     "" for the address of the default route
    host      {"address": ["10.0.0.7", 40001]}                where the host after it can connect
    operator  {"before": ["10.0.0.6", 40321], "after": true}  null for the first of the line, false for the last
    host      {"missing": ""}                                 or why the archive has to come on the input
    operator  {"sha256": HEX, "size": 262144}                 for each block; the block itself when it was missing
    operator  {"end": true}
    host      {"at": 7340032}                                 bytes it took, now and then

The operator alone says what the archive is: a block that the host before gives is compared with its digest before the
command, or the host after, gets a byte of it. Hosts prove themselves to each other by the one certificate that they got
from the operator for this line alone; it keeps strangers away, and is no reason to believe what a host sends.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# EX_TEMPFAIL and EX_PROTOCOL of sysexits.h. The command can be asked again: it got no byte that was not compared.
BROKEN_OFF, REFUSED = 75, 76
BLOCK = 1 << 18
# Seconds to reach the host before; until the host after has come; without a byte moving between hosts.
_CONNECT, _COME, _MOVE = 3, 6, 60
# Seconds for the operator's next word; for one block, all in all; for the command after its last byte.
_WORD, _PASS, _LOAD = 1800, 120, 1800
_TELL = 1


class RefusedError(Exception):
    """What the host before gave is not what the operator's machine said that it would be."""


def main() -> int:
    """Take a place in the line; the command's exit code, or one of those above."""
    signal.signal(signal.SIGALRM, _late)
    start = _word()
    with _listen(start["address"]) as listener:
        _say(address=listener.getsockname()[:2])
        place = _word()
        before, missing = None, "no host gives it on"
        if place["before"]:
            try:
                before, missing = _connect(place["before"], start["certificate"]), ""
            except OSError as error:
                missing = str(error)
        _say(missing=missing)
        after = _accept(listener, start["certificate"]) if place["after"] else None
    return _pass_on(before, after, sys.argv[1:])


def _late(_number: int, _frame: Any) -> None:
    raise TimeoutError("nothing moves")


def _word() -> dict[str, Any]:
    """Return what the operator's machine says next; OSError when it is gone."""
    signal.alarm(_WORD)
    line = sys.stdin.buffer.readline()
    signal.alarm(0)
    if not line.endswith(b"\n"):
        raise OSError("the operator's machine is gone")
    return dict(json.loads(line))


def _say(**words: Any) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def _listen(address: str) -> socket.socket:
    if not address:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            # Sends nothing: it only asks the kernel for the route. 192.0.2.0/24 is nobody's (RFC 5737).
            probe.connect(("192.0.2.1", 9))
            address = probe.getsockname()[0]
    return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)


def _context(protocol: int, certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    # The certificate names no host: whoever has its key is one of the line.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=certificate)
    # ssl wants a file. This one is memory only.
    with os.fdopen(os.memfd_create("certificate"), "w", encoding="ascii") as file:
        file.write(certificate)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _connect(address: list[Any], certificate: str) -> ssl.SSLSocket:
    plain = socket.create_connection((address[0], address[1]), timeout=_CONNECT)
    # The host before may still wait for the one before it.
    plain.settimeout(_MOVE)
    return _context(ssl.PROTOCOL_TLS_CLIENT, certificate).wrap_socket(plain, suppress_ragged_eofs=False)


def _accept(listener: socket.socket, certificate: str) -> ssl.SSLSocket | None:
    """Wait for the host after; None when it does not come. Whoever else comes is sent away."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate)
    deadline = time.monotonic() + _COME
    while (left := deadline - time.monotonic()) > 0:
        listener.settimeout(left)
        with contextlib.suppress(OSError):
            plain, _ = listener.accept()
            plain.settimeout(left)
            after = context.wrap_socket(plain, server_side=True)
            after.settimeout(_MOVE)
            return after
    return None


def _blocks(before: ssl.SSLSocket | None) -> Iterator[bytes]:
    """Give the blocks of the archive, each when it is what the operator's machine said; nothing after the last."""
    archive = before.makefile("rb", BLOCK) if before else sys.stdin.buffer
    at, told = 0, time.monotonic()
    while not (word := _word()).get("end"):
        signal.alarm(_PASS)
        block = archive.read(word["size"])
        if not before and len(block) < word["size"]:
            raise OSError("the operator's machine is gone")
        if hashlib.sha256(block).hexdigest() != word["sha256"]:
            raise RefusedError(f"in the {word['size']} bytes from byte {at} on it is another archive")
        yield block
        at += len(block)
        if time.monotonic() - told > _TELL:
            told = time.monotonic()
            _say(at=at)
    signal.alarm(_PASS)
    if before and archive.read(1):
        raise RefusedError(f"after byte {at} more came than the archive has")
    signal.alarm(0)


def _pass_on(before: ssl.SSLSocket | None, after: ssl.SSLSocket | None, command: list[str]) -> int:
    with subprocess.Popen(command, stdin=subprocess.PIPE) as taker:
        archive = cast("IO[bytes]", taker.stdin)
        takers: list[Callable[[bytes], object]] = [archive.write, *([after.sendall] if after else [])]
        try:
            for block in _blocks(before):
                # One that is gone does not keep the archive from the other.
                takers = [take for take in takers if _took(take, block)]
        except (OSError, RefusedError) as error:
            # `after` ends without a goodbye, so the next hosts know as well.
            signal.alarm(0)
            taker.kill()
            sys.stderr.write(f"{error}\n")
            return REFUSED if isinstance(error, RefusedError) else BROKEN_OFF
        with contextlib.suppress(OSError):
            archive.close()
        # A goodbye on both sides, but none to a host that did not get everything.
        for connection in ([before] if before else []) + ([after] if after and after.sendall in takers else []):
            with contextlib.suppress(OSError):
                connection.unwrap()
        try:
            return taker.wait(_LOAD)
        except subprocess.TimeoutExpired:
            taker.kill()
            sys.stderr.write(f"'{' '.join(command)}' did not end within {_LOAD} s after it got everything\n")
            return 1


def _took(take: Callable[[bytes], Any], block: bytes) -> bool:
    try:
        take(block)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
