"""Tries the connection to every host at once and says what is wrong in one sentence each."""

import base64
import contextlib
import hashlib
import logging
import os
import random
import re
import resource
import secrets
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import paramiko

from kubestrap.adapters.environment import clean_environment, write_private
from kubestrap.adapters.private import private_directory
from kubestrap.adapters.ssh_route import Login, Route, RouteError, home, login_to, no_ssh, only_ansible_knows, route_to
from kubestrap.model.cluster import Host
from kubestrap.model.hops import hop_trouble
from kubestrap.model.probe import HostKey, ProbeResult
from kubestrap.model.probe_causes import (
    Attempt,
    asked_to_log_in,
    crowded,
    greeted,
    login_trouble,
    proxied,
    reached,
    unknown_key,
)

# What goes wrong is said by us, once.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

STEP_SECONDS = 5
ALL_SECONDS = 9.5
DEAD_SECONDS = 7
"""A host of which nothing was heard by then is named as silent; through a command of the person's, nobody can look."""
LOGIN_SECONDS = 60
"""A host that answers on TCP gets this long to let us in: sshd may wait for name servers."""
_BLIND_SECONDS = 20
_LOOK_SECONDS = 0.5
_ATTEMPTS = 3
_SAID_BYTES = 2**20
"""What comes from a host, or from ssh, is kept up to this size."""
_SIDE_BY_SIDE = 32
_START_SECONDS = 2
"""So many start together, and the next ones when those are done, or wait for somebody: this machine must keep up."""
OLDEST_PYTHON = (3, 9)
# The order in which Ansible itself looks.
_PYTHONS = (*(f"python3.{minor}" for minor in range(14, 8, -1)), "/usr/bin/python3", "python3")
_DISCOVERED = {"", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent"}
# ssh asks it for the password; anything else that ssh would ask a person gets no answer.
_ASKPASS = """#!/bin/sh
case $1 in *"$KUBESTRAP_SSH_PROMPT"*) exec cat "$KUBESTRAP_SSH_PASSWORD_FILE";; esac
exit 1
"""


class SSHProbe:
    """Probes with the ssh that Ansible starts, its options, keys and known hosts."""

    def __init__(self, state: Path) -> None:
        """Take the directory under which logs of ssh, and passwords for it, lie while hosts are tried."""
        self._state = state

    def probe(self, hosts: Sequence[Host]) -> tuple[ProbeResult, ...]:
        """Return the truth about every host: in under ten seconds where nothing answers, each on its own clock."""
        asked = [host for host in hosts if not only_ansible_knows(host)]
        with private_directory(self._state, "run-") as directory:
            starts = threading.BoundedSemaphore(_SIDE_BY_SIDE)
            visits = {host.name: _Visit(host, directory / str(index), starts) for index, host in enumerate(asked)}
            seconds = 2 * LOGIN_SECONDS + _START_SECONDS * len(asked) / _SIDE_BY_SIDE
            try:
                answers = _at_once(asked, lambda host: visits[host.name].result(), seconds=seconds)
            finally:
                for visit in visits.values():
                    visit.end()
        return tuple(answers.get(host.name, ProbeResult(host=host.name)) for host in hosts)

    def host_keys(self, hosts: Sequence[Host]) -> tuple[HostKey | ProbeResult, ...]:
        """Return the key every host shows."""
        answers = _at_once(hosts, self._host_key, seconds=ALL_SECONDS)
        return tuple(answers[host.name] for host in hosts)

    def accept(self, keys: Sequence[HostKey]) -> Path:
        """Add keys to the person's known_hosts."""
        path = home() / ".ssh/known_hosts"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        before = path.read_bytes() if path.exists() else b""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("" if before.endswith(b"\n") or not before else "\n")
            stream.writelines(f"{key.line}\n" for key in keys if not key.known)
        return path

    def _host_key(self, host: Host) -> HostKey | ProbeResult:
        try:
            route = route_to(host)
            with _connection(route) as connection:
                key = _shown_key(connection, route)
        except RouteError as trouble:
            return ProbeResult(host=host.name, problem=trouble.problem, fix=trouble.fix)
        known = _known_keys(route, key.get_name())
        if known and key.get_base64() not in known:
            problem, fix = _changed(route, key)
            return ProbeResult(host=host.name, problem=problem, fix=fix)
        return HostKey(
            host=host.name,
            type=key.get_name().removeprefix("ssh-"),
            fingerprint=_fingerprint(key),
            line=f"{route.places[0]} {key.get_name()} {key.get_base64()}",
            known=bool(known),
        )


def _at_once(hosts: Sequence[Host], ask: Callable[[Host], Any], *, seconds: float) -> dict[str, Any]:
    """Ask all hosts side by side; who has not answered in time gets that as the answer."""
    answers: dict[str, Any] = {}

    def work(host: Host) -> None:
        try:
            answers[host.name] = ask(host)
        except Exception as error:  # noqa: BLE001 - one strange host must not hide the truth about the others
            answers[host.name] = ProbeResult(
                host=host.name, problem=f"the SSH connection failed: {error}", fix=f"try `ssh {host.address}`"
            )

    # Daemons, because a thread in a system call cannot be stopped and must not keep the program.
    threads = [threading.Thread(target=work, args=(host,), daemon=True) for host in hosts]
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no complete answer within {seconds:.0f} s"
    fix = "is the host overloaded, or the line very slow? try again, or log in by hand with ssh"
    return {host.name: answers.get(host.name) or ProbeResult(host=host.name, problem=silent, fix=fix) for host in hosts}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """What one ssh left behind."""

    log: str
    output: str
    errors: str
    given_up: bool
    seconds: float


class _Start:
    """One of the places for visits that begin; given back when the visit waits for somebody, or ends."""

    def __init__(self, places: threading.BoundedSemaphore) -> None:
        self._places = places
        self._held = False

    def __enter__(self) -> Self:
        self._places.acquire()
        self._held = True
        return self

    def __exit__(self, *_: object) -> None:
        self.over()

    def over(self) -> None:
        """Let the next one begin."""
        if self._held:
            self._held = False
            self._places.release()


class _Visit:
    """One host, visited with the ssh that Ansible would start."""

    def __init__(self, host: Host, directory: Path, starts: threading.BoundedSemaphore) -> None:
        self._host = host
        self._starts = starts
        self._directory = directory
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None

    def result(self) -> ProbeResult:
        """Log in, look for what Ansible needs, and say what is missing.

        Where only Ansible knows the login, the look goes as far as that: the way, the host's key, the question.
        """
        try:
            login = login_to(self._host)
            answers, said = self._ask(login)
            if login.sealed and asked_to_log_in(said.log):
                return ProbeResult(host=self._host.name, seconds=said.seconds)
            if "end" not in answers:
                raise _explained(self._host, login, said)
            _judge(login, answers)
        except RouteError as trouble:
            return ProbeResult(host=self._host.name, problem=trouble.problem, fix=trouble.fix)
        return ProbeResult(host=self._host.name, seconds=said.seconds)

    def end(self) -> None:
        """End what still runs here; nothing starts any more."""
        self._ended = True
        process = self._process
        if process is not None and process.poll() is None:
            # The whole session: what ssh started to get there has to go with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def _ask(self, login: Login) -> tuple[dict[str, str], _Said]:
        mark = f"kubestrap-{secrets.token_hex(8)}"
        self._directory.mkdir(mode=0o700)
        for number in range(1, _ATTEMPTS + 1):
            said = self._ssh(login, _script(login, mark), number)
            if not crowded(said.log, said.errors) or number == _ATTEMPTS or self._ended:
                break
            # Many log in at once; sshd takes only so many that have not said yet who they are.
            time.sleep(random.uniform(0.5, 2) * number)  # noqa: S311 - no secret
        found = re.findall(rf"{mark} (\w+) ?(.*)", said.output)
        return dict(found), said

    def _ssh(self, login: Login, script: str, number: int) -> _Said:
        with _Start(self._starts) as start:
            return self._run(login, script, number, start)

    def _run(self, login: Login, script: str, number: int, start: "_Start") -> _Said:
        log, out, err = (self._directory / f"{name}{number}" for name in ("log", "out", "err"))
        began = time.monotonic()
        with out.open("wb") as output, err.open("wb") as errors:
            try:
                self._process = process = subprocess.Popen(
                    _command(login, log),
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=errors,
                    env=self._environment(login),
                    # No terminal: whatever ssh would like to ask, nobody is there to answer.
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise no_ssh(login) from None
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_SAID_BYTES, _SAID_BYTES))
        # It fits into the pipe, so this does not wait for anybody.
        with contextlib.suppress(BrokenPipeError):
            assert process.stdin is not None  # noqa: S101 - it is a pipe
            process.stdin.write(script.encode())
            process.stdin.close()
        given_up = not self._wait(process, partial(_patience, log, err, began), start)
        return _Said(
            log=_text(log),
            output=_text(out),
            errors=_text(err),
            given_up=given_up,
            seconds=time.monotonic() - began,
        )

    def _wait(self, process: "subprocess.Popen[bytes]", patience: Callable[[], float], start: "_Start") -> bool:
        """Wait for the end of an ssh as long as it gets on; end it when it does not."""
        began = time.monotonic()
        until = began + min(_START_SECONDS, DEAD_SECONDS)
        while not self._ended:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
                return True
            start.over()
            now = time.monotonic()
            if now >= began + DEAD_SECONDS and now >= patience():
                break
            until = max(began + DEAD_SECONDS, now + _LOOK_SECONDS)
        self.end()
        process.wait()
        return False

    def _environment(self, login: Login) -> dict[str, str]:
        environment = clean_environment()
        if login.password is None or not login.password:
            return environment
        program, secret = self._directory / "askpass", self._directory / "password"
        if not secret.exists():
            write_private(secret, login.password + "\n")
            write_private(program, _ASKPASS).chmod(0o700)
        return environment | {
            "SSH_ASKPASS": str(program),
            "SSH_ASKPASS_REQUIRE": "force",
            "DISPLAY": environment.get("DISPLAY", "-"),
            "KUBESTRAP_SSH_PASSWORD_FILE": str(secret),
            "KUBESTRAP_SSH_PROMPT": login.prompt,
        }


def _command(login: Login, log: Path) -> list[str]:
    """Return Ansible's command with what a look needs; ssh takes the first value it meets."""
    ours = [f"ConnectTimeout={LOGIN_SECONDS}", "ControlMaster=no"]
    if not any("controlpath" in word.lower() for word in login.arguments):
        # Ansible then gives a path of its own, so a connection that is open already is not used by it either.
        ours.append("ControlPath=none")
    if not login.password:
        ours.append("BatchMode=yes")
    if login.sealed:
        ours.append("PreferredAuthentications=none")
    options = [word for option in ours for word in ("-o", option)]
    return [login.program, *options, *login.arguments, "-T", "-v", "-E", str(log), "--", login.address, "/bin/sh"]


def _patience(log: Path, errors: Path, began: float) -> float:
    """Return until when an ssh is waited for, by what it has got done so far."""
    said, hop = _text(log), _text(errors)
    if greeted(said):
        return began + LOGIN_SECONDS
    if not proxied(said):
        return began + (LOGIN_SECONDS if reached(said) else DEAD_SECONDS)
    if "Authenticated to" in hop:
        # The bastion is through; the rest is one connection from there.
        return began + DEAD_SECONDS + STEP_SECONDS
    if "Connecting to" in hop:
        return began + (LOGIN_SECONDS if reached(hop) else DEAD_SECONDS)
    return began + _BLIND_SECONDS


def _text(path: Path) -> str:
    try:
        return path.read_bytes()[:_SAID_BYTES].decode(errors="replace").replace("\r", "")
    except OSError:
        return ""


def _explained(host: Host, login: Login, said: _Said) -> RouteError:
    """Return why an ssh did not get through, or not to its end."""
    # It knows what is wrong with the options, if anything is.
    route = route_to(host)
    if proxied(said.log) and not greeted(said.log):
        _explain_hop(route)
    if unknown_key(said.log):
        try:
            with _connection(route) as connection:
                return _unknown(route, _shown_key(connection, route))
        except RouteError as trouble:
            return trouble
    file = next((path for path in route.known_hosts if path.exists()), Path("~/.ssh/known_hosts"))
    printed = [line for line in (said.errors + "\n" + said.output).splitlines() if not line.startswith("debug")]
    return RouteError(
        *login_trouble(
            Attempt(
                log=said.log,
                address=route.address,
                port=route.port,
                user=route.user,
                place=route.places[0],
                known_hosts=str(file),
                by_hand=route.by_hand,
                password=bool(login.password),
                withheld=login.withheld,
                missing_key=login.missing_key,
                said="".join(filter(str.isprintable, next((line for line in printed[::-1] if line.strip()), "")))[:200],
                seconds=said.seconds,
                given_up=said.given_up,
            )
        )
    )


def _explain_hop(route: Route) -> None:
    """Go the same way again, with an ssh to the bastion that tells why it fails; raise what it tells."""
    with _connection(route) as connection:
        _shown_key(connection, route)


@contextlib.contextmanager
def _connection(route: Route) -> Iterator[socket.socket]:
    """Open the way to the host's SSH server."""
    if route.proxy:
        with _through(route) as connection:
            yield connection
        return
    where = f"{route.address} port {route.port}"
    try:
        connection = socket.create_connection((route.address, route.port), timeout=STEP_SECONDS)
    except socket.gaierror as error:
        fix = "correct the name, or set ansible_host to an address"
        raise RouteError(f"the name {route.address} does not resolve ({error.strerror})", fix) from error
    except TimeoutError as error:
        fix = "is the host on, is the address right, does a firewall let SSH through?"
        raise RouteError(f"{where} does not answer within {STEP_SECONDS} s", fix) from error
    except ConnectionRefusedError as error:
        fix = "start sshd there, or set ansible_port to the port it listens on"
        raise RouteError(f"{where} refuses connections: no SSH server there", fix) from error
    except OSError as error:
        raise RouteError(f"{where} cannot be reached ({error.strerror})", "check address and network") from error
    with connection:
        yield connection


@contextlib.contextmanager
def _through(route: Route) -> Iterator[socket.socket]:
    """Run the command whose input and output are the connection; when it breaks, say which hop it was."""
    ours, theirs = socket.socketpair()
    # A file, because nobody reads while the connection is in use.
    with ours, tempfile.TemporaryFile() as said:
        with theirs:
            # The shell, because ssh starts it like that.
            command = ["sh", "-c", f"exec {route.proxy}"]
            process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=said.fileno())
        try:
            yield ours
        except _NoAnswerError as error:
            _end(process)
            said.seek(0)
            raise RouteError(
                *hop_trouble(
                    said.read().decode(errors="replace").replace("\r", ""),
                    bastion=route.bastion,
                    where=f"{route.address} port {route.port}",
                    by_hand=route.by_hand,
                    otherwise=str(error),
                )
            ) from error
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait()


class _NoAnswerError(Exception):
    """The connection is open, but what is at its other end does not speak SSH."""


def _no_answer(route: Route, error: Exception) -> Exception:
    if route.proxy:
        return _NoAnswerError(str(error) or "connection closed")
    return RouteError(
        f"no SSH server answers on port {route.port} ({error})", f"is it the right port? try `{route.by_hand}`"
    )


def _known_keys(route: Route, kind: str) -> set[str]:
    """Return the keys of a kind that known_hosts files have for a host; `ssh-keygen` reads them as ssh does."""
    for place in route.places:
        keys = {key for path in route.known_hosts if path.is_file() for key in _found(place, path, kind)}
        if keys:
            # Like ssh, which takes the key of the name alone when there is none for name and port.
            return keys
    return set()


def _found(place: str, path: Path, kind: str) -> Iterator[str]:
    done = subprocess.run(
        ["ssh-keygen", "-F", place, "-f", path],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=STEP_SECONDS, check=False,
    )  # fmt: skip
    for line in done.stdout.decode(errors="replace").splitlines():
        words = line.split()
        # Comments, and lines with a marker, are no keys of hosts.
        if len(words) > 2 and not line.startswith(("#", "@")) and words[1] == kind:  # noqa: PLR2004
            yield words[2]


def _unknown(route: Route, key: paramiko.PKey) -> RouteError:
    line = f"{route.places[0]} {key.get_name()} {key.get_base64()}"
    return RouteError(
        f"its host key is not known here ({key.get_name().removeprefix('ssh-')} {_fingerprint(key)})",
        f"compare it with the host's own, then `echo '{line}' >> {route.known_hosts[0]}`",
    )


def _changed(route: Route, key: paramiko.PKey) -> tuple[str, str]:
    file = next((path for path in route.known_hosts if path.exists()), route.known_hosts[0])
    return (
        f"its host key has changed (now {_fingerprint(key)}): another machine, or somebody in between",
        (
            f"if you reinstalled the host, remove the old key with `ssh-keygen -R '{route.places[0]}' -f {file}` "
            "and learn the new one with `kubestrap init`"
        ),
    )


def _shown_key(connection: socket.socket, route: Route) -> paramiko.PKey:
    transport = paramiko.Transport(connection)
    transport.banner_timeout = STEP_SECONDS
    try:
        transport.start_client(timeout=STEP_SECONDS)
        return transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _no_answer(route, error) from error
    finally:
        transport.close()


def _fingerprint(key: paramiko.PKey) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _script(login: Login, mark: str) -> str:
    """Return what is run there by /bin/sh, whatever the login shell is and whatever it prints."""
    pythons = " ".join(map(shlex.quote, _PYTHONS if login.python in _DISCOVERED else (login.python,)))
    version = "import sys; print(*sys.version_info[:2])"
    sudo = shlex.quote(login.become_program)
    trial = f"{sudo} -n true </dev/null"
    if login.become_password:
        # printf belongs to the shell: the password is on no command line.
        trial = f"printf '%s\\n' {shlex.quote(login.become_password)} | {sudo} -S -p '' true"
    lines = [
        "LC_ALL=C; export LC_ALL; echo",
        f'echo "{mark} id $(id -u) $(id -un)"',
        f"for p in {pythons}",
        f'do v=$("$p" -c "{version}" </dev/null 2>/dev/null) && echo "{mark} python $v $p" && break',
        "done",
    ]
    if login.become == "sudo":
        lines.append(
            f'[ "$(id -u)" = 0 ] || {{ said=$({trial} 2>&1) && said=works; '
            f"echo {mark} sudo \"$(printf '%s' \"$said\" | tr '\\n' ' ')\"; }}"
        )
    return "\n".join([*lines, f"echo {mark} end", ""])


def _judge(login: Login, answers: dict[str, str]) -> None:
    """Say what Ansible would miss there."""
    number, _, user = answers["id"].partition(" ")
    if number != "0":
        _check_sudo(login, user, answers.get("sudo", ""))
    oldest = ".".join(map(str, OLDEST_PYTHON))
    wanted = "Python" if login.python in _DISCOVERED else f"the Python {login.python} (ansible_python_interpreter)"
    if "python" not in answers:
        fix = f"install Python {oldest} or newer there, such as `apt-get install python3`"
        raise RouteError(f"{wanted} is missing", fix)
    major, minor, path = answers["python"].split(" ", 2)
    if (int(major), int(minor)) < OLDEST_PYTHON:
        fix = f"install Python {oldest} or newer there, and set ansible_python_interpreter to it"
        raise RouteError(f"{path} is Python {major}.{minor}, too old", fix)


def _check_sudo(login: Login, user: str, said: str) -> None:
    if login.become == "no":
        fix = "remove ansible_become: false, or log in as root"
        raise RouteError(f"{user} is not root and ansible_become is off", fix)
    if login.become != "sudo" or said == "works":
        return
    if "not found" in said:
        raise RouteError("sudo is missing", f"install sudo and allow {user} to use it, or log in as root")
    if "tty" in said:
        raise RouteError("sudo wants a terminal", f"remove `Defaults requiretty` for {user} in /etc/sudoers there")
    if "password is required" in said or "a terminal is required" in said:
        rule = f"{user} ALL=(ALL) NOPASSWD: ALL"
        fix = f"type it with -K, set ansible_become_password, or allow `{rule}` in /etc/sudoers.d there"
        raise RouteError(f"sudo asks {user} for a password", fix)
    if login.become_password and ("incorrect" in said or "try again" in said):
        raise RouteError(
            f"sudo refuses the password of {user}", "type it again with -K, or correct ansible_become_password"
        )
    raise RouteError(f"{user} may not use sudo ({said.strip()})", "allow it in /etc/sudoers.d there, or log in as root")
