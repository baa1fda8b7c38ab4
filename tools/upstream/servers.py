"""The servers that stay when the command has ended: container registry and file server."""

import atexit
import base64
import contextlib
import ctypes
import http.client
import ipaddress
import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable

from kubestrap.lab import engine

from tools.upstream import debian
from tools.upstream.cache import Cache
from tools.upstream.tools import UpstreamError, run, say

_REGISTRY_PORT = 15443
_PRIVATE_REGISTRY_PORT = 15543
_PROXY_PORT = 15128
_FILES_PORT = 15080
_PORTS_TRIED = 50
_SECONDS_TO_START = 15
# What this process started, to collect what has ended.
_children: list[subprocess.Popen[bytes]] = []
_NETWORK = "kubestrap-upstream"
# Set aside for tests of networks, so neither Docker nor an office uses them.
_SUBNETS = [f"198.19.255.{start}/29" for start in range(0, 64, 8)]


@atexit.register
def _leave_running() -> None:
    """Servers outlive this process on purpose; Popen would warn of each."""
    for child in _children:
        child.returncode = 0


def ensure_network() -> str:
    """Make sure of a network of our own in Docker; the machine's address on it.

    Containers on any network of this machine reach that address. The address of Docker's default bridge would not do:
    a host that runs Docker itself has the same one.

    Raises:
        KubestrapError: There is no Docker Engine, and none can be started.
        UpstreamError: No subnet is free.
    """
    engine.ensure_running(say)
    if not _network_exists():
        _create_network()
    subnet = run("docker", "network", "inspect", _NETWORK, "--format", "{{(index .IPAM.Config 0).Subnet}}").strip()
    # Docker gives the first address to the machine; not every version says so.
    return str(next(ipaddress.ip_network(subnet).hosts()))


def _network_exists() -> bool:
    return _NETWORK in run("docker", "network", "ls", "--format", "{{.Name}}").split()


def _create_network() -> None:
    for subnet in _SUBNETS:
        try:
            run("docker", "network", "create", "--subnet", subnet, _NETWORK)
        except UpstreamError as error:
            reason = error
        else:
            return
    raise reason


def remove_network() -> None:
    """Remove our network from Docker."""
    if engine.is_running() and _network_exists():
        run("docker", "network", "rm", _NETWORK)


class Server:
    """A server in a process of its own, found again by its record in the cache.

    Attributes:
        name: What it is called in messages.
    """

    def __init__(self, cache: Cache, name: str) -> None:
        self.name = name
        self._record = cache.directory("servers") / f"{name}.json"
        self._log = cache.directory("servers") / f"{name}.log"

    @property
    def endpoint(self) -> str | None:
        """ADDRESS:PORT of the running server, or None."""
        record = self._running()
        return str(record["endpoint"]) if record else None

    def ensure(
        self,
        recipe: object,
        address: str,
        first_port: int,
        command: Callable[[int], list[str]],
        healthy: Callable[[str], bool],
    ) -> str:
        """Make sure it runs as described and answers.

        Args:
            recipe: What it was started with, as JSON; a server with another one is replaced.
            address: Where it listens.
            first_port: The port to try first; taken ones are left to their owners.
            command: Port to command line.
            healthy: Whether the server at ADDRESS:PORT answers rightly.

        Returns:
            ADDRESS:PORT.
        """
        recipe = json.loads(json.dumps([address, recipe]))
        record = self._running()
        if record and record["recipe"] == recipe and healthy(str(record["endpoint"])):
            return str(record["endpoint"])
        self.stop()
        for port in range(first_port, first_port + _PORTS_TRIED):
            if not _is_free(address, port):
                continue
            endpoint = f"{address}:{port}"
            process = self._start(command(port))
            self._record.write_text(
                json.dumps(
                    {"pid": process.pid, "started": _started(process.pid), "endpoint": endpoint, "recipe": recipe}
                )
            )
            deadline = time.monotonic() + _SECONDS_TO_START
            while process.poll() is None and time.monotonic() < deadline:
                if healthy(endpoint):
                    say(f"{self.name} answers at {endpoint}")
                    return endpoint
                time.sleep(0.05)
            self.stop()
            if process.poll() is None or _is_free(address, port):
                # It was not the port.
                break
        last = "".join(f"\n  {line}" for line in self._log.read_text().splitlines()[-10:])
        raise UpstreamError(f"The {self.name} server does not start at {address}. Its log {self._log} ends with:{last}")

    def stop(self) -> bool:
        """End it, and nothing else. False when it did not run."""
        record = self._running()
        if record:
            pid = int(str(record["pid"]))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 5
            while _started(pid) == record["started"]:
                for child in _children:
                    child.poll()
                if time.monotonic() > deadline:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)
        self._record.unlink(missing_ok=True)
        return record is not None

    def _start(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log.open("wb") as log:
            process = subprocess.Popen(
                command,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C and the end of this command are not for it.
                start_new_session=True,
            )
        _children.append(process)
        return process

    def _running(self) -> dict[str, object] | None:
        try:
            record: dict[str, object] = json.loads(self._record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        # The number alone may belong to another program by now.
        started = _started(int(str(record["pid"])))
        return record if started is not None and started == record["started"] else None


def _started(pid: int) -> int | None:
    """When a process was started, in ticks since boot; None when there is none, or it has ended."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = status.rpartition(")")[2].split()
    if state == "Z" and int(fields[16]) <= 1:
        # Ended with all its threads; only its parent has not asked for it yet.
        return None
    return int(fields[18])


def _is_free(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def authority(cache: Cache) -> pathlib.Path:
    """The directory with our certificate authority, `ca.pem` and `ca.key`."""
    subject = ["-subj", "/CN=kubestrap test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign"]

    def make(place: pathlib.Path) -> None:
        place.chmod(0o700)
        run(
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", place / "ca.key", "-out", place / "ca.pem", "-days", "3650"),
            *subject,
        )

    return cache.product("certificate authority", subject, make)


def certificate(cache: Cache, ca: pathlib.Path, address: str) -> pathlib.Path:
    """The directory with `server.pem` and `server.key` for an address."""
    extensions = (
        f"subjectAltName=IP:{address}\n"
        "extendedKeyUsage=serverAuth\n"
        "basicConstraints=critical,CA:FALSE\n"
        "subjectKeyIdentifier=hash\n"
        "authorityKeyIdentifier=keyid\n"
    )

    def make(place: pathlib.Path) -> None:
        place.chmod(0o700)
        run(
            *("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", place / "server.key", "-out", place / "server.csr", "-subj", f"/CN={address}"),
        )
        (place / "extensions").write_text(extensions)
        run(
            *("openssl", "x509", "-req", "-in", place / "server.csr", "-extfile", place / "extensions"),
            *("-CA", ca / "ca.pem", "-CAkey", ca / "ca.key", "-CAserial", place / "serial", "-CAcreateserial"),
            *("-out", place / "server.pem", "-days", "3650"),
        )

    return cache.product("registry certificate", {"extensions": extensions, "ca": ca.name}, make)


def ensure_registry(
    cache: Cache, program: pathlib.Path, shelf: pathlib.Path, address: str, *, login: tuple[str, str] | None = None
) -> str:
    """Make sure the registry serves the shelf; its ADDRESS:PORT.

    With a user and a password it is a second one, which demands them.
    """
    name = "private registry" if login else "registry"
    ca = authority(cache)
    tls = certificate(cache, ca, address)
    trust = ssl.create_default_context(cafile=str(ca / "ca.pem"))
    configuration = cache.directory("servers") / f"{name}.yml"
    users = cache.directory("servers") / "htpasswd"
    access = f"auth: {{htpasswd: {{realm: kubestrap test, path: {json.dumps(str(users))}}}}}\n" if login else ""

    def command(port: int) -> list[str]:
        if login:
            users.write_text(f"{login[0]}:{_bcrypt(login[1])}\n")
        configuration.write_text(
            "version: 0.1\n"
            "log: {level: warn}\n"
            f"storage: {{filesystem: {{rootdirectory: {json.dumps(str(shelf))}}},"
            " maintenance: {readonly: {enabled: true}}}\n"
            f'http: {{addr: "{address}:{port}", tls: {{certificate: {json.dumps(str(tls / "server.pem"))},'
            f" key: {json.dumps(str(tls / 'server.key'))}}}}}\n{access}"
        )
        return [str(program), "serve", str(configuration)]

    def healthy(endpoint: str) -> bool:
        return _answers(http.client.HTTPSConnection(endpoint, timeout=5, context=trust), "/v2/", login)

    recipe = [str(program), str(shelf), str(tls), *(login or ())]
    port = _PRIVATE_REGISTRY_PORT if login else _REGISTRY_PORT
    return Server(cache, name).ensure(recipe, address, port, command, healthy)


def _bcrypt(password: str) -> str:
    """The only form of a password the registry takes; Python has no function for it, every Debian has."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    hashed: bytes = crypt(password.encode(), b"$2b$05$" + secrets.token_hex(11).encode())
    return hashed.decode()


def ensure_proxy(cache: Cache, address: str, *, login: tuple[str, str], clients: str, ports: tuple[int, ...]) -> str:
    """Make sure of a forward proxy (Debian's tinyproxy) that demands a password; its ADDRESS:PORT.

    Args:
        cache: The cache.
        address: Where to listen.
        login: User and password.
        clients: Network it serves; all others are refused.
        ports: Where it lets TLS connections through.
    """

    def unpack(place: pathlib.Path) -> None:
        debian.unpack(place / "apt", place / "root", ("tinyproxy-bin",))
        shutil.rmtree(place / "apt")

    program = (
        cache.product("forward proxy", {"system": pathlib.Path("/etc/os-release").read_text()}, unpack)
        / "root/usr/bin/tinyproxy"
    )
    configuration = cache.directory("servers") / "proxy.conf"

    def command(port: int) -> list[str]:
        lines = [f"Port {port}", f"Listen {address}", "Timeout 600", "MaxClients 100", f"Allow {clients}"]
        # Its own health is asked from here.
        lines += [
            f"Allow {address}",
            f"BasicAuth {login[0]} {login[1]}",
            *(f"ConnectPort {number}" for number in ports),
        ]
        configuration.touch(mode=0o600)
        configuration.write_text("".join(f"{line}\n" for line in lines))
        return [str(program), "-d", "-c", str(configuration)]

    def healthy(endpoint: str) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex((address, int(endpoint.rpartition(":")[2]))) == 0

    return Server(cache, "proxy").ensure([*login, clients, ports], address, _PROXY_PORT, command, healthy)


def ensure_files(cache: Cache, root: pathlib.Path, probe: str, address: str) -> str:
    """Make sure the file server serves a directory; its ADDRESS:PORT.

    Args:
        cache: The cache.
        root: The directory.
        probe: Path of a file that has to be there.
        address: Where to listen.
    """
    program = pathlib.Path(__file__).with_name("fileserver.py")

    def command(port: int) -> list[str]:
        return [sys.executable, str(program), str(root), address, str(port)]

    def healthy(endpoint: str) -> bool:
        return _answers(http.client.HTTPConnection(endpoint, timeout=5), probe)

    recipe = [program.read_text(), str(root)]
    return Server(cache, "files").ensure(recipe, address, _FILES_PORT, command, healthy)


def _answers(connection: http.client.HTTPConnection, path: str, login: tuple[str, str] | None = None) -> bool:
    word = base64.b64encode(":".join(login).encode()).decode() if login else ""
    try:
        connection.request("HEAD", path, headers={"Authorization": f"Basic {word}"} if login else {})
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


NAMES = ("registry", "files")
