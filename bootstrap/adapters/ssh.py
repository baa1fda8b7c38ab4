"""Tries the connection to every host at once and says what is wrong in one sentence each."""

import base64
import contextlib
import hashlib
import logging
import os
import shlex
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import paramiko

from bootstrap.adapters.ssh_route import PORT, Route, RouteError, home, only_ansible_knows, route_to
from bootstrap.model.cluster import Host
from bootstrap.model.hops import hop_trouble
from bootstrap.model.probe import HostKey, ProbeResult

# What goes wrong is said by us, once.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

STEP_SECONDS = 5
ALL_SECONDS = 9.5
OLDEST_PYTHON = (3, 9)
# The order in which Ansible itself looks.
_PYTHONS = (*(f"python3.{minor}" for minor in range(14, 8, -1)), "/usr/bin/python3", "python3")
_DISCOVERED = {"", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent"}


class SSHProbe:
    """Probes with the same keys, options and known hosts as the ssh that Ansible starts."""

    def probe(self, hosts: Sequence[Host]) -> tuple[ProbeResult, ...]:
        """Return the truth about every host in under ten seconds."""
        answers = _at_once([host for host in hosts if not only_ansible_knows(host)], self._probe)
        return tuple(answers.get(host.name, ProbeResult(host=host.name)) for host in hosts)

    def host_keys(self, hosts: Sequence[Host]) -> tuple[HostKey | ProbeResult, ...]:
        """Return the key every host shows."""
        answers = _at_once(hosts, self._host_key)
        return tuple(answers[host.name] for host in hosts)

    def accept(self, keys: Sequence[HostKey]) -> Path:
        """Add keys to the person's known_hosts."""
        path = home() / ".ssh/known_hosts"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("" if before.endswith("\n") or not before else "\n")
            stream.writelines(f"{key.line}\n" for key in keys if not key.known)
        return path

    def _probe(self, host: Host) -> ProbeResult:
        try:
            route = route_to(host)
            with _logged_in(route) as client:
                _check_host(client, route)
        except RouteError as trouble:
            return ProbeResult(host=host.name, problem=trouble.problem, fix=trouble.fix)
        return ProbeResult(host=host.name)

    def _host_key(self, host: Host) -> HostKey | ProbeResult:
        try:
            route = route_to(host)
            with _connection(route) as connection:
                key = _shown_key(connection, route)
        except RouteError as trouble:
            return ProbeResult(host=host.name, problem=trouble.problem, fix=trouble.fix)
        keys = paramiko.HostKeys()
        _load_known_hosts(route, keys)
        known = (keys.lookup(route.places[0]) or paramiko.HostKeys()).get(key.get_name())
        if known is not None and known != key:
            return ProbeResult(host=host.name, **_changed(route, key))
        return HostKey(
            host=host.name,
            type=key.get_name().removeprefix("ssh-"),
            fingerprint=_fingerprint(key),
            line=f"{route.places[0]} {key.get_name()} {key.get_base64()}",
            known=known is not None,
        )


def _at_once(hosts: Sequence[Host], ask: Callable[[Host], Any]) -> dict[str, Any]:
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
    deadline = time.monotonic() + ALL_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    silent = f"no complete answer within {ALL_SECONDS:.0f} s"
    fix = "is the host overloaded, or the line very slow? try again, or log in by hand with ssh"
    return {host.name: answers.get(host.name) or ProbeResult(host=host.name, problem=silent, fix=fix) for host in hosts}


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


@contextlib.contextmanager
def _logged_in(route: Route) -> Iterator[paramiko.SSHClient]:
    client = paramiko.SSHClient()
    keys = client.get_host_keys()
    _load_known_hosts(route, keys)
    # Like ssh, which takes the key of the name alone when there is none for name and port.
    known_as = next((place for place in route.places if keys.lookup(place)), route.places[0])
    policy = _Accept() if route.accept_unknown else _Refuse(route)
    client.set_missing_host_key_policy(policy)
    with _connection(route) as connection:
        try:
            client.connect(
                known_as,
                # The port of the name above, which has it when it is needed.
                port=PORT,
                username=route.user,
                password=route.password,
                key_filename=[str(path) for path in route.key_files] or None,  # type: ignore[arg-type] # a list is fine
                sock=connection,
                timeout=STEP_SECONDS,
                banner_timeout=STEP_SECONDS,
                auth_timeout=STEP_SECONDS,
                look_for_keys=False,
            )
            yield client
        except paramiko.BadHostKeyException as error:
            raise RouteError(**_changed(route, error.key)) from error
        except paramiko.PasswordRequiredException as error:
            fix = "load it into the agent with ssh-add"
            raise RouteError("the SSH key is protected by a passphrase", fix) from error
        except paramiko.AuthenticationException as error:
            raise RouteError(*_refused(route)) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if "authentication methods" in str(error):
                raise RouteError(*_refused(route)) from error
            raise _no_answer(route, error) from error
        finally:
            client.close()


def _no_answer(route: Route, error: Exception) -> Exception:
    if route.proxy:
        return _NoAnswerError(str(error) or "connection closed")
    return RouteError(
        f"no SSH server answers on port {route.port} ({error})", f"is it the right port? try `{route.by_hand}`"
    )


def _load_known_hosts(route: Route, keys: paramiko.HostKeys) -> None:
    for path in route.known_hosts:
        with contextlib.suppress(OSError):
            keys.load(str(path))


class _Accept(paramiko.MissingHostKeyPolicy):
    """The inventory asks for it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Go on."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown key is a question for the person."""

    def __init__(self, route: Route) -> None:
        self._route = route

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Show the fingerprint and stop."""
        route = self._route
        line = f"{route.places[0]} {key.get_name()} {key.get_base64()}"
        raise RouteError(
            f"its host key is not known here ({key.get_name().removeprefix('ssh-')} {_fingerprint(key)})",
            f"compare it with the host's own, then `echo '{line}' >> {route.known_hosts[0]}`",
        )


def _changed(route: Route, key: paramiko.PKey) -> dict[str, str]:
    file = next((path for path in route.known_hosts if path.exists()), route.known_hosts[0])
    return {
        "problem": f"its host key has changed (now {_fingerprint(key)}): another machine, or somebody in between",
        "fix": f"if you reinstalled the host, remove the old key with `ssh-keygen -R '{route.places[0]}' -f {file}` "
        "and learn the new one with `kubestrap init`",
    }


def _refused(route: Route) -> tuple[str, str]:
    tried = ", ".join(str(path) for path in route.key_files) or "no key file"
    tried = "the password" if route.password else f"{tried} and the keys of the SSH agent"
    fix = "set ansible_user and ansible_ssh_private_key_file, or add your key to the host's authorized_keys"
    return f"the login as {route.user} is refused (tried {tried})", fix


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


def _check_host(client: paramiko.SSHClient, route: Route) -> None:
    pythons = " ".join(map(shlex.quote, _PYTHONS if route.python in _DISCOVERED else (route.python,)))
    version = "import sys; print(*sys.version_info[:2])"
    script = f'id -u; for p in {pythons}; do v=$("$p" -c "{version}" 2>/dev/null) && echo "$v $p" && break; done; true'
    output = _execute(client, f"LC_ALL=C sh -c {shlex.quote(script)}")
    if not output or not output[0].isdigit():
        raise RouteError(f"{route.user} cannot run commands there", "give the user a login shell")
    if output[0] != "0":
        _check_sudo(client, route)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    wanted = "Python" if route.python in _DISCOVERED else f"the Python {route.python} (ansible_python_interpreter)"
    if len(output) < 2:  # noqa: PLR2004
        fix = f"install Python {oldest} or newer there, such as `apt-get install python3`"
        raise RouteError(f"{wanted} is missing", fix)
    major, minor, path = output[1].split(" ", 2)
    if (int(major), int(minor)) < OLDEST_PYTHON:
        fix = f"install Python {oldest} or newer there, and set ansible_python_interpreter to it"
        raise RouteError(f"{path} is Python {major}.{minor}, too old", fix)


def _check_sudo(client: paramiko.SSHClient, route: Route) -> None:
    if route.become == "no":
        fix = "remove ansible_become: false, or log in as root"
        raise RouteError(f"{route.user} is not root and ansible_become is off", fix)
    if route.become != "sudo":
        return
    password = route.become_password
    command = "sudo -S -p '' true" if password else "sudo -n true"
    output = _execute(client, f"LC_ALL=C {command} 2>&1 && echo sudo-works", f"{password}\n" if password else "")
    if "sudo-works" in output:
        return
    said = " ".join(output)
    if "not found" in said:
        raise RouteError("sudo is missing", f"install sudo and allow {route.user} to use it, or log in as root")
    if "tty" in said:
        raise RouteError(
            "sudo wants a terminal", f"remove `Defaults requiretty` for {route.user} in /etc/sudoers there"
        )
    if "password is required" in said or "a terminal is required" in said:
        rule = f"{route.user} ALL=(ALL) NOPASSWD: ALL"
        fix = f"type it with -K, set ansible_become_password, or allow `{rule}` in /etc/sudoers.d there"
        raise RouteError(f"sudo asks {route.user} for a password", fix)
    if password and ("incorrect" in said or "try again" in said):
        raise RouteError(
            f"sudo refuses the password of {route.user}", "type it again with -K, or correct ansible_become_password"
        )
    raise RouteError(f"{route.user} may not use sudo ({said})", "allow it in /etc/sudoers.d there, or log in as root")


def _execute(client: paramiko.SSHClient, command: str, text: str = "") -> list[str]:
    stdin, stdout, _ = client.exec_command(command, timeout=STEP_SECONDS)
    stdin.write(text)
    stdin.channel.shutdown_write()
    return stdout.read().decode(errors="replace").split("\n")[:-1]
