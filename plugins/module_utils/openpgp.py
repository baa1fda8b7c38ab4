"""Read OpenPGP public keys just far enough to know their fingerprint and expiry, without gpg on the host.

Signatures are not verified here: the fingerprint is pinned, and apt verifies what the key signs.
Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import TYPE_CHECKING, NamedTuple, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"
PUBLIC_KEY, SIGNATURE = 6, 2
POSITIVE_CERTIFICATIONS = range(0x10, 0x14)
DIRECT_KEY_SIGNATURE = 0x1F
CREATED, KEY_EXPIRES = 2, 9


class KeyFormatError(Exception):
    """The text is no armoured OpenPGP public key this reader understands."""


class Key(NamedTuple):
    """A primary key: fingerprint in upper-case hex, expiry in seconds since 1970 (None: never)."""

    fingerprint: str
    expires: Optional[float]


def read_keys(armoured: bytes) -> list[Key]:
    """Return the primary keys of an armoured key file.

    Raises:
        KeyFormatError: It is none, or has no version 4 key.
    """
    try:
        keys = _read_keys(armoured)
    except IndexError as error:
        raise KeyFormatError("cut short") from error
    if not keys:
        raise KeyFormatError("no public key in it")
    return keys


def _read_keys(armoured: bytes) -> list[Key]:
    keys: list[Key] = []
    created = newest = 0
    for tag, body in _packets(_dearmour(armoured)):
        if tag == PUBLIC_KEY:
            if body[:1] != b"\x04":
                raise KeyFormatError("not an OpenPGP key of version 4")
            digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body)  # noqa: S324 - the format's own
            keys.append(Key(digest.hexdigest().upper(), None))
            created, newest = int.from_bytes(body[1:5], "big"), 0
        elif tag == SIGNATURE and keys:
            signed, lifetime = _self_signature_times(body)
            if signed > newest:
                newest = signed
                keys[-1] = Key(keys[-1].fingerprint, created + lifetime if lifetime else None)
    return keys


def _dearmour(armoured: bytes) -> bytes:
    text = armoured.decode("ascii", errors="replace")
    if BEGIN not in text or END not in text:
        raise KeyFormatError("no PGP PUBLIC KEY BLOCK in it")
    lines = text.split(BEGIN, 1)[1].split(END, 1)[0].strip("\r\n").splitlines()
    # Headers end with an empty line; the checksum line starts with "=".
    start = next((number + 1 for number, line in enumerate(lines) if not line.strip()), 0)
    encoded = "".join(line.strip() for line in lines[start:] if not line.startswith("="))
    try:
        return base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise KeyFormatError(f"broken base64: {error}") from error


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at < len(data):
        tag = data[at]
        if not tag & 0x80:
            raise KeyFormatError("broken packet")
        if tag & 0x40:
            number, length, at = tag & 0x3F, *_new_length(data, at + 1)
        else:
            size = 1 << (tag & 0x03)
            number, length, at = (tag >> 2) & 0x0F, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
        if at + length > len(data):
            raise KeyFormatError("cut short")
        yield number, data[at : at + length]
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    first = data[at] if at < len(data) else 0
    if first < 192:  # noqa: PLR2004 - RFC 9580, 4.2.1
        return first, at + 1
    if first < 224:  # noqa: PLR2004
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if first == 255:  # noqa: PLR2004
        return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5
    raise KeyFormatError("partial lengths")


def _self_signature_times(body: bytes) -> tuple[int, int]:
    """Return when a version 4 self-signature was made and the key's lifetime it states; (0, 0) for other ones."""
    if body[:1] != b"\x04" or not (body[1] in POSITIVE_CERTIFICATIONS or body[1] == DIRECT_KEY_SIGNATURE):
        return 0, 0
    area = body[6 : 6 + int.from_bytes(body[4:6], "big")]
    created = lifetime = at = 0
    while at < len(area):
        length, at = _new_length(area, at)
        kind, value = area[at] & 0x7F, area[at + 1 : at + length]
        if kind == CREATED:
            created = int.from_bytes(value, "big")
        elif kind == KEY_EXPIRES:
            lifetime = int.from_bytes(value, "big")
        at += length
    return created, lifetime
