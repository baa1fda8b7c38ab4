#!/usr/bin/python
"""Ansible module join_credentials."""

from __future__ import annotations

DOCUMENTATION = r"""
module: join_credentials
short_description: Make, or revoke, what a host needs to join the cluster
description:
  - Run on a control plane. Makes a bootstrap token that expires soon, and gives the cluster's CA. For control planes,
    also puts the certificates they share into the cluster, encrypted with a key that only the result holds.
  - What an interrupted run made and did not take back is revoked first. Tokens of ours have IDs that begin with C(kst);
    other tokens are left alone.
  - Reports no change, because what it makes is gone when the run ends; the result is a secret.
version_added: 0.1.0
author: kubestrap
options:
  state:
    description: Whether to make a token or to revoke one.
    type: str
    default: present
    choices: [present, absent]
  lifetime: {description: "Seconds the token lives, if nobody revokes it.", type: int, default: 900}
  token_id: {description: The public half of the token to revoke., type: str, default: ""}
  control_plane: {description: Whether what joins is a control plane., type: bool, default: false}
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: none}
"""

EXAMPLES = r"""
- name: Make what hosts need to join
  kubestrap.cluster.join_credentials:
  register: credentials
  no_log: true
"""

RETURN = r"""
token: {description: The token., returned: when made, type: str}
token_id: {description: The public half of the token., returned: when made, type: str}
ca_certificate: {description: "The cluster's CA, PEM.", returned: when made, type: str}
certificate_key: {description: Key of the certificates., returned: with control_plane, type: str}
"""

import datetime as dt
import secrets

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubeadm, tokens
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.control_plane import readiness
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import HOLDS
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubeadm import KubeadmError, SecretFile
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubectl import Kubectl, KubectlError, as_list
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import KUBEADM_API

CA_CERTIFICATE = "/etc/kubernetes/pki/ca.crt"


def new_secret(token_id: str, token_secret: str, lifetime: int, *, shares: bool = False) -> dict[str, object]:
    """Return the Secret that makes a bootstrap token valid for so many seconds.

    Args:
        token_id: The public half of the token.
        token_secret: The other half.
        lifetime: Seconds.
        shares: Whether certificates are to be shared beside it.
    """
    expires = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=lifetime)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {
            "name": f"bootstrap-token-{token_id}",
            "namespace": "kube-system",
            "labels": {tokens.SHARES: "true"} if shares else {},
        },
        "stringData": {
            "description": "One run of kubestrap",
            "token-id": token_id,
            "token-secret": token_secret,
            "expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    }


def share_certificates(kubectl: Kubectl) -> str:
    """Put the certificates of the control plane into the cluster; return the key they are encrypted with.

    Raises:
        KubeadmError: when kubeadm cannot.
    """
    key = secrets.token_hex(32)
    cluster = kubectl.run(
        "--namespace=kube-system", "get", "configmap/kubeadm-config", "-o", "jsonpath={.data.ClusterConfiguration}"
    )
    init = {"apiVersion": KUBEADM_API, "kind": "InitConfiguration", "certificateKey": key}
    with SecretFile(f"{kubeadm.as_documents([init])}---\n{cluster}") as path:
        done = kubeadm.run("kubeadm", "init", "phase", "upload-certs", "--upload-certs", "--skip-certificate-key-print",
                           "--config", path, timeout=kubeadm.OTHER_RUN_SECONDS)  # fmt: skip
    if done.returncode != 0:
        raise KubeadmError(f"the certificates could not be shared: {kubeadm.in_short(done.stderr, 3)}")
    return key


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "default": "present", "choices": ["present", "absent"]},
            "lifetime": {"type": "int", "default": 900},
            "token_id": {"type": "str", "default": "", "no_log": False},
            "control_plane": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=False, token="", token_id="", ca_certificate="", certificate_key="")
    kubectl = Kubectl()
    try:
        if module.params["state"] == "absent":
            # Empty when none was made: what an earlier run left is revoked by the next that makes one.
            names = [f"secret/bootstrap-token-{module.params['token_id']}"] if module.params["token_id"] else []
            if names and module.params["control_plane"]:
                names += tokens.certificates(kubectl)
            tokens.delete(kubectl, names)
            module.exit_json(changed=False)
        certificate = read_text(CA_CERTIFICATE)
        found = readiness(kubectl)
        if certificate is None or found.answer != HOLDS:
            module.fail_json(msg=f"Nobody can join: the control plane is not up. {found.why}".strip())
        tokens.delete(kubectl, tokens.left(kubectl))
        token_id, token_secret = tokens.new()
        shares = module.params["control_plane"]
        secret = new_secret(token_id, token_secret, module.params["lifetime"], shares=shares)
        kubectl.run("create", "-f", "-", stdin=as_list([secret]))
        try:
            certificate_key = share_certificates(kubectl) if shares else ""
        except BaseException:
            # Nobody else knows its ID.
            tokens.delete(kubectl, tokens.left(kubectl))
            raise
    except (KubectlError, KubeadmError) as error:
        module.fail_json(msg=f"The bootstrap token could not be made or revoked: {error}")
    module.exit_json(
        changed=False,
        token=f"{token_id}.{token_secret}",
        token_id=token_id,
        ca_certificate=certificate,
        certificate_key=certificate_key,
    )


if __name__ == "__main__":
    main()
