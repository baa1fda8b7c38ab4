"""Keys made with gpg, and what `gpg --list-keys --with-colons` says about them."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.openpgp import Key, KeyFormatError, read_keys

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


def test_fingerprint_and_expiry_are_those_of_gpg() -> None:
    assert read_keys(ED25519_UNTIL_2030) == [Key("A5FE4646654F2C1B2E87581BD977ADD20CC2986D", 1893499200)]


def test_key_without_expiry() -> None:
    assert read_keys(RSA_FOR_EVER) == [Key("91B61C6C0FAF7A0C5E88060D37C9BA7FC723FCBC", None)]


@pytest.mark.parametrize(
    "text",
    [
        b"<html>Not found</html>",
        ED25519_UNTIL_2030.replace(b"mDME", b"!DME"),
        # A key that was cut in the middle of a packet.
        b"\n".join([*ED25519_UNTIL_2030.splitlines()[:4], b"-----END PGP PUBLIC KEY BLOCK-----"]),
        RSA_FOR_EVER.split(b"mI0E")[0] + b"-----END PGP PUBLIC KEY BLOCK-----\n",
    ],
)
def test_what_is_no_key_is_refused(text: bytes) -> None:
    with pytest.raises(KeyFormatError):
        read_keys(text)
