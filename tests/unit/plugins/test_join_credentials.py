"""The hash by which hosts know the cluster's CA, and the token's secret."""

import datetime as dt
import hashlib
import subprocess
from pathlib import Path

from ansible_collections.kubestrap.cluster.plugins.modules import join_credentials


def test_the_hash_is_that_of_the_public_key(tmp_path: Path) -> None:
    key, certificate = tmp_path / "ca.key", tmp_path / "ca.crt"
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=kubernetes", "-days", "1"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    der = subprocess.run(
        ["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], check=True, capture_output=True
    ).stdout
    expected = "sha256:" + hashlib.sha256(der).hexdigest()
    assert join_credentials.public_key_hash(certificate.read_text()) == expected


def test_the_token_ends_by_itself() -> None:
    secret = join_credentials.new_secret("abcdef", "0123456789abcdef", 900)
    data = secret["stringData"]
    assert isinstance(data, dict)
    ends = dt.datetime.strptime(data["expiration"], "%Y-%m-%dT%H:%M:%S%z")
    left = ends - dt.datetime.now(dt.UTC)
    assert 890 < left.total_seconds() <= 900
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
