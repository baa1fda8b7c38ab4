"""Why a login fails, from what `ssh -v` writes: every cause has its own sentence and fix."""

import re
from dataclasses import dataclass

_OFFERED = re.compile(r"^debug1: Offering public key: (.+?) \S+ SHA256:", re.MULTILINE)
_SHOWN = re.compile(r"^debug1: Server host key: (\S+) (SHA256:\S+)", re.MULTILINE)
_REFUSED = re.compile(r"Permission denied \(([^)]*)\)")

# The first that fits is told. `{0}`, `{1}` are what the pattern found; the other names are fields and properties of
# Attempt.
_TROUBLES = (
    (
        r"Could not resolve hostname (\S+): (.+)",
        "the name {0} does not resolve ({1})",
        "correct the name, or set ansible_host to an address",
    ),
    (
        r"Bad owner or permissions on (.+)",
        "ssh refuses its configuration {0}, because others may write it",
        "`chmod go-w {0}`, and make it yours",
    ),
    (
        r"Cannot execute command-line and remote command",
        "ssh runs the RemoteCommand of your SSH configuration there and nothing else",
        "take RemoteCommand out of ~/.ssh/config for {address}, or set ansible_ssh_common_args: -o RemoteCommand=none",
    ),
    (
        r"^ssh: connect to host \S+ port \d+: Connection refused",
        "{where} refuses connections: no SSH server there",
        "start sshd there, or set ansible_port to the port it listens on",
    ),
    (
        r"^ssh: connect to host \S+ port \d+: (?:Connection|Operation) timed out",
        "{where} does not answer within {seconds:.0f} s",
        "is the host on, is the address right, does a firewall let SSH through?",
    ),
    (
        r"^ssh: connect to host \S+ port \d+: (.+)",
        "{where} cannot be reached ({0})",
        "check address and network",
    ),
    (
        r"(?:Not allowed at this time|Exceeded MaxStartups)",
        "sshd there takes no connection of this machine for a while (MaxStartups, PerSourcePenalties)",
        "wait a minute after failed logins and try again; raise MaxStartups there when many log in at once",
    ),
    (
        r"Unable to negotiate with .*: no matching (.+) found\. Their offer: (\S+)",
        "ssh here and sshd there have no {0} in common (it offers {1})",
        "update OpenSSH there, or allow what it offers for this host in ~/.ssh/config; try `{by_hand}`",
    ),
    (
        r"REVOKED HOST KEY DETECTED",
        "its host key is marked as revoked here (now {fingerprint}): it may have been stolen",
        "do not log in; ask who wrote the @revoked line into known_hosts, and give the host a new key",
    ),
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key has changed (now {fingerprint}): another machine, or somebody in between",
        (
            "if you reinstalled the host, remove the old key with `ssh-keygen -R '{place}' -f {known_hosts}` "
            "and learn the new one with `kubestrap init`"
        ),
    ),
    (
        r"Certificate invalid: (.+)[\s\S]*Host key verification failed",
        "its host certificate is not accepted ({0})",
        "sign the host's key again with your CA, for the name {address}; `{by_hand} -v` says more",
    ),
)
"""What ends the attempt before a login is tried."""

_REFUSALS = (
    (
        r"Authenticated using \"\S+\" with partial success",
        "sshd there takes the key of {user}, but asks for more ({methods})",
        "nobody can answer for Ansible: allow this user the key alone there (AuthenticationMethods in sshd_config)",
    ),
    (
        r"Permissions \d+ for '(.+)' are too open",
        "ssh ignores the key {0}, because others may read it",
        "`chmod 600 {0}`",
    ),
    (
        r"Load key \"(.+)\": ((?:error in|invalid format|unknown or unsupported|Permission denied).*)",
        "the key {0} cannot be read ({1})",
        "is it a private key, whole and yours? try `ssh-keygen -y -f {0}`",
    ),
    (
        r"sign_and_send_pubkey: signing failed for (.+?)(?: from agent)?: (.+)",
        "the key {0} does not sign ({1})",
        "is the security key plugged in and touched, is the agent unlocked? try `{by_hand}`",
    ),
    (
        r"(?:no mutual signature|send_pubkey_test: no mutual)",
        "sshd there understands no signature of this key",
        "use a key of type ed25519, or update OpenSSH there",
    ),
    (
        r"Too many authentication failures",
        "the login as {user} is refused: too many keys were offered before the right one",
        "name the one: ansible_ssh_private_key_file, and ansible_ssh_common_args: -o IdentitiesOnly=yes",
    ),
)
"""Why a login that was tried is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One ssh that did not get through, and what is known about its way."""

    log: str
    """What `ssh -v` wrote, without carriage returns."""
    address: str
    port: int
    user: str
    place: str
    """The name under which known_hosts has the host."""
    known_hosts: str
    """The file that an old key would be removed from."""
    by_hand: str
    """The command with which a person tries it."""
    password: bool
    """Whether there is a password to log in with."""
    withheld: bool = False
    """Whether there is one that Ansible is told to keep from ssh."""
    missing_key: str = ""
    """The key file the inventory names, when there is no such file."""
    said: str = ""
    """What came from there besides, such as a message of the login shell."""
    seconds: float = 0.0
    """How long it took."""
    given_up: bool = False
    """Whether it was ended from here."""

    @property
    def where(self) -> str:
        """Address and port."""
        return f"{self.address} port {self.port}"

    @property
    def fingerprint(self) -> str:
        """That of the key the host showed."""
        found = _SHOWN.search(self.log)
        return found[2] if found else "unknown"

    @property
    def methods(self) -> str:
        """What sshd would take, in its own words."""
        found = re.findall(r"Authentications that can continue: (\S+)", self.log)
        return str(found[-1]) if found else "unknown"

    @property
    def tried(self) -> str:
        """What the login was tried with."""
        if self.password:
            return "the password"
        offered = dict.fromkeys(_OFFERED.findall(self.log))
        return ", ".join(offered) or "no key: none is in the SSH agent or where ssh looks for key files"


def reached(log: str) -> bool:
    """Tell whether something answered on TCP, or the command of a proxy brought what an SSH server says."""
    return "Connection established" in log or greeted(log)


def greeted(log: str) -> bool:
    """Tell whether an SSH server said that it is one."""
    return "Remote protocol version" in log


def asked_to_log_in(log: str) -> bool:
    """Tell whether the host's key was accepted here and the host wants to know who comes, or has let us in."""
    return bool(re.search(r"^(debug1: Authentications that can continue: |Authenticated to )", log, re.MULTILINE))


def proxied(log: str) -> bool:
    """Tell whether the way went through another program."""
    return "Executing proxy command" in log


def crowded(log: str, hop: str = "") -> bool:
    """Tell whether a server hung up before it said anything, as sshd does when too many log in (MaxStartups).

    Args:
        log: What `ssh -v` wrote.
        hop: What the command of a proxy wrote; of such a way only its end is in the log, whatever the reason.
    """
    first = hop if proxied(log) else log
    return not greeted(first) and bool(re.search(r"kex_exchange_identification: .*(closed|reset)", first))


def unknown_key(log: str) -> bool:
    """Tell whether the key of the host is not known here, and nothing else is wrong with it."""
    return "Host key verification failed" in log and not re.search(r"HAS CHANGED|REVOKED|Certificate invalid", log)


def login_trouble(attempt: Attempt) -> tuple[str, str]:
    """Return what is wrong and what to do."""
    log = attempt.log
    in_time = "is the host overloaded, or the line very slow? try again, or log in by hand with `{by_hand}`"
    if found := _first(_TROUBLES, attempt):
        return found
    if "Authenticated to" in log:
        return _no_answer(attempt, in_time)
    if refused := _REFUSED.search(log) or "Too many authentication failures" in log:
        return _refusal(attempt, accepted="Server accepts key" in log and bool(refused))
    if attempt.given_up:
        return _given_up(attempt, in_time)
    return _odd(attempt)


def _odd(attempt: Attempt) -> tuple[str, str]:
    """Say what ssh said last."""
    log = attempt.log
    last = next((line for line in reversed(log.splitlines()) if line.strip() and not _chatter(line)), "no reason given")
    if not greeted(log):
        problem = f"no SSH server answers on port {attempt.port} ({last})"
        return problem, f"is it the right port? try `{attempt.by_hand}`"
    return f"the SSH connection failed: {last}", f"try `{attempt.by_hand}`"


def _no_answer(attempt: Attempt, in_time: str) -> tuple[str, str]:
    if attempt.given_up:
        return _filled("logs in, but gives no complete answer within {seconds:.0f} s", in_time, attempt)
    said = f" ({attempt.said})" if attempt.said else ""
    return f"{attempt.user} cannot run commands there{said}", "give the user a login shell"


def _refusal(attempt: Attempt, *, accepted: bool) -> tuple[str, str]:
    if attempt.missing_key:
        return f"the key file {attempt.missing_key} does not exist", "correct ansible_ssh_private_key_file"
    if found := _first(_REFUSALS, attempt):
        return found
    if accepted and not attempt.password:
        # sshd would take it, but nothing was signed with it.
        return "the SSH key is protected by a passphrase", "load it into the agent with ssh-add"
    fix = "set ansible_user and ansible_ssh_private_key_file, or add your key to the host's authorized_keys"
    if attempt.withheld:
        fix = f"take out `ansible_ssh_password_mechanism: disable`, which keeps the password from ssh; or {fix}"
    return f"the login as {attempt.user} is refused (tried {attempt.tried})", fix


def _given_up(attempt: Attempt, in_time: str) -> tuple[str, str]:
    """Say how far it got: a time-out is no refusal."""
    if not reached(attempt.log):
        if not proxied(attempt.log) and "Connecting to" not in attempt.log:
            fix = "do the name servers of this machine answer? or set ansible_host to an address"
            return f"the name {attempt.address} does not resolve within {attempt.seconds:.0f} s", fix
        fix = "is the host on, is the address right, does a firewall let SSH through?"
        return f"{attempt.where} does not answer within {attempt.seconds:.0f} s", fix
    if not greeted(attempt.log):
        silent = f"silent for {attempt.seconds:.0f} s"
        return (
            f"no SSH server answers on port {attempt.port} ({silent})",
            f"is it the right port? try `{attempt.by_hand}`",
        )
    return _filled(
        "{where} answers, but the login is not through after {seconds:.0f} s",
        "do the name servers that the host asks answer (`UseDNS no` in its sshd_config helps)? " + in_time,
        attempt,
    )


def _first(troubles: tuple[tuple[str, str, str], ...], attempt: Attempt) -> tuple[str, str] | None:
    for pattern, problem, fix in troubles:
        if found := re.search(pattern, attempt.log, re.MULTILINE):
            return _filled(problem, fix, attempt, *found.groups())
    return None


def _filled(problem: str, fix: str, attempt: Attempt, *found: str) -> tuple[str, str]:
    names = (
        "address", "port", "user", "place", "known_hosts", "by_hand", "where", "seconds", "fingerprint", "methods"
    )  # fmt: skip
    known = {name: getattr(attempt, name) for name in names}
    reasons = [reason.strip() for reason in found]
    return problem.format(*reasons, **known), fix.format(*reasons, **known)


def _chatter(line: str) -> bool:
    return line.startswith(("debug", "OpenSSH_", "Warning: ", "Transferred:", "Bytes per second:"))
