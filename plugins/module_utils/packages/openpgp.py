"""Read one OpenPGP public key, and write what was read: without gpg on the host, and nothing else gets through.

Whoever verifies with a key file reads it in his own way: apt takes every block and every packet that it finds. So a
file that was looked at is never passed on. It must hold exactly one armoured block with one primary key of version 4;
what is passed on is made anew from that key's packets.

Signatures are not verified here. The fingerprint, which is pinned, covers the whole primary key; that a subkey or a
user ID belongs to it is checked by what apt verifies with (gpgv, sqv), which ignores those the primary key did not
sign. The date of expiry is read from signatures that say they are the key's own. A forged one can only change what we
say about the date: apt decides by itself.
Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import hashlib
import re
from typing import TYPE_CHECKING, NamedTuple, Optional

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
END = "-----END PGP PUBLIC KEY BLOCK-----"
# Whatever block, wherever in a line: other readers see one where we would see none.
BOUNDARY = re.compile("-----(BEGIN|END)")
BASE64 = re.compile("[A-Za-z0-9+/]+={0,2}")
HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*:( .*)?")
LINE_LENGTH = 64
# Packets by their number (RFC 9580, 5). Nothing else is in a key that only verifies.
SIGNATURE, PRIMARY_KEY, USER_ID, SUBKEY = 2, 6, 13, 14
# Part of a key for other uses, and left out with the signatures over it: marker, trust, user attribute, padding.
LEFT_OUT = {10, 12, 17, 21}
V4 = 4
INDETERMINATE = 0x03
POSITIVE_CERTIFICATIONS = range(0x10, 0x14)
DIRECT_KEY_SIGNATURE = 0x1F
# Subpackets of a signature (RFC 9580, 5.2.3).
CREATED, KEY_EXPIRES, ISSUER, ISSUER_FINGERPRINT = 2, 9, 16, 33


class KeyFormatError(Exception):
    """The text is no armoured OpenPGP public key, or holds more than one."""


class NoKeyError(KeyFormatError):
    """Nothing in the text looks like a key."""


class Key(NamedTuple):
    """A public key.

    Attributes:
        fingerprint: That of the primary key, in upper-case hex.
        expires: Seconds since 1970 (None: never), as unverified signatures say: good for words, not for trust.
        armoured: The key in text form, made from the packets that were read.
    """

    fingerprint: str
    expires: Optional[float]
    armoured: str


class _Packet(NamedTuple):
    kind: int
    body: bytes


def read_key(text: bytes) -> Key:
    """Return the public key in a file of text.

    Text around the armoured block is dropped, as are the parts of a key that verify nothing.

    Raises:
        KeyFormatError: It is none, is damaged, or holds anything besides one public key of version 4.
    """
    try:
        kept = list(_of_one_key(_packets(_dearmour(text))))
        fingerprint = _fingerprint(kept[0].body)
        return Key(fingerprint, _expiry(kept, fingerprint), _armour(b"".join(map(_encoded, kept))))
    except IndexError as error:
        raise KeyFormatError("cut short") from error


def _dearmour(data: bytes) -> bytes:
    # Only ASCII counts; what is around the block and in its headers may be in any alphabet.
    text = data.removeprefix(codecs.BOM_UTF8).decode("ascii", errors="replace")
    lines = [line.rstrip(" \t\r") for line in text.split("\n")]
    if BEGIN not in text:
        raise NoKeyError("no PGP PUBLIC KEY BLOCK in it")
    if len(BOUNDARY.findall(text)) != 2 or lines.count(BEGIN) != 1 or lines.count(END) != 1:  # noqa: PLR2004
        raise KeyFormatError("more than one block in it, or one that does not begin and end on a line of its own")
    block = lines[lines.index(BEGIN) + 1 : lines.index(END)]
    while block and HEADER.fullmatch(block[0]):
        del block[0]
    if not block or block.pop(0):
        raise KeyFormatError("no empty line between the headers of the block and its content")
    content = [line for line in block if line]
    checksum = content.pop()[1:] if content and content[-1].startswith("=") else None
    encoded = "".join(content)
    if not BASE64.fullmatch(encoded):
        raise KeyFormatError("broken base64")
    try:
        decoded = base64.b64decode(encoded)
        if checksum is not None and base64.b64decode(checksum, validate=True) != _crc24(decoded):
            raise KeyFormatError("its checksum is wrong")
    except binascii.Error as error:
        raise KeyFormatError(f"broken base64: {error}") from error
    return decoded


def _packets(data: bytes) -> Iterator[_Packet]:
    at = 0
    while at < len(data):
        first = data[at]
        if not first & 0x80:
            raise KeyFormatError("broken packet")
        if first & 0x40:
            kind, length, at = first & 0x3F, *_new_length(data, at + 1)
        elif first & INDETERMINATE == INDETERMINATE:
            raise KeyFormatError("a packet without a length")
        else:
            size = 1 << (first & 0x03)
            kind, length, at = (first >> 2) & 0x0F, int.from_bytes(data[at + 1 : at + 1 + size], "big"), at + 1 + size
        if at + length > len(data):
            raise KeyFormatError("cut short")
        yield _Packet(kind, data[at : at + length])
        at += length


def _new_length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of a packet in the new format, and where its body begins (RFC 9580, 4.2.1)."""
    if 224 <= data[at] < 255:  # noqa: PLR2004
        raise KeyFormatError("a packet in parts")
    return _subpacket_length(data, at)


def _subpacket_length(data: bytes, at: int) -> tuple[int, int]:
    """Return the length of a signature's subpacket, and where it begins (RFC 9580, 5.2.3.7)."""
    first = data[at]
    if first < 192:  # noqa: PLR2004
        return first, at + 1
    if first < 255:  # noqa: PLR2004
        return ((first - 192) << 8) + data[at + 1] + 192, at + 2
    if at + 5 > len(data):
        raise KeyFormatError("cut short")
    return int.from_bytes(data[at + 1 : at + 5], "big"), at + 5


def _of_one_key(packets: Iterator[_Packet]) -> Iterator[_Packet]:
    """Pass on what makes up the first packet's key; signatures go with what they are over."""
    passed_on = False
    for number, packet in enumerate(packets):
        if (packet.kind == PRIMARY_KEY) != (number == 0):
            raise KeyFormatError("more than one key in it" if number else "it does not begin with a public key")
        if packet.kind in (PRIMARY_KEY, SUBKEY) and packet.body[:1] != bytes([V4]):
            raise KeyFormatError("not an OpenPGP key of version 4")
        if packet.kind in LEFT_OUT:
            passed_on = False
        elif packet.kind in (PRIMARY_KEY, USER_ID, SUBKEY):
            passed_on = True
        elif packet.kind != SIGNATURE:
            raise KeyFormatError(f"something that is no part of a public key in it (packet of type {packet.kind})")
        if passed_on and (packet.kind != SIGNATURE or packet.body[:1] == bytes([V4])):
            yield packet


def _fingerprint(body: bytes) -> str:
    if len(body) > 0xFFFF:  # noqa: PLR2004 - what the fingerprint's own length holds (RFC 9580, 5.5.4.2)
        raise KeyFormatError("a key larger than any")
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body)  # noqa: S324 - the format's own
    return digest.hexdigest().upper()


def _expiry(packets: list[_Packet], fingerprint: str) -> Optional[float]:
    """Return when the key ends by the newest signature that says it is the key's own."""
    made = int.from_bytes(packets[0].body[1:5], "big")
    newest, expires = 0, None
    for packet in packets:
        body = packet.body
        if packet.kind != SIGNATURE or not (body[1] in POSITIVE_CERTIFICATIONS or body[1] == DIRECT_KEY_SIGNATURE):
            continue
        end = 6 + int.from_bytes(body[4:6], "big")
        hashed = _subpackets(body[6:end])
        unhashed = _subpackets(body[end + 2 : end + 2 + int.from_bytes(body[end : end + 2], "big")])
        issuers = {
            *(area.get(ISSUER, b"").hex().upper() for area in (hashed, unhashed)),
            *(area.get(ISSUER_FINGERPRINT, b"")[1:].hex().upper() for area in (hashed, unhashed)),
        }
        signed = int.from_bytes(hashed.get(CREATED, b""), "big")
        if signed > newest and issuers & {fingerprint, fingerprint[-16:]}:
            lifetime = int.from_bytes(hashed.get(KEY_EXPIRES, b""), "big")
            newest, expires = signed, made + lifetime if lifetime else None
    return expires


def _subpackets(area: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    at = 0
    while at < len(area):
        length, at = _subpacket_length(area, at)
        found[area[at] & 0x7F] = area[at + 1 : at + length]
        at += length
    return found


def _encoded(packet: _Packet) -> bytes:
    """Return a packet in the old format, as gpg writes those of a key (RFC 9580, 4.2.2)."""
    length = len(packet.body)
    size = 0 if length <= 0xFF else 1 if length <= 0xFFFF else 2  # noqa: PLR2004
    return bytes([0x80 | packet.kind << 2 | size]) + length.to_bytes(1 << size, "big") + packet.body


def _armour(data: bytes) -> str:
    encoded = base64.b64encode(data).decode("ascii")
    lines = [encoded[at : at + LINE_LENGTH] for at in range(0, len(encoded), LINE_LENGTH)]
    checksum = base64.b64encode(_crc24(data)).decode("ascii")
    return "\n".join([BEGIN, "", *lines, f"={checksum}", END, ""])


def _crc24(data: bytes) -> bytes:
    """Return the checksum of armoured text (RFC 9580, 6.1)."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc.to_bytes(3, "big")
