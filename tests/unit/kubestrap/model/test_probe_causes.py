"""Every cause of a login that fails has its own sentence, whatever else ssh writes."""

from dataclasses import replace

import pytest
from kubestrap.model.probe_causes import Attempt, crowded, login_trouble, unknown_key

CONNECTED = """\
OpenSSH_9.2p1 Debian-2+deb12u6
debug1: Connecting to 192.0.2.11 [192.0.2.11] port 2222.
debug1: Connection established.
"""
GREETED = CONNECTED + "debug1: Remote protocol version 2.0, remote software version OpenSSH_9.2p1\n"
KEY = GREETED + "debug1: Server host key: ssh-ed25519 SHA256:XrMP\n"
OFFERED = (
    KEY
    + """\
debug1: Authentications that can continue: publickey,password
debug1: Offering public key: /home/me/a key ED25519 SHA256:v4M7 explicit
"""
)
ACCEPTED = OFFERED + "debug1: Server accepts key: /home/me/a key ED25519 SHA256:v4M7 explicit\n"
DENIED = "deploy@192.0.2.11: Permission denied (publickey,password).\n"


def attempt(log, **more):
    return Attempt(
        log=log,
        address="192.0.2.11",
        port=2222,
        user="deploy",
        place="[192.0.2.11]:2222",
        known_hosts="/home/me/.ssh/known_hosts",
        by_hand="ssh -p 2222 deploy@192.0.2.11",
        password=more.pop("password", False),
        seconds=7.0,
        **more,
    )


@pytest.mark.parametrize(
    ("log", "problem", "fix"),
    [
        (
            "ssh: Could not resolve hostname cp1: Name or service not known\n",
            "the name cp1 does not resolve (Name or service not known)",
            "ansible_host",
        ),
        (
            "ssh: connect to host 192.0.2.11 port 2222: Connection refused\n",
            "192.0.2.11 port 2222 refuses connections: no SSH server there",
            "start sshd",
        ),
        (
            "ssh: connect to host 192.0.2.11 port 2222: No route to host\n",
            "192.0.2.11 port 2222 cannot be reached (No route to host)",
            "network",
        ),
        (
            CONNECTED
            + "kex_exchange_identification: Connection closed by remote host\nConnection closed by 192.0.2.11\n",
            "no SSH server answers on port 2222 (Connection closed by 192.0.2.11)",
            "right port",
        ),
        (
            GREETED + "Unable to negotiate with 192.0.2.11 port 22: no matching host key type found. "
            "Their offer: ssh-rsa,ssh-dss\n",
            "ssh here and sshd there have no host key type in common (it offers ssh-rsa,ssh-dss)",
            "~/.ssh/config",
        ),
        (
            KEY + "@ WARNING: REVOKED HOST KEY DETECTED! @\nHost key verification failed.\n",
            "its host key is marked as revoked here (now SHA256:XrMP): it may have been stolen",
            "do not log in",
        ),
        (
            KEY + "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.\n",
            "its host key has changed (now SHA256:XrMP): another machine, or somebody in between",
            "ssh-keygen -R '[192.0.2.11]:2222' -f /home/me/.ssh/known_hosts",
        ),
        (
            GREETED
            + "Certificate invalid: expired\nNo ED25519 host key is known for x.\nHost key verification failed.\n",
            "its host certificate is not accepted (expired)",
            "CA",
        ),
        (
            ACCEPTED + "Permissions 0644 for '/home/me/a key' are too open.\n" + DENIED,
            "ssh ignores the key /home/me/a key, because others may read it",
            "chmod 600",
        ),
        (
            ACCEPTED
            + 'sign_and_send_pubkey: signing failed for ED25519-SK "/home/me/sk" from agent: device not found\n'
            + DENIED,
            'the key ED25519-SK "/home/me/sk" does not sign (device not found)',
            "plugged in",
        ),
        (ACCEPTED + DENIED, "the SSH key is protected by a passphrase", "ssh-add"),
        (OFFERED + DENIED, "the login as deploy is refused (tried /home/me/a key)", "authorized_keys"),
        (
            KEY + DENIED,
            "the login as deploy is refused (tried no key: none is in the SSH agent or where ssh looks for key files)",
            "ansible_ssh_private_key_file",
        ),
        (
            OFFERED + "Received disconnect from 192.0.2.11 port 2222:2: Too many authentication failures\n",
            "the login as deploy is refused: too many keys were offered before the right one",
            "IdentitiesOnly",
        ),
        (
            ACCEPTED + 'Authenticated using "publickey" with partial success.\n'
            "debug1: Authentications that can continue: keyboard-interactive\n" + DENIED,
            "sshd there takes the key of deploy, but asks for more (keyboard-interactive)",
            "AuthenticationMethods",
        ),
        (
            ACCEPTED + "Connection closed by 192.0.2.11 port 2222\n",
            "the SSH connection failed: Connection closed by 192.0.2.11 port 2222",
            "ssh -p 2222",
        ),
        (
            "Bad owner or permissions on /home/me/.ssh/config\n",
            "ssh refuses its configuration /home/me/.ssh/config, because others may write it",
            "chmod go-w",
        ),
    ],
)
def test_cause(log, problem, fix):
    found = login_trouble(attempt(log))
    assert found[0] == problem
    assert fix in found[1]


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        ("OpenSSH_9.2p1\n", "the name 192.0.2.11 does not resolve within 7 s"),
        ("debug1: Connecting to 192.0.2.11 port 2222.\n", "192.0.2.11 port 2222 does not answer within 7 s"),
        (CONNECTED, "no SSH server answers on port 2222 (silent for 7 s)"),
        (OFFERED, "192.0.2.11 port 2222 answers, but the login is not through after 7 s"),
        (ACCEPTED, "192.0.2.11 port 2222 answers, but the login is not through after 7 s"),
        (ACCEPTED + "Authenticated to 192.0.2.11\n", "logs in, but gives no complete answer within 7 s"),
    ],
)
def test_usedns_a_time_out_is_never_a_refusal(log, problem):
    found = login_trouble(attempt(log, given_up=True))
    assert found[0] == problem
    assert "refused" not in " ".join(found)


def test_what_the_inventory_names_is_told_when_it_is_missing():
    missing = attempt(KEY + DENIED, missing_key="/nope")
    assert login_trouble(missing)[0] == "the key file /nope does not exist"
    # It is in the agent, then, or another one does.
    assert "cannot run commands" in login_trouble(replace(missing, log=ACCEPTED + "Authenticated to x\n"))[0]


def test_a_login_shell_that_runs_nothing_is_quoted():
    found = login_trouble(attempt(ACCEPTED + "Authenticated to x\n", said="This account is currently not available."))
    assert found[0] == "deploy cannot run commands there (This account is currently not available.)"


def test_with_a_password_that_is_what_was_tried():
    assert (
        login_trouble(attempt(KEY + DENIED, password=True))[0] == "the login as deploy is refused (tried the password)"
    )


def test_only_a_key_that_is_merely_unknown_is_offered_to_be_learned():
    assert unknown_key(KEY + "Host key verification failed.\n")
    for word in ("REVOKED HOST KEY", "HAS CHANGED", "Certificate invalid: expired"):
        assert not unknown_key(KEY + word + "\nHost key verification failed.\n")


def test_a_crowd_is_no_verdict():
    assert crowded(CONNECTED + "kex_exchange_identification: read: Connection reset by peer\n")
    assert not crowded(ACCEPTED + "Connection closed by 192.0.2.11\n")
    # Through a bastion, the end of the way says nothing about its reason.
    closed = "kex_exchange_identification: Connection closed by remote host\n"
    end = f"debug1: Executing proxy command: exec ssh gate\n{closed}"
    assert not crowded(end, "gate: Permission denied (publickey).\n")
    assert crowded(end, closed)


def test_a_password_that_is_kept_from_ssh_is_named():
    log = "debug1: Remote protocol version 2.0\ndeploy@192.0.2.11: Permission denied (publickey,password)."
    assert "ansible_ssh_password_mechanism: disable" in login_trouble(attempt(log, withheld=True))[1]
    assert "mechanism" not in login_trouble(attempt(log))[1]
