"""Tries the connection to every host at once and says what is wrong in one sentence each."""

import base64
import contextlib
import getpass
import hashlib
import logging
import os
import pwd
import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from bootstrap.model.cluster import Host
from bootstrap.model.probe import HostKey, ProbeResult
from bootstrap.model.variables import is_template

# What goes wrong is said by us, once.
logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)

STEP_SECONDS = 5
ALL_SECONDS = 9.5
OLDEST_PYTHON = (3, 9)
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
# The order in which Ansible itself looks.
_PYTHONS = (*(f"python3.{minor}" for minor in range(14, 8, -1)), "/usr/bin/python3", "python3")
_DISCOVERED = {"", "auto", "auto_silent", "auto_legacy", "auto_legacy_silent"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """How SSH gets to a host, after the inventory, the SSH options in it and the SSH configuration."""

    name: str
    address: str
    port: int
    user: str
    key_files: tuple[Path, ...]
    password: str | None
    known_hosts: tuple[Path, ...]
    known_as: str
    accept_unknown: bool
    proxy: str | None
    become: str
    """How to become root: sudo, another method, or `no`."""
    become_password: str | None
    python: str

    @property
    def place(self) -> str:
        """The name under which known_hosts files have it."""
        return self.known_as if self.port == paramiko.config.SSH_PORT else f"[{self.known_as}]:{self.port}"


class _Trouble(Exception):  # noqa: N818 - not an error of ours: the answer of a probe
    """The reason why Ansible cannot work on a host, and what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


class SSHProbe:
    """Probes with the same keys, options and known hosts as the ssh that Ansible starts."""

    def __init__(self, config: Path | None = None) -> None:
        """Read the person's SSH configuration when there is one."""
        self._config = _read_config(config or _home() / ".ssh/config")

    def probe(self, hosts: Sequence[Host], directory: Path) -> tuple[ProbeResult, ...]:
        """Return the truth about every host in under ten seconds."""
        remote = [host for host in hosts if not _skipped(host, directory)]
        answers = _at_once(remote, lambda host: self._probe(host, directory))
        return tuple(answers.get(host.name, ProbeResult(host=host.name)) for host in hosts)

    def host_keys(self, hosts: Sequence[Host]) -> tuple[HostKey | ProbeResult, ...]:
        """Return the key every host shows."""
        answers = _at_once(hosts, self._host_key)
        return tuple(answers[host.name] for host in hosts)

    def accept(self, keys: Sequence[HostKey]) -> Path:
        """Add keys to the person's known_hosts."""
        path = _home() / ".ssh/known_hosts"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write("" if before.endswith("\n") or not before else "\n")
            stream.writelines(f"{key.line}\n" for key in keys if not key.known)
        return path

    def _probe(self, host: Host, directory: Path) -> ProbeResult:
        try:
            target = _target(host, self._config, directory)
            with _logged_in(target) as client:
                _check_host(client, target)
        except _Trouble as trouble:
            return ProbeResult(host=host.name, problem=trouble.problem, fix=trouble.fix)
        return ProbeResult(host=host.name)

    def _host_key(self, host: Host) -> HostKey | ProbeResult:
        try:
            target = _target(host, self._config, Path.cwd())
            with _connection(target) as connection:
                key = _shown_key(connection, target)
        except _Trouble as trouble:
            return ProbeResult(host=host.name, problem=trouble.problem, fix=trouble.fix)
        entries = _known(target)
        known = entries.get(key.get_name())
        if known is not None and known != key:
            return ProbeResult(host=host.name, **_changed(target, key))
        return HostKey(
            host=host.name,
            type=key.get_name().removeprefix("ssh-"),
            fingerprint=_fingerprint(key),
            line=f"{target.place} {key.get_name()} {key.get_base64()}",
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


def _skipped(host: Host, directory: Path) -> bool:
    """Tell whether there is nothing to probe: no SSH, or a value only Ansible can work out."""
    if host.variables.get("ansible_connection", "ssh") not in {"ssh", "smart"}:
        return True
    values = {name: value for name, value in host.variables.items() if name.startswith("ansible_")}
    return any(is_template(_resolved(value, directory)) for value in values.values())


def _resolved(value: Any, directory: Path) -> Any:
    """Fill in the one template that inventories commonly hold."""
    return re.sub(r"{{\s*inventory_dir\s*}}", str(directory), value) if isinstance(value, str) else value


def _target(host: Host, config: paramiko.SSHConfig, directory: Path) -> Target:
    def variable(*names: str) -> Any:
        return next((_resolved(host.variables[name], directory) for name in names if host.variables.get(name)), "")

    # ssh takes the first value it meets, and this is the order in which Ansible hands them over.
    options = _options(str(variable("ansible_ssh_args")))
    common = _options(f"{variable('ansible_ssh_common_args')} {variable('ansible_ssh_extra_args')}")
    address = str(variable("ansible_host", "ansible_ssh_host") or host.name)
    configured = config.lookup(address)

    def option(name: str, own: Any = "") -> str:
        return str(options.get(name) or own or common.get(name) or _first(configured.get(name)) or "")

    real_address = str(configured.get("hostname", address))
    user = option("user", variable("ansible_user", "ansible_ssh_user") or os.environ.get("ANSIBLE_REMOTE_USER"))
    user = user or getpass.getuser()
    port = int(option("port", variable("ansible_port", "ansible_ssh_port")) or paramiko.config.SSH_PORT)
    key = str(variable("ansible_ssh_private_key_file", "ansible_private_key_file"))
    keys = [key or options.get("identityfile") or common.get("identityfile") or ""]
    keys = [path for path in keys if path] or list(configured.get("identityfile", ()))
    become = str(host.variables.get("ansible_become", "true")).lower() not in {"false", "no"}
    return Target(
        name=host.name,
        address=real_address,
        port=port,
        user=user,
        key_files=_key_files(keys, explicit=bool(key)),
        password=str(variable("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")) or None,
        known_hosts=_known_hosts_files(option("userknownhostsfile"), option("globalknownhostsfile")),
        known_as=option("hostkeyalias") or real_address,
        accept_unknown=option("stricthostkeychecking").lower() in {"no", "off", "accept-new"}
        or str(host.variables.get("ansible_host_key_checking", "true")).lower() in {"false", "no"},
        proxy=_proxy(option("proxycommand"), option("proxyjump"), real_address, port, user),
        become="no" if not become else str(variable("ansible_become_method") or "sudo"),
        become_password=str(variable("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")) or None,
        python=str(variable("ansible_python_interpreter")),
    )


def _options(arguments: str) -> dict[str, str]:
    """Read the options of an ssh command line; names in lower case, the first value counts."""
    short = {"-i": "identityfile", "-J": "proxyjump", "-p": "port", "-l": "user"}
    found: dict[str, str] = {}
    words = iter(shlex.split(arguments))
    for word in words:
        flag, rest = word[:2], word[2:]
        if flag == "-o":
            name, _, value = re.sub(r"\s*[=\s]\s*", "=", (rest or next(words, "")).strip(), count=1).partition("=")
            found.setdefault(name.lower(), value)
        elif flag in short:
            found.setdefault(short[flag], rest or next(words, ""))
    return found


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _home() -> Path:
    """Return the home directory as ssh sees it: that of the account, whatever HOME says."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def _expanded(path: str) -> Path:
    text = path.strip('"').replace("%d", str(_home()))
    return _home() / text[2:] if text.startswith("~/") else Path(text)


def _read_config(path: Path) -> paramiko.SSHConfig:
    with contextlib.suppress(OSError, paramiko.ConfigParseError):
        return paramiko.SSHConfig.from_path(str(path))
    return paramiko.SSHConfig()


def _key_files(paths: Sequence[str], *, explicit: bool) -> tuple[Path, ...]:
    if explicit:
        path = Path(paths[0]).expanduser()
        if not path.is_file():
            raise _Trouble(f"the key file {path} does not exist", "correct ansible_ssh_private_key_file")
        return (path,)
    files = [_expanded(path) for path in paths] or [_home() / ".ssh" / name for name in _DEFAULT_KEYS]
    return tuple(path for path in files if path.is_file())


def _known_hosts_files(user: str, system: str) -> tuple[Path, ...]:
    users = shlex.split(user) or ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
    systems = shlex.split(system) or ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
    return tuple(_expanded(path) for path in (*users, *systems))


def _proxy(command: str, jump: str, address: str, port: int, user: str) -> str | None:
    if command and command != "none":
        return command.replace("%h", address).replace("%p", str(port)).replace("%r", user)
    if jump and jump != "none":
        *before, last = jump.split(",")
        through = ["-J", ",".join(before)] if before else []
        words = ["ssh", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={STEP_SECONDS}", *through, "-W"]
        where, _, jump_port = last.partition(":")
        return shlex.join([*words, f"{address}:{port}", *(["-p", jump_port] if jump_port else []), where])
    return None


@contextlib.contextmanager
def _connection(target: Target) -> Iterator[Any]:
    """Open the way to the host's SSH server."""
    if target.proxy:
        proxy = paramiko.ProxyCommand(target.proxy)
        proxy.settimeout(STEP_SECONDS)
        try:
            yield proxy
        finally:
            proxy.close()
        return
    where = f"{target.address} port {target.port}"
    try:
        connection = socket.create_connection((target.address, target.port), timeout=STEP_SECONDS)
    except socket.gaierror as error:
        fix = "correct the name, or set ansible_host to an address"
        raise _Trouble(f"the name {target.address} does not resolve ({error.strerror})", fix) from error
    except TimeoutError as error:
        fix = "is the host on, is the address right, does a firewall let SSH through?"
        raise _Trouble(f"{where} does not answer within {STEP_SECONDS} s", fix) from error
    except ConnectionRefusedError as error:
        fix = "start sshd there, or set ansible_port to the port it listens on"
        raise _Trouble(f"{where} refuses connections: no SSH server there", fix) from error
    except OSError as error:
        raise _Trouble(f"{where} cannot be reached ({error.strerror})", "check address and network") from error
    with connection:
        yield connection


@contextlib.contextmanager
def _logged_in(target: Target) -> Iterator[paramiko.SSHClient]:
    client = paramiko.SSHClient()
    for path in target.known_hosts:
        with contextlib.suppress(OSError):
            client.load_system_host_keys(str(path))
    policy = _Accept() if target.accept_unknown else _Refuse(target)
    client.set_missing_host_key_policy(policy)
    with _connection(target) as connection:
        try:
            client.connect(
                target.known_as,
                port=target.port,
                username=target.user,
                password=target.password,
                key_filename=[str(path) for path in target.key_files] or None,  # type: ignore[arg-type] # a list is fine
                sock=connection,
                timeout=STEP_SECONDS,
                banner_timeout=STEP_SECONDS,
                auth_timeout=STEP_SECONDS,
                look_for_keys=False,
            )
            yield client
        except paramiko.BadHostKeyException as error:
            raise _Trouble(**_changed(target, error.key)) from error
        except paramiko.PasswordRequiredException as error:
            fix = "load it into the agent with ssh-add"
            raise _Trouble("the SSH key is protected by a passphrase", fix) from error
        except paramiko.AuthenticationException as error:
            raise _Trouble(*_refused(target)) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if "authentication methods" in str(error):
                raise _Trouble(*_refused(target)) from error
            through = f" through `{target.proxy}`" if target.proxy else ""
            fix = f"try `ssh -p {target.port} {target.user}@{target.address}`"
            raise _Trouble(f"no SSH server answers on port {target.port}{through} ({error})", fix) from error
        finally:
            client.close()


class _Accept(paramiko.MissingHostKeyPolicy):
    """The inventory asks for it."""

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Go on."""


class _Refuse(paramiko.MissingHostKeyPolicy):
    """An unknown key is a question for the person."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Show the fingerprint and stop."""
        port = f" -p {self._target.port}" if self._target.port != paramiko.config.SSH_PORT else ""
        raise _Trouble(
            f"its host key is not known here ({key.get_name().removeprefix('ssh-')} {_fingerprint(key)})",
            f"compare it with the host's own, then `kubestrap init {self._target.name}` or "
            f"`ssh-keyscan{port} {self._target.address} >> {self._target.known_hosts[0]}`",
        )


def _changed(target: Target, key: paramiko.PKey) -> dict[str, str]:
    file = next((path for path in target.known_hosts if path.exists()), target.known_hosts[0])
    return {
        "problem": f"its host key has changed (now {_fingerprint(key)}): another machine, or somebody in between",
        "fix": f"if you reinstalled the host, remove the old key with `ssh-keygen -R '{target.place}' -f {file}` "
        "and learn the new one with `kubestrap init`",
    }


def _refused(target: Target) -> tuple[str, str]:
    tried = ", ".join(str(path) for path in target.key_files) or "no key file"
    tried = "the password" if target.password else f"{tried} and the keys of the SSH agent"
    fix = "set ansible_user and ansible_ssh_private_key_file, or add your key to the host's authorized_keys"
    return f"the login as {target.user} is refused (tried {tried})", fix


def _shown_key(connection: Any, target: Target) -> paramiko.PKey:
    transport = paramiko.Transport(connection)
    transport.banner_timeout = STEP_SECONDS
    try:
        transport.start_client(timeout=STEP_SECONDS)
        return transport.get_remote_server_key()
    except (paramiko.SSHException, EOFError, OSError) as error:
        fix = "is it the right port?"
        raise _Trouble(f"no SSH server answers on {target.address} port {target.port} ({error})", fix) from error
    finally:
        transport.close()


def _known(target: Target) -> Mapping[str, paramiko.PKey]:
    keys = paramiko.HostKeys()
    for path in target.known_hosts:
        with contextlib.suppress(OSError):
            keys.load(str(path))
    return keys.lookup(target.place) or {}


def _fingerprint(key: paramiko.PKey) -> str:
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def _check_host(client: paramiko.SSHClient, target: Target) -> None:
    pythons = " ".join(map(shlex.quote, _PYTHONS if target.python in _DISCOVERED else (target.python,)))
    version = "import sys; print(*sys.version_info[:2])"
    script = f'id -u; for p in {pythons}; do v=$("$p" -c "{version}" 2>/dev/null) && echo "$v $p" && break; done; true'
    output = _execute(client, f"LC_ALL=C sh -c {shlex.quote(script)}")
    if not output or not output[0].isdigit():
        raise _Trouble(f"{target.user} cannot run commands there", "give the user a login shell")
    if output[0] != "0":
        _check_sudo(client, target)
    oldest = ".".join(map(str, OLDEST_PYTHON))
    wanted = "Python" if target.python in _DISCOVERED else f"the Python {target.python} (ansible_python_interpreter)"
    if len(output) < 2:  # noqa: PLR2004
        fix = f"install Python {oldest} or newer there, such as `apt-get install python3`"
        raise _Trouble(f"{wanted} is missing", fix)
    major, minor, path = output[1].split(" ", 2)
    if (int(major), int(minor)) < OLDEST_PYTHON:
        fix = f"install Python {oldest} or newer there, and set ansible_python_interpreter to it"
        raise _Trouble(f"{path} is Python {major}.{minor}, too old", fix)


def _check_sudo(client: paramiko.SSHClient, target: Target) -> None:
    if target.become == "no":
        fix = "remove ansible_become: false, or log in as root"
        raise _Trouble(f"{target.user} is not root and ansible_become is off", fix)
    if target.become != "sudo":
        return
    password = target.become_password
    command = "sudo -S -p '' true" if password else "sudo -n true"
    output = _execute(client, f"LC_ALL=C {command} 2>&1 && echo sudo-works", f"{password}\n" if password else "")
    if "sudo-works" in output:
        return
    said = " ".join(output)
    if "not found" in said:
        raise _Trouble("sudo is missing", f"install sudo and allow {target.user} to use it, or log in as root")
    if "tty" in said:
        raise _Trouble("sudo wants a terminal", f"remove `Defaults requiretty` for {target.user} in /etc/sudoers there")
    if "password is required" in said or "a terminal is required" in said:
        fix = f"set ansible_become_password, or allow `{target.user} ALL=(ALL) NOPASSWD: ALL` in /etc/sudoers.d there"
        raise _Trouble(f"sudo asks {target.user} for a password", fix)
    if password and ("incorrect" in said or "try again" in said):
        raise _Trouble(f"sudo refuses the password of {target.user}", "correct ansible_become_password")
    raise _Trouble(f"{target.user} may not use sudo ({said})", "allow it in /etc/sudoers.d there, or log in as root")


def _execute(client: paramiko.SSHClient, command: str, text: str = "") -> list[str]:
    stdin, stdout, _ = client.exec_command(command, timeout=STEP_SECONDS)
    stdin.write(text)
    stdin.channel.shutdown_write()
    return stdout.read().decode(errors="replace").split("\n")[:-1]
