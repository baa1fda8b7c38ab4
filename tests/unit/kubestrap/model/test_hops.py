"""Every hop has its own sentence."""

import pytest
from kubestrap.model.hops import hop_trouble


@pytest.mark.parametrize(
    ("said", "problem", "fix"),
    [
        (
            "ssh: connect to host 192.0.2.1 port 22: Connection refused\r\n",
            "the bastion (ops@gate) cannot be reached (connect to host 192.0.2.1 port 22: Connection refused)",
            "firewall",
        ),
        (
            "ssh: Could not resolve hostname gate: Name or service not known\n",
            "the bastion (ops@gate) cannot be reached (Could not resolve hostname gate: Name or service not known)",
            "name and port",
        ),
        ("Host key verification failed.\n", "the host key of the bastion (ops@gate) is not known here", "`ssh x`"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n",
            "the host key of the bastion (ops@gate) has changed: another machine, or somebody in between",
            "ssh-keygen -R",
        ),
        (
            "ops@gate: Permission denied (publickey).\n",
            "the bastion (ops@gate) refuses the login as ops@gate",
            "~/.ssh/config",
        ),
        (
            "Authenticated to gate ([192.0.2.1]:22).\nchannel 0: open failed: connect failed: Connection refused\n",
            "the bastion (ops@gate) answers, but from there cp1 port 22 cannot be reached (Connection refused)",
            "ansible_host",
        ),
        (
            "channel 0: open failed: administratively prohibited: open failed\n",
            "the bastion (ops@gate) may not open a connection to cp1 port 22",
            "AllowTcpForwarding",
        ),
        (
            'Authenticated to gate ([192.0.2.1]:22) using "publickey".\n',
            "the bastion (ops@gate) answers, but from there cp1 port 22 does not",
            "firewall",
        ),
        ("nc: bad address\n", "no SSH server answers on cp1 port 22 through ops@gate (nc: bad address)", "`ssh x`"),
        ("", "no SSH server answers on cp1 port 22 through ops@gate (closed)", "`ssh x`"),
    ],
)
def test_the_hop_is_named(said, problem, fix):
    found = hop_trouble(said, bastion="ops@gate", where="cp1 port 22", by_hand="ssh x", otherwise="closed")
    assert found[0] == problem
    assert fix in found[1]
