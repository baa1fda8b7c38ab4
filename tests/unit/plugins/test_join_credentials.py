"""The secret of a token."""

import datetime as dt

from ansible_collections.kubestrap.cluster.plugins.modules import join_credentials


def test_the_token_ends_by_itself() -> None:
    secret = join_credentials.new_secret("abcdef", "0123456789abcdef", 900)
    data = secret["stringData"]
    assert isinstance(data, dict)
    ends = dt.datetime.strptime(data["expiration"], "%Y-%m-%dT%H:%M:%S%z")
    left = ends - dt.datetime.now(dt.UTC)
    assert 890 < left.total_seconds() <= 900
    assert secret["metadata"] == {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
