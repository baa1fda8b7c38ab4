"""Bootstrap tokens of ours, and the certificates shared beside them: made for one run, and told apart by their ID.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl

# Every ID of ours begins like this; an ID has six characters. Other people's tokens are theirs.
PREFIX = "kst"
ALPHABET = string.ascii_lowercase + string.digits
# On the Secret of a token: certificates were to be shared beside it.
SHARES = "kubestrap-shares-certificates"
# What kubeadm makes beside the certificates, so that a joining host may read them.
CERTIFICATES = ("secret/kubeadm-certs", "role/kubeadm:kubeadm-certs", "rolebinding/kubeadm:kubeadm-certs")


def new() -> tuple[str, str]:
    """Return ID and secret of a new token."""
    token_id = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(6 - len(PREFIX)))
    return token_id, "".join(secrets.choice(ALPHABET) for _ in range(16))


def left(kubectl: Kubectl) -> list[str]:
    """Return what runs of ours made for joining and did not take back: tokens, and certificates shared beside them.

    Certificates that were there before the token beside which ours were to be shared are somebody else's.

    Raises:
        KubectlError: when the API does not say.
    """
    columns = (
        f"jsonpath={{range .items[*]}}{{.metadata.name}} {{.metadata.creationTimestamp}} {{.metadata.labels.{SHARES}}}"
    )
    text = kubectl.run(
        "--namespace=kube-system", "get", "secrets", "--field-selector=type=bootstrap.kubernetes.io/token",
        "-o", columns + '{"\\n"}{end}',
    )  # fmt: skip
    lines = [line.split() for line in text.splitlines() if line.startswith(f"bootstrap-token-{PREFIX}")]
    shared_since = [line[1] for line in lines if line[2:] == ["true"]]
    return [
        *(f"secret/{line[0]}" for line in lines),
        *(certificates(kubectl, min(shared_since)) if shared_since else []),
    ]


def certificates(kubectl: Kubectl, since: str = "") -> list[str]:
    """Return the objects of the certificates that are shared now, and the token kubeadm made to let them expire.

    Args:
        kubectl: How the API is asked.
        since: Time as the API writes it. Certificates that are older are left out.
    """
    text = kubectl.run(
        "--namespace=kube-system", "get", CERTIFICATES[0], "--ignore-not-found",
        "-o", "jsonpath={.metadata.creationTimestamp} {.metadata.ownerReferences[*].name}",
    ).split()  # fmt: skip
    if not text or text[0] < since:
        return []
    return [*CERTIFICATES, *(f"secret/{name}" for name in text[1:])]


def delete(kubectl: Kubectl, names: list[str]) -> None:
    """Delete objects of kube-system, those that are there."""
    if names:
        kubectl.run("--namespace=kube-system", "delete", *names, "--ignore-not-found")
