"""How ssh gets to a host: the inventory and the person's SSH configuration, put together by ssh itself."""

import getpass
import os
import pwd
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from configparser import ConfigParser
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from kubestrap.adapters.content import content_root
from kubestrap.model.cluster import Host
from kubestrap.model.variables import is_template

PORT = 22
CONNECT_SECONDS = 4
"""A bastion has less time than the whole way, so that it is named when it is the one that does not answer."""

_SECONDS = 20
_KEYS_FOR_ITS_AGENT = ("ansible_private_key", "ansible_ssh_private_key", "ansible_ssh_pkcs11_provider")
_NO_PASSWORD = (
    "KbdInteractiveAuthentication=no",
    "PreferredAuthentications=gssapi-with-mic,gssapi-keyex,hostbased,publickey",
    "PasswordAuthentication=no",
)
"""What Ansible tells ssh when there is no password."""
_PASSWORDS = ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password")
_BECOME_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
_OF_THE_WAY = (
    "ansible_host", "ansible_ssh_host", "ansible_port", "ansible_ssh_port", "ansible_ssh_executable",
    "ansible_ssh_args", "ansible_ssh_common_args", "ansible_ssh_extra_args",
    "ansible_host_key_checking", "ansible_ssh_host_key_checking",
)  # fmt: skip
"""What must be known to get as far as the host's key."""
_OF_THE_LOGIN = (
    *_PASSWORDS, "ansible_ssh_password_mechanism", "ansible_sshpass_prompt", "ansible_user", "ansible_ssh_user",
    "ansible_private_key_file", "ansible_ssh_private_key_file", "ansible_python_interpreter",
    "ansible_become", "ansible_become_method", "ansible_become_exe", "ansible_sudo_exe",
)  # fmt: skip
"""What must be known besides to log in, and to become root there."""


class RouteError(Exception):
    """There is no way to the host as it is written; `fix` says what to do."""

    def __init__(self, problem: str, fix: str) -> None:
        """Take what is wrong and what to do."""
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """What the inventory says about SSH: what Ansible starts, before ssh has looked into its configuration."""

    program: str
    arguments: tuple[str, ...]
    """The options in the order in which Ansible hands them over; ssh takes the first value it meets."""
    address: str
    user: str
    """Empty when it is left to ssh."""
    key: str
    """The key file that is named; empty when that is left to ssh."""
    password: str | None
    prompt: str
    """Part of the question that the password answers."""
    withheld: bool
    """Whether there is a password that Ansible is told to keep from ssh."""
    sealed: bool
    """Whether only Ansible can work out who logs in, or with what: the way can be looked at, the login cannot."""
    become: str
    """How to become root: sudo, another method, `no`, or empty when only Ansible knows."""
    become_program: str
    become_password: str | None
    python: str

    @property
    def missing_key(self) -> str:
        """The key file that is named, when there is none; ssh fills in the tokens (`%h`) itself."""
        return "" if not self.key or "%" in self.key or Path(self.key).expanduser().is_file() else self.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """How SSH gets to a host."""

    name: str
    address: str
    port: int
    user: str
    known_hosts: tuple[Path, ...]
    alias: str
    """The name in known_hosts files, when it is another one."""
    proxy: str
    """Command whose input and output are the connection; empty for a direct one."""
    bastion: str
    """What people call what is in between; empty for a direct connection."""
    detour: tuple[str, ...]
    """The options with which ssh takes the same way."""

    @property
    def places(self) -> tuple[str, ...]:
        """The names under which known_hosts files may have it, the best first."""
        if self.alias:
            return (self.alias,)
        return (self.address,) if self.port == PORT else (f"[{self.address}]:{self.port}", self.address)

    @property
    def by_hand(self) -> str:
        """The command with which a person tries it."""
        port = ["-p", str(self.port)] if self.port != PORT else []
        return shlex.join(["ssh", *self.detour, *port, f"{self.user}@{self.address}"])


def home() -> Path:
    """Return the home directory as ssh sees it: that of the account, whatever HOME says."""
    return Path(pwd.getpwuid(os.getuid()).pw_dir)


def only_ansible_knows(host: Host) -> bool:
    """Tell whether there is nothing to probe: no SSH, or a way only Ansible can work out."""
    if host.variables.get("ansible_connection", "ssh") not in {"ssh", "smart", "ansible.builtin.ssh"}:
        return True
    return _any_unknown(host, _OF_THE_WAY)


def _any_unknown(host: Host, names: Sequence[str]) -> bool:
    return any(_text(host.variables[name], host.directory) is None for name in names if name in host.variables)


def login_to(host: Host) -> Login:
    """Return what Ansible would start for a host: variables first, then the environment, then our ansible.cfg.

    The order of the options is that of the connection plugin `ansible.builtin.ssh`.

    Raises:
        RouteError: When the options cannot be read, or Ansible would miss what gives the password to ssh.
    """

    def value(*names: str, environment: str = "", otherwise: str = "") -> str:
        # Of several variables for one thing, Ansible takes the last one of its list.
        found = [host.variables[name] for name in names if host.variables.get(name) is not None]
        if found:
            return _text(found[-1], host.directory) or ""
        return os.environ.get(environment, otherwise)

    key = value("ansible_private_key_file", "ansible_ssh_private_key_file", environment="ANSIBLE_PRIVATE_KEY_FILE")
    port = value("ansible_port", "ansible_ssh_port", environment="ANSIBLE_REMOTE_PORT")
    user = value("ansible_user", "ansible_ssh_user", environment="ANSIBLE_REMOTE_USER")
    password = value(*_PASSWORDS) or _from_file("ANSIBLE_CONNECTION_PASSWORD_FILE")
    mechanism = value("ansible_ssh_password_mechanism", environment="ANSIBLE_SSH_PASSWORD_MECHANISM")
    if mechanism == "sshpass" and (password or _any_unknown(host, _PASSWORDS)) and shutil.which("sshpass") is None:
        raise RouteError(
            "Ansible is told to give the password with sshpass, which is not on this machine",
            "take out ansible_ssh_password_mechanism (ssh takes the password without it), or install sshpass",
        )
    options = [
        "StrictHostKeyChecking=no"
        if not _true(host, "ansible_host_key_checking", "ansible_ssh_host_key_checking")
        else "",
        f"Port={port}" if port else "",
        f'IdentityFile="{Path(key).expanduser()}"' if key else "",
        *(() if password else _NO_PASSWORD),
        f'User="{user}"' if user else "",
        "NumberOfPasswordPrompts=1" if password else "",
    ]
    secret = next((host.variables[name] for name in _BECOME_PASSWORDS if host.variables.get(name)), None)
    become_password = _from_file("ANSIBLE_BECOME_PASSWORD_FILE") if secret is None else _text(secret, host.directory)
    method = value("ansible_become_method", environment="ANSIBLE_BECOME_METHOD") or "sudo"
    if secret is not None and become_password is None:
        method = ""
    return Login(
        program=value("ansible_ssh_executable", environment="ANSIBLE_SSH_EXECUTABLE", otherwise="ssh") or "ssh",
        arguments=(
            *_words(value("ansible_ssh_args", environment="ANSIBLE_SSH_ARGS", otherwise=_configured("ssh_args"))),
            *(word for option in options if option for word in ("-o", option)),
            *_words(value("ansible_ssh_common_args", environment="ANSIBLE_SSH_COMMON_ARGS")),
            *_words(value("ansible_ssh_extra_args", environment="ANSIBLE_SSH_EXTRA_ARGS")),
        ),
        address=value("ansible_ssh_host") or value("ansible_host") or host.name,
        user=user,
        key=key,
        password=None if mechanism == "disable" else password,
        prompt=value("ansible_sshpass_prompt", environment="ANSIBLE_SSHPASS_PROMPT") or "assword",
        withheld=bool(password) and mechanism == "disable",
        sealed=_any_unknown(host, _OF_THE_LOGIN) or any(host.variables.get(name) for name in _KEYS_FOR_ITS_AGENT),
        become=method if _true(host, "ansible_become") else "no",
        become_program=value("ansible_sudo_exe", "ansible_become_exe", environment="ANSIBLE_BECOME_EXE") or "sudo",
        become_password=become_password,
        python=value("ansible_python_interpreter", environment="ANSIBLE_PYTHON_INTERPRETER"),
    )


def route_to(host: Host) -> Route:
    """Return the way that the ssh which Ansible starts would take.

    Raises:
        RouteError: When it is written in a way that ssh does not understand.
    """
    login = login_to(host)
    settings = _settings(login)
    address, port = settings["hostname"][0], int(settings["port"][0])
    user = settings.get("user", [getpass.getuser()])[0]
    proxy, bastion, detour = _proxy(settings, f"[{address}]:{port}", _config(login.arguments))
    replaced = {"%h": address, "%p": str(port), "%r": user, "%n": login.address, "%%": "%"}
    return Route(
        name=host.name,
        address=address,
        port=port,
        user=user,
        known_hosts=tuple(
            path for kind in ("user", "global") for path in _paths(settings.get(f"{kind}knownhostsfile", [""])[0])
        ),
        alias=settings.get("hostkeyalias", [""])[0],
        proxy=re.sub("%[hprn%]", lambda found: replaced[found[0]], proxy),
        bastion=bastion,
        detour=detour,
    )


def _true(host: Host, *names: str) -> bool:
    found = [host.variables[name] for name in names if host.variables.get(name) is not None]
    return str(found[-1] if found else "true").lower() not in {"false", "no", "off", "0", "n", "f"}


@cache
def _configured(name: str) -> str:
    """Return a setting of the section ssh_connection of the ansible.cfg that a run is started with."""
    parser = ConfigParser(interpolation=None)
    parser.read(content_root() / "ansible.cfg", encoding="utf-8")
    return parser.get("ssh_connection", name, fallback="")


def _settings(login: Login) -> Mapping[str, list[str]]:
    """Let ssh say what it makes of its arguments and its configuration; names are in lower case."""
    address = login.address
    try:
        done = subprocess.run(
            [login.program, "-G", *login.arguments, "--", address],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise no_ssh(login) from None
    except subprocess.TimeoutExpired:
        raise RouteError(f"ssh does not say within {_SECONDS} s how it gets there", f"try `ssh -G {address}`") from None
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RouteError(
            f"ssh does not understand its options ({said})", "correct ansible_ssh_common_args, or ssh_config"
        )
    settings: dict[str, list[str]] = {}
    for name, _, value in (line.partition(" ") for line in done.stdout.splitlines()):
        settings.setdefault(name.lower(), []).append(value)
    return settings


def no_ssh(login: Login) -> RouteError:
    """Return what to say when the program of a login is not there."""
    fix = "install it (package openssh-client)" if login.program == "ssh" else "correct ansible_ssh_executable"
    return RouteError(f"there is no {login.program} on this machine", fix)


def _config(arguments: Sequence[str]) -> list[str]:
    """Return the option that names another configuration; ssh hands it on to the jump hosts, but no other option."""
    words = iter(arguments)
    named = (word[2:] or next(words, "") for word in words if word.startswith("-F"))
    return [word for name in list(named)[-1:] for word in ("-F", name)]


def _proxy(settings: Mapping[str, list[str]], target: str, config: Sequence[str]) -> tuple[str, str, tuple[str, ...]]:
    """Return proxy, bastion and detour of a route; all empty for a direct connection."""
    settled = [f"ConnectTimeout={CONNECT_SECONDS}", "BatchMode=yes", "LogLevel=VERBOSE"]
    options = [word for option in settled for word in ("-o", option)]
    jump, command = (settings.get(name, ["none"])[0] for name in ("proxyjump", "proxycommand"))
    if jump != "none":
        *before, last = jump.split(",")
        where, port = _split(last)
        through = ["-J", ",".join(before)] if before else []
        words = ["ssh", *config, *options, *through, *port, "-W", target, where]
        return shlex.join(words), jump, (*config, "-J", jump)
    if command == "none":
        return "", "", ()
    words = command.split()
    detour = ("-o", f"ProxyCommand={command}")
    if words[0] != "ssh":
        return command, command, detour
    # The same, but so that it tells why it fails, and in time.
    telling = " ".join([shlex.join(["ssh", *options]), *(word for word in words[1:] if word != "-q")])
    return telling, next((word for word in words if "@" in word), command), detour


def _split(jump: str) -> tuple[str, list[str]]:
    """Take the port off a jump host, as an option."""
    jump = jump.removeprefix("ssh://").rstrip("/")
    found = re.fullmatch(r"(.*?@)?(?:\[(.+)\]|([^:]+))(?::(\d+))?", jump)
    if found is None:
        return jump, []
    user, address, name, port = found.groups()
    return f"{user or ''}{address or name}", ["-p", port] if port else []


def _text(value: Any, directory: Path) -> str | None:
    """Return a value as Ansible will see it; none when only Ansible can work it out."""
    if isinstance(value, Mapping) and "__ansible_unsafe" in value:
        return str(value["__ansible_unsafe"])
    if isinstance(value, str):
        # The one template that inventories commonly hold.
        value = re.sub(r"{{\s*inventory_dir\s*}}", str(directory), value)
    return None if is_template(value) else str(value)


def _words(arguments: str) -> list[str]:
    try:
        return shlex.split(arguments)
    except ValueError as error:
        raise RouteError(f"the SSH options {arguments!r} cannot be read ({error})", "correct the quotes") from error


def _from_file(name: str) -> str | None:
    """Return the password that Ansible would take from a file, or from what a script prints."""
    path = Path(os.environ.get(name, "")).expanduser()
    if not os.environ.get(name) or not path.is_file():
        return None
    if os.access(path, os.X_OK):
        done = subprocess.run([path], capture_output=True, text=True, timeout=_SECONDS, check=False)
        return done.stdout.strip("\r\n") or None
    return path.read_text(encoding="utf-8").strip("\r\n") or None


def _paths(text: str) -> list[Path]:
    # ssh prints a list of paths without quotes, also when there are blanks in them.
    return [_expanded(path) for path in re.split(r" (?=[/~])", text) if path]


def _expanded(path: str) -> Path:
    text = path.strip('"').replace("%d", str(home()))
    return home() / text[2:] if text.startswith("~/") else Path(text).expanduser()
