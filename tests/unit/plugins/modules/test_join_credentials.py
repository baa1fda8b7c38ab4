"""The secret of a token."""

import datetime as dt
import re

from ansible_collections.kubestrap.cluster.plugins.module_utils import tokens
from ansible_collections.kubestrap.cluster.plugins.modules import join_credentials


def test_the_token_ends_by_itself() -> None:
    secret = join_credentials.new_secret("abcdef", "0123456789abcdef", 900)
    data = secret["stringData"]
    assert isinstance(data, dict)
    ends = dt.datetime.strptime(data["expiration"], "%Y-%m-%dT%H:%M:%S%z")
    left = ends - dt.datetime.now(dt.UTC)
    assert 890 < left.total_seconds() <= 900
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system", "labels": {}}


class Api:
    """kubectl, with a cluster's tokens and shared certificates."""

    def __init__(self, tokens_there: str, certificates: str = "") -> None:
        self.tokens, self.certificates = tokens_there, certificates

    def run(self, *arguments: str) -> str:
        return self.certificates if "secret/kubeadm-certs" in arguments else self.tokens


def test_ids_of_ours_are_known_and_valid() -> None:
    token_id, secret = tokens.new()
    assert re.fullmatch(r"kst[a-z0-9]{3}", token_id)
    assert re.fullmatch(r"[a-z0-9]{16}", secret)


def test_only_tokens_of_ours_are_revoked() -> None:
    found = "bootstrap-token-abcdef 2026-01-01T00:00:00Z \nbootstrap-token-kst123 2026-01-01T00:00:00Z \n"
    assert tokens.left(Api(found, "2026-01-01T00:00:01Z theirs")) == ["secret/bootstrap-token-kst123"]  # type: ignore[arg-type]
    assert tokens.left(Api("bootstrap-token-abcdef 2026-01-01T00:00:00Z true\n")) == []  # type: ignore[arg-type]


def test_certificates_that_ours_were_shared_beside_go_and_older_ones_stay() -> None:
    ours = "bootstrap-token-kst123 2026-01-01T00:00:00Z true\n"
    after = tokens.left(Api(ours, "2026-01-01T00:00:01Z bootstrap-token-zzzzzz"))  # type: ignore[arg-type]
    assert after[1:] == [*tokens.CERTIFICATES, "secret/bootstrap-token-zzzzzz"]
    before = tokens.left(Api(ours, "2025-12-31T23:00:00Z bootstrap-token-zzzzzz"))  # type: ignore[arg-type]
    assert before == ["secret/bootstrap-token-kst123"]
