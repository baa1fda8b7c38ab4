"""Keys made with gpg, what `gpg --list-keys --with-colons` says about them, and what must not come along with one."""

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import openpgp
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.openpgp import KeyFormatError, read_key

ED25519_UNTIL_2030 = b"""\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawTB0RYJKwYBBAHaRw8BAQdAxOazEdqL6ldT8eWSTwW6piGydp7v7M7lyYbk
z1b9DLq0IWt1YmVzdHJhcCB0ZXN0IDx0ZXN0QGV4YW1wbGUub3JnPoiWBBMWCAA+
FiEEpf5GRmVPLBsuh1gb2Xet0gzCmG0FAmsEwdECGwMFCQXXv28FCwkIBwIGFQoJ
CAsCBBYCAwECHgECF4AACgkQ2Xet0gzCmG0cjwD/ffRL6H4Tbatv0/sQ/olVj67r
YeGFB577xIj8IZQirL8A/3G60qqZ+fJ2lykvlA1ri6HGkvmvPrm/XjyPTjyj8JwF
=r+F/
-----END PGP PUBLIC KEY BLOCK-----
"""
RSA_FOR_EVER = b"""\
-----BEGIN PGP PUBLIC KEY BLOCK-----
Version: an old header

mI0EawTB0QEEAMbamgdgm3+3GRF0qCXO6T22vaAnKSivVhrckVbeSPdUCfksEzTu
a2UU6b/aa8OyMR8Q9nIQhsxApQJWnzJq+FumxoAYRshCS65W/bwDnCRH0kqvAstt
sOU1Kko190d0V0HwqPjvxs36xVLLsrXfSB10jWFtZSmzW1dgLq4aDNlbABEBAAG0
A3R3b4jOBBMBCgA4FiEEkbYcbA+vegxeiAYNN8m6f8cj/LwFAmsEwdECGwMFCwkI
BwIGFQoJCAsCBBYCAwECHgECF4AACgkQN8m6f8cj/LzOLwP/QOd/FXoSGnlosuBl
oFWJ6t+1QEfhgO6RD3sSKQ2EOyPZITufeIgUIE0Zrg8VNY27Iias8JAhjCdUbor/
NJ4HSJSBMCBQPXWGJbbM12QRW26ivSeOWNZYaZB3GUJ7rrNDrinPJpixlEhzxcrg
b8K2RKS6JWkY5oSPJN56GMLFY9Y=
=z/AT
-----END PGP PUBLIC KEY BLOCK-----
"""


# A key that certifies only, with a subkey that signs, as docker.com has.
OWNER = b"""\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawnXYRYJKwYBBAHaRw8BAQdABYwAMdFLHvjZL1kN7OzCCbX1cZMZEy/xHM5I
UKRuLeu0GW93bmVyIDxvd25lckBleGFtcGxlLm9yZz6IlgQTFggAPhYhBOSX5Tc/
JbMowafgVUqNEPgp42VDBQJrCddhAhsBBQkJlRDfBQsJCAcCBhUKCQgLAgQWAgMB
Ah4BAheAAAoJEEqNEPgp42VDtokBAKBMt+ZDXbthjpqDJGfs0llGP/sne2ndt2W7
zamFhlB5AQC7sW6xVe/N5d0fbE8mpCoFzyy+AlkHVABbb90P+Cr7CLgzBGsJ12EW
CSsGAQQB2kcPAQEHQBf5phbo2bvoixUkFoZGpaK2n/R98YnuexwBUHSR2tdhiO8E
GBYIACAWIQTkl+U3PyWzKMGn4FVKjRD4KeNlQwUCawnXYQIbAgCBCRBKjRD4KeNl
Q3YgBBkWCAAdFiEEd8eE33vWfbEnmagw0tQQaLfbFIsFAmsJ12EACgkQ0tQQaLfb
FIsIAgEAubhKT6uZRtebDINyvOzYpAwUlmioYuIyK26iF/EeoegA/3VTSP9xM7DH
3FgxcelnuH9S+JjwYZMG8xoLFLFBq7UKVjsA/jSgCDlG+XylVwcJ8k0WacrSe1fA
Ombn9THsrSbWYLekAP9eq91sl1K54PZnFjhfnmKcXYnFJ1KVuonxjRNXuqksCQ==
=r43s
-----END PGP PUBLIC KEY BLOCK-----
"""
OWNER_FINGERPRINT = "E497E5373F25B328C1A7E0554A8D10F829E36543"
STRANGER = b"""\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawnXYRYJKwYBBAHaRw8BAQdAKKcKrvk0M0HlVOhf1NK8Mq2mTj6q7wCkYFQo
G/5zjnW0F2V2aWwgPGV2aWxAZXhhbXBsZS5vcmc+iJAEExYIADgWIQSux2yDdKtc
tC5DH+yiK7ge7xk4HQUCawnXYQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAK
CRCiK7ge7xk4HTp7AQCZt6CgK0F9Uik576yk8uS0BhqcAFSGJP5nnalCkr7S4QEA
9vi6ecsVsT2IhQwsAQL8T0/xC0UKtcVhnlm7h49/agA=
=BPos
-----END PGP PUBLIC KEY BLOCK-----
"""
SIGNED_BY_STRANGER = """\
-----BEGIN PGP SIGNED MESSAGE-----
Hash: SHA256

hi
-----BEGIN PGP SIGNATURE-----

iIcEARYIAC8WIQSux2yDdKtctC5DH+yiK7ge7xk4HQUCawnXdBEcZXZpbEBleGFt
cGxlLm9yZwAKCRCiK7ge7xk4HaiNAQCE+1HeyqSm7MoFnBgY8DtruODsix8KbuZW
1if7QsW8WAD7BrKViHznvLTQ8ec75rUe+U338ooqCrmH7+yc1Zzdmgo=
=hADl
-----END PGP SIGNATURE-----
"""


def packets(armoured: bytes) -> list[openpgp._Packet]:
    return list(openpgp._packets(openpgp._dearmour(armoured)))


def armoured(*parts: openpgp._Packet | bytes) -> bytes:
    data = b"".join(part if isinstance(part, bytes) else openpgp._encoded(part) for part in parts)
    return openpgp._armour(data).encode()


OWN, FOREIGN = packets(OWNER), packets(STRANGER)


def test_fingerprint_and_expiry_are_those_of_gpg() -> None:
    key = read_key(ED25519_UNTIL_2030)
    assert (key.fingerprint, key.expires) == ("A5FE4646654F2C1B2E87581BD977ADD20CC2986D", 1893499200)


def test_key_without_expiry() -> None:
    key = read_key(RSA_FOR_EVER)
    assert (key.fingerprint, key.expires) == ("91B61C6C0FAF7A0C5E88060D37C9BA7FC723FCBC", None)


@pytest.mark.parametrize("text", [ED25519_UNTIL_2030, OWNER, STRANGER])
def test_what_gpg_wrote_is_written_the_same(text: bytes) -> None:
    assert read_key(text).armoured.encode() == text


def test_headers_of_the_block_are_dropped() -> None:
    assert read_key(RSA_FOR_EVER).armoured.encode() == RSA_FOR_EVER.replace(b"Version: an old header\n", b"")


def test_subkey_stays_with_its_signature() -> None:
    assert [packet.kind for packet in packets(read_key(OWNER).armoured.encode())] == [6, 13, 2, 14, 2]


@pytest.mark.parametrize(
    "text",
    [
        b"<html>Not found</html>",
        b"",
        ED25519_UNTIL_2030.replace(b"mDME", b"!DME"),
        ED25519_UNTIL_2030.replace(b"BEGIN PGP", b"BEGIN PEM"),
        # A key that was cut in the middle of a packet.
        b"\n".join([*ED25519_UNTIL_2030.splitlines()[:4], b"-----END PGP PUBLIC KEY BLOCK-----"]),
        RSA_FOR_EVER.split(b"mI0E")[0] + b"-----END PGP PUBLIC KEY BLOCK-----\n",
        base64.b64encode(RSA_FOR_EVER),
        RSA_FOR_EVER.replace(b"PUBLIC KEY", b"PRIVATE KEY"),
        RSA_FOR_EVER.replace(b"PUBLIC KEY BLOCK", b"SIGNATURE"),
    ],
)
def test_what_is_no_key_is_refused(text: bytes) -> None:
    with pytest.raises(KeyFormatError):
        read_key(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(OWNER + STRANGER, id="two blocks"),
        pytest.param(OWNER + b"\n\nand this is the mirror's:\n\n" + STRANGER, id="words between them"),
        pytest.param(OWNER + STRANGER.replace(b"-----BEGIN", b"  -----BEGIN"), id="indented"),
        pytest.param(OWNER + STRANGER.replace(b"-----BEGIN", b"- -----BEGIN"), id="dash-escaped"),
        pytest.param(OWNER + STRANGER.replace(b"PGP PUBLIC KEY BLOCK", b"CERTIFICATE"), id="of another kind"),
        pytest.param(OWNER + STRANGER.replace(b"\n", b"\r\n"), id="CRLF"),
        pytest.param(OWNER + STRANGER.replace(b"\n", b"\r"), id="CR"),
        pytest.param(OWNER.replace(b"-----BEGIN", b"-----BEGIN PGP PUBLIC KEY BLOCK----------BEGIN"), id="in one line"),
        pytest.param(OWNER.replace(b"-----END", STRANGER + b"-----END"), id="one in the other"),
        pytest.param(OWNER.split(b"-----END")[0] + STRANGER, id="a first one without an end"),
        pytest.param(OWNER + STRANGER.split(b"-----END")[0], id="a second one without an end"),
        pytest.param(b"\n-----END PGP PUBLIC KEY BLOCK-----\n" + OWNER, id="an end before"),
    ],
)
def test_two_blocks(text: bytes) -> None:
    with pytest.raises(KeyFormatError, match="more than one block"):
        read_key(text)


@pytest.mark.parametrize(
    "text",
    [
        "Schlüssel des Spiegels, geprüft\n".encode() + OWNER,
        "Schlüssel des Spiegels\n".encode("latin-1") + OWNER + b"\xff\xfe\x00",
        OWNER.replace(b"BLOCK-----\n\n", "BLOCK-----\nComment: geprüft\nVersion: 1\n\n".encode()),
        b"\xef\xbb\xbf" + OWNER,
        OWNER.replace(b"\n", b"\r\n"),
        OWNER.replace(b"\n", b" \t\n"),
        OWNER.replace(b"=r43s\n", b""),
        OWNER.rstrip(b"\n"),
    ],
)
def test_utf8_comment(text: bytes) -> None:
    assert read_key(text).armoured.encode() == OWNER


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (OWNER.replace(b"=r43s", b"=AAAA"), "checksum"),
        (OWNER.replace(b"=r43s", b"=r4"), "base64"),
        (OWNER.replace(b"=r43s\n", b"=r43s\n" + STRANGER.split(b"\n\n")[1].split(b"\n=")[0] + b"\n"), "base64"),
        (OWNER.replace(b"mDME", b"mD ME"), "base64|checksum"),
        (OWNER.replace(b"BLOCK-----\n\n", b"BLOCK-----\n"), "empty line"),
    ],
)
def test_damaged_armour(text: bytes, reason: str) -> None:
    with pytest.raises(KeyFormatError, match=reason):
        read_key(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(armoured(*OWN, *FOREIGN), "more than one key", id="second primary key"),
        pytest.param(armoured(*FOREIGN, *OWN), "more than one key", id="first primary key"),
        pytest.param(armoured(*OWN, openpgp._Packet(5, FOREIGN[0].body)), "type 5", id="secret key"),
        pytest.param(armoured(*OWN, openpgp._Packet(7, FOREIGN[0].body)), "type 7", id="secret subkey"),
        pytest.param(armoured(*OWN, b"\xcb\x03b\x00\x00"), "type 11", id="literal data"),
        pytest.param(armoured(*OWN, b"\xa3\x00" + STRANGER), "without a length", id="indeterminate length"),
        pytest.param(armoured(*OWN, b"\x9b" + FOREIGN[0].body), "without a length", id="indeterminate key"),
        pytest.param(armoured(*OWN, b"\xc8\x03\x00ab"), "type 8", id="compressed data"),
        pytest.param(armoured(*OWN, b"\xc6\xe5" + FOREIGN[0].body), "in parts", id="partial length"),
        pytest.param(armoured(*OWN, b"\xf0\x00"), "type 48", id="a type nobody knows"),
        pytest.param(armoured(*OWN, b"\x00\x00"), "broken packet", id="zeros behind"),
        pytest.param(armoured(*OWN, openpgp._Packet(14, b"\x06" + FOREIGN[0].body[1:])), "version 4", id="v6 subkey"),
        pytest.param(armoured(openpgp._Packet(6, b"\x06" + OWN[0].body[1:])), "version 4", id="v6 key"),
        pytest.param(armoured(openpgp._Packet(6, b"\x05" + OWN[0].body[1:])), "version 4", id="v5 key"),
        pytest.param(armoured(openpgp._Packet(6, b"\x03" + OWN[0].body[1:])), "version 4", id="v3 key"),
        pytest.param(armoured(OWN[1], OWN[0]), "does not begin", id="user ID first"),
        pytest.param(armoured(OWN[3], OWN[4]), "does not begin", id="subkey alone"),
        pytest.param(armoured(openpgp._Packet(6, b"\x04" * 70_000)), "larger", id="endless key"),
        pytest.param(armoured(OWN[0], b"\xc2\xff\x00"), "cut short", id="cut length"),
        pytest.param(armoured(OWN[0], b"\xc2\xff\xff\xff\xff\xff\x04"), "cut short", id="length beyond the end"),
        pytest.param(armoured(OWN[0], openpgp._Packet(2, b"\x04")), "cut short", id="empty signature"),
        pytest.param(armoured(OWN[0], b"\xc2"), "cut short", id="no length"),
    ],
)
def test_nothing_but_one_key(text: bytes, reason: str) -> None:
    with pytest.raises(KeyFormatError, match=reason):
        read_key(text)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((openpgp._Packet(12, b"\x01\x02"),), id="trust"),
        pytest.param((openpgp._Packet(10, b"PGP"),), id="marker"),
        pytest.param((b"\xd5\x02ab",), id="padding"),
        pytest.param((b"\xd1\x02\x01\x01", OWN[2]), id="user attribute and the signature over it"),
        pytest.param((openpgp._Packet(2, b"\x05" + OWN[2].body[1:]),), id="v5 signature"),
    ],
)
def test_parts_that_verify_nothing_are_dropped(extra: tuple[openpgp._Packet | bytes, ...]) -> None:
    assert read_key(armoured(*OWN, *extra)).armoured.encode() == OWNER


def signature(issuer: bytes, created: int, lifetime: int) -> openpgp._Packet:
    hashed = b"\x05\x02" + created.to_bytes(4, "big") + b"\x05\x09" + lifetime.to_bytes(4, "big")
    unhashed = b"\x09\x10" + issuer
    areas = b"".join(len(area).to_bytes(2, "big") + area for area in (hashed, unhashed))
    return openpgp._Packet(2, b"\x04\x13\x16\x08" + areas + b"\x00\x00")


def test_signatures_of_others_say_nothing_about_expiry() -> None:
    stranger = signature(b"\xa2\x2b\xb8\x1e\xef\x19\x38\x1d", 2**31, 1)
    assert read_key(armoured(*OWN[:3], stranger, *OWN[3:])).expires == read_key(OWNER).expires


def test_the_newest_signature_of_its_own_says_when_it_expires() -> None:
    own = signature(bytes.fromhex(OWNER_FINGERPRINT[-16:]), 2**31, 86400)
    made = int.from_bytes(OWN[0].body[1:5], "big")
    assert read_key(armoured(*OWN[:3], own, *OWN[3:])).expires == made + 86400


@pytest.mark.skipif(shutil.which("gpgv") is None, reason="needs gpgv")
def test_subkey_of_a_stranger_is_of_no_use(tmp_path: Path) -> None:
    """What we pass on unverified, gpgv verifies: it must know the subkey, and still refuse what it signed."""
    signed = tmp_path / "signed"
    signed.write_text(SIGNED_BY_STRANGER)
    results = {}
    for name, text in {
        "alone": STRANGER,
        "as subkey": armoured(*OWN, openpgp._Packet(14, FOREIGN[0].body), OWN[4]),
    }.items():
        ring = tmp_path / name
        ring.write_bytes(openpgp._dearmour(read_key(text).armoured.encode()))
        done = subprocess.run(["gpgv", "--keyring", ring, signed], capture_output=True, text=True, check=False)
        results[name] = done.returncode == 0
        assert name == "alone" or "Bad public key" in done.stderr
    assert results == {"alone": True, "as subkey": False}
