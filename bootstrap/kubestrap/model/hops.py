"""Which hop between here and a host does not work, from what the ssh to the bastion writes."""

import re

# The first that fits is told. `{0}` is what the pattern found, `{bastion}`, `{where}` and `{by_hand}` are the caller's.
_TROUBLES = (
    (
        r"channel \d+: open failed: administratively prohibited",
        "the bastion ({bastion}) may not open a connection to {where}",
        "allow it in the sshd_config there: AllowTcpForwarding, PermitOpen",
    ),
    (
        r"channel \d+: open failed: [^:]+: (.+)",
        "the bastion ({bastion}) answers, but from there {where} cannot be reached ({0})",
        "is the host on, are ansible_host and ansible_port what the bastion reaches, does sshd run there?",
    ),
    (
        r"(Authenticated to)",
        "the bastion ({bastion}) answers, but from there {where} does not",
        "is the host on, is ansible_host what the bastion reaches, does a firewall let SSH through?",
    ),
    (
        r"(REMOTE HOST IDENTIFICATION HAS CHANGED)",
        "the host key of the bastion ({bastion}) has changed: another machine, or somebody in between",
        "if it was reinstalled, remove the old key with `ssh-keygen -R` and log in once by hand",
    ),
    (
        r"(Host key verification failed)",
        "the host key of the bastion ({bastion}) is not known here",
        "compare it with the bastion's own when you log in by hand: `{by_hand}`",
    ),
    (
        r"^(\S+): Permission denied",
        "the bastion ({bastion}) refuses the login as {0}",
        "its key comes from the SSH agent or ~/.ssh/config, not from ansible_ssh_private_key_file; try `{by_hand}`",
    ),
    (
        r"ssh: ((?:connect to host|Could not resolve hostname) .+)",
        "the bastion ({bastion}) cannot be reached ({0})",
        "is it on, are its name and port right, does a firewall let SSH through?",
    ),
)


def hop_trouble(said: str, *, bastion: str, where: str, by_hand: str, otherwise: str) -> tuple[str, str]:
    """Return what is wrong and what to do.

    Args:
        said: What the ssh to the bastion, or another proxy command, wrote.
        bastion: What people call what is in between.
        where: The host and its port.
        by_hand: The command with which a person tries it.
        otherwise: What was seen at this end.
    """
    for pattern, problem, fix in _TROUBLES:
        if found := re.search(pattern, said, re.MULTILINE):
            known = {"bastion": bastion, "where": where, "by_hand": by_hand}
            reason = (found.groups() or ("",))[0].strip()
            return problem.format(reason, **known), fix.format(**known)
    last = next((line.strip() for line in reversed(said.splitlines()) if line.strip()), otherwise)
    return f"no SSH server answers on {where} through {bastion} ({last})", f"try `{by_hand}`"
