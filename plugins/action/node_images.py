"""Bring images from the operator's machine to a host, straight into its runtime: no registry, no file there."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import select
import shlex
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ansible import constants as C  # noqa: N812 - its name everywhere
from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, as_json, warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.images import (
    Content,
    content,
    differences,
    reference,
    with_tag,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.manifests import (
    ManifestError,
    files,
    local_images,
    read,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.relay import BLOCK, BROKEN_OFF, REFUSED
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import ARGUMENT as RUNTIME
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import RUNTIMES
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.relay_line import (
    END,
    Place,
    RelayError,
    RelayLine,
    listed,
)
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.shared_output import shared_output

MARK = "here-comes-the-archive"
KUBELET_CONF = "/etc/kubernetes/kubelet.conf"
# Seconds without a byte taken; for a host to load what it has.
STILL, LOAD = 300, 1900
# Bytes that are kept of what a host says.
SAID = 1 << 14


class LocalImage:
    """An image on the operator's machine: in its Docker, or in an archive made by `docker save`.

    Attributes:
        name: The image, for messages.
        contents: By name, what is in the images; an archive may hold several.
        size: Bytes to send, about.
    """

    def __init__(self, source: str, base: str) -> None:
        """Look at the source: a path that ends in .tar (relative ones start at base), else a name in Docker.

        Raises:
            AnsibleActionFail: when there is no such image.
        """
        self.archive = Path(base, Path(source).expanduser()) if source.endswith(".tar") else None
        if self.archive is None:
            self.name = with_tag(source)
            if reference(source).digest:
                raise AnsibleActionFail(
                    f"{source} names an image by its digest, which only a registry knows: an archive keeps none. Name "
                    "it by tag to have it brought, or leave it to its registry (imagePullPolicy: IfNotPresent)."
                )
            description = _inspect_local(self.name)
            self.size, self.contents = int(description.get("Size") or 0), {self.name: content(description)}
        else:
            self.contents = _inspect_archive(self.archive)
            self.name, self.size = ", ".join(self.contents), self.archive.stat().st_size

    def key(self) -> str:
        """Return a word for file names that stands for this image alone."""
        return hashlib.sha256(json.dumps(self.contents, sort_keys=True).encode()).hexdigest()

    def is_one_file(self) -> bool:
        """Tell whether all who share the archive read the same bytes; what Docker packs once more may have others."""
        if self.archive is not None:
            return True
        packed = self._packed()
        return packed.exists() or shutil.disk_usage(packed.parent).free > 2 * self.size

    @contextlib.contextmanager
    def stream(self, *, shared: bool) -> Iterator[IO[bytes]]:
        """Give the archive's bytes; `shared` when other hosts are sent the same, so that Docker packs it once."""
        if self.archive is not None:
            with self.archive.open("rb") as stream:
                yield stream
            return
        if shared and self.is_one_file():
            # Gone with the directory when the run ends.
            with shared_output(["docker", "save", self.name], self._packed()) as stream:
                yield stream
            return
        with subprocess.Popen(["docker", "save", self.name], stdout=subprocess.PIPE) as save:
            try:
                yield save.stdout  # type: ignore[misc]
            finally:
                save.stdout.close()  # type: ignore[union-attr]
        if save.returncode != 0:
            raise AnsibleActionFail(f"'docker save {self.name}' ended with exit code {save.returncode}.")

    def _packed(self) -> Path:
        return Path(C.DEFAULT_LOCAL_TMP) / f"image-{self.key()}.tar"


class RefusalError(RelayError):
    """The host did not believe the one before it."""


class _Host(threading.Thread):
    """What a command on a host says while it is given an archive.

    Attributes:
        at: Bytes that a relay says it took.
        heard: When it last had taken more.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True)
        self.at, self.heard = 0, time.monotonic()
        self._process, self._said = process, b""
        self.start()

    def run(self) -> None:
        """Read to the end."""
        # A host may say anything, of any length.
        for line in iter(lambda: self._process.stdout.readline(SAID), b""):  # type: ignore[union-attr]
            with contextlib.suppress(ValueError, TypeError, KeyError):
                at = int(json.loads(line)["at"])
                if at > self.at:
                    self.at, self.heard = at, time.monotonic()
                continue
            self._said = (self._said + line)[-SAID:]

    def give(self, data: bytes) -> bool:
        """Write to the command; False when it is gone.

        Raises:
            AnsibleActionFail: when it takes nothing for STILL seconds.
        """
        pipe = self._process.stdin
        poll = select.poll()
        poll.register(pipe, select.POLLOUT)  # type: ignore[arg-type]
        left = memoryview(data)
        while left:
            if not poll.poll(STILL * 1000):
                self._process.kill()
                raise AnsibleActionFail(f"The host took no byte of the image for {STILL} s.")
            try:
                left = left[os.write(pipe.fileno(), left) :]  # type: ignore[union-attr]
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True

    def end(self, tell: Callable[[int], None]) -> str:
        """End the input, and return all that was said when the command has ended; kill it when it is silent."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        ended, done = time.monotonic(), None
        while done is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                done = self._process.wait(0.2)
            tell(self.at)
            if time.monotonic() - max(ended, self.heard) > LOAD:
                self._process.kill()
                raise AnsibleActionFail(f"The host got the image and did not load it within {LOAD} s.")
        self.join(10)
        return self._said.decode(errors="replace").strip()


class Progress:
    """Says now and then how much of an image a host has."""

    def __init__(self, say: Callable[[str], None], host: str, image: LocalImage, *, many: int) -> None:
        """Take what says it, and how many hosts say such things."""
        self._say, self._image, self._host = say, image, host
        self._every = max(3.0, many / 4)
        self._told = time.monotonic()

    def tell(self, at: int) -> None:
        """Say it, when the last time is some seconds ago."""
        if time.monotonic() - self._told > self._every and self._image.size:
            self._told = time.monotonic()
            self._say(progress_line(self._host, self._image.name, at, self._image.size))


def progress_line(host: str, name: str, at: int, size: int) -> str:
    """Return the line; Docker does not know to the byte how large what it packs will be."""
    if at >= size:
        return f"[{host}] {name}: {size / 1e6:.0f} MB are there, the host loads them"
    return f"[{host}] {name}: {at / 1e6:.0f} of {size / 1e6:.0f} MB ({100 * at // size}%)"


class ActionModule(ActionBase):
    """Runs on the operator's machine, once for each host, side by side."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send what the host lacks; `changed` tells whether that was anything."""
        super().run(tmp, task_vars)
        names = {"type": "list", "elements": "str", "default": []}
        _, options = self.validate_argument_spec(
            {
                "images": names,
                "manifests": names,
                "base": {"type": "str"},
                "address": {"type": "str", "default": ""},
                "relay": {"type": "bool", "default": True},
                "container_runtime": RUNTIME,
            }
        )
        self.runtime = RUNTIMES[options["container_runtime"]]
        base = options["base"] or "."
        images = [LocalImage(source, base) for source in options["images"]]
        images += _named_in(options["manifests"], base, {name for image in images for name in image.contents})
        known = task_vars or {}
        self.host: str = known.get("inventory_hostname", "")
        self.hosts: list[str] = known.get("ansible_play_hosts", [])
        forks = int(context.CLIARGS.get("forks") or C.DEFAULT_FORKS)
        self.at_a_time = min(forks, len(known.get("ansible_play_batch") or self.hosts))
        self.refused: list[Finding] = []
        sent: list[str] = []
        relayed: list[str] = []
        for image in images:
            lacking = self._lacking(image)
            place = self._place(image, lacks=bool(lacking)) if options["relay"] else None
            sent += lacking
            if not lacking or self._task.check_mode:
                continue
            if self._send(image, place, options["address"]):
                relayed += lacking
            for name, differs in self._lacking(image).items():
                raise AnsibleActionFail(f"The host took {name}, but what it has now is another image ({differs}).")
        diff = [{"after_header": name, "before": "", "after": "present\n"} for name in sent]
        brought = [name for image in images for name in image.contents]
        result = {"changed": bool(sent), "diff": diff, "images": brought, "sent": sent, "relayed": relayed}
        if self.refused:
            result |= {
                "findings": as_json(self.refused),
                "warnings": [f"{one.evidence} {one.fix}" for one in self.refused],
            }
        return result

    def _lacking(self, image: LocalImage) -> dict[str, str]:
        """Return the names under which the host has not this image, each with what differs."""
        found = {}
        for name, wanted in image.contents.items():
            there = self._content_on_host(name)
            if there != wanted:
                found[name] = ", ".join(differences(wanted, there)) if there else "it is not there"
        return found

    def _content_on_host(self, name: str) -> Content | None:
        command = self.runtime.describe.format(name=self._connection._shell.quote(name))  # noqa: SLF001
        answer = self._low_level_execute_command(command)
        if answer["rc"] == 0:
            description = json.loads(answer["stdout"])
            return content(description[0] if isinstance(description, list) else description)
        if "no such image" in (answer["stdout"] + answer["stderr"]).lower():
            return None
        if self._task.check_mode and answer["rc"] == 127:  # noqa: PLR2004 - the shell's "command not found"
            return None
        if self._low_level_execute_command(f"test -e {KUBELET_CONF}")["rc"] == 1:
            raise AnsibleActionFail(f"{self.host} is no node yet: `kubestrap up` makes it one, and brings the images.")
        said = answer["stderr"].strip() or answer["stdout"].strip()
        raise AnsibleActionFail(f"The container runtime on the host does not answer '{command}': {said}")

    def _place(self, image: LocalImage, *, lacks: bool, again: bool = False) -> Place | None:
        """Return the host's place among those that lack the image too; None when there is none."""
        if len(self.hosts) < 2 or self._connection.transport != "ssh" or self._task.check_mode:  # noqa: PLR2004
            return None
        directory = Path(C.DEFAULT_LOCAL_TMP) / f"relay-{image.key()}{'-again' if again else ''}"
        return RelayLine(directory, self.host, self.hosts, at_a_time=self.at_a_time).join(lacks=lacks)

    def _send(self, image: LocalImage, place: Place | None, address: str) -> bool:
        """Bring an image to the host; True when another host gave it on."""
        for again in (False, True):
            if again:
                # A line ends where it breaks. Those after the break make another one.
                place = self._place(image, lacks=True, again=True)
            if place is None:
                break
            try:
                return self._send_in_line(image, place, address)
            except RefusalError as error:
                self._tell_refusal(image, str(place.before), error)
                break
            except RelayError as error:
                self._from_here(image, error)
                if not place.before:
                    break
        with self._start(self.runtime.load) as load:
            said = self._give(image, load, place)
        if load.returncode != 0:
            raise AnsibleActionFail(f"The host could not load {image.name}: {said}")
        return False

    def _send_in_line(self, image: LocalImage, place: Place, address: str) -> bool:
        with self._start(RelayLine.command(self.runtime.load)) as load:
            try:
                why_not = place.take(load, address, may_be_first=image.is_one_file())
                if place.before and why_not:
                    self._from_here(image, why_not)
                said = self._give(image, load, place, relay=True, given_on=not why_not)
            except BaseException:
                load.kill()
                raise
        if load.returncode == REFUSED:
            raise RefusalError(said)
        if load.returncode == BROKEN_OFF:
            raise RelayError(said)
        if load.returncode != 0:
            raise AnsibleActionFail(f"The host could not load {image.name}: {said}")
        return not why_not

    def _from_here(self, image: LocalImage, why: object) -> None:
        self._display.vv(f"{self.host} gets {image.name} from this machine, not from the host before it: {why}")

    def _tell_refusal(self, image: LocalImage, before: str, why: object) -> None:
        evidence = f"{self.host} did not take {image.name} from {before}: {why}. It got the image from this machine."
        fix = (
            f"Find out what changes images on {before}, or on the way from it, before you trust that host again. "
            "Until then, take it out of the inventory, or send to each host from here (`cluster_image_relay: false`)."
        )
        self.refused.append(warning("image-refused", evidence, fix))

    @contextlib.contextmanager
    def _start(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command on the host, with all that comes before its own input; wait for its end."""
        words, first_line = self._remote_command(command)
        pipe = subprocess.PIPE
        with (
            self._asked_for_a_password() as asked,
            subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, **asked) as started,
        ):
            with contextlib.suppress(BrokenPipeError):
                started.stdin.write(first_line)  # type: ignore[union-attr]
                started.stdin.flush()  # type: ignore[union-attr]
            yield started

    @contextlib.contextmanager
    def _asked_for_a_password(self) -> Iterator[dict[str, Any]]:
        """Give what ssh is started with to get the password from Ansible, as it does when no connection is open."""
        connection = self._connection
        if connection.transport != "ssh":
            yield {}
            return
        if connection.get_option("password_mechanism") == "sshpass":
            # The same password by the other way: it needs no program around ssh.
            connection.set_option("password_mechanism", "ssh_askpass")
        asked = connection._init_shm()  # noqa: SLF001
        # Its next command would take another one's place.
        shared, connection.shm = connection.shm, None
        try:
            yield asked
        finally:
            if shared:
                shared.close()
                with contextlib.suppress(FileNotFoundError):
                    shared.unlink()

    def _give(
        self,
        image: LocalImage,
        load: subprocess.Popen[bytes],
        place: Place | None,
        *,
        relay: bool = False,
        given_on: bool = False,
    ) -> str:
        """Give what a command on the host waits for, and wait until it has ended.

        Args:
            image: The image.
            load: The command.
            place: The host's place in a line.
            relay: Whether the command is a relay, which wants a list of the blocks.
            given_on: Whether the blocks come to it from another host.

        Returns:
            What the command said.
        """
        os.set_blocking(load.stdin.fileno(), False)  # type: ignore[union-attr]
        host, progress = _Host(load), Progress(self._display.display, self.host, image, many=len(self.hosts))
        if given_on and place:
            for line in place.archive.lines():
                if not host.give(line):
                    break
                progress.tell(host.at)
            return host.end(progress.tell)
        at, there = 0, True
        first = place is not None and not place.before
        with place.archive.writing() if place and first else contextlib.nullcontext() as write:
            with image.stream(shared=len(self.hosts) > 1) as stream:
                for block in iter(lambda: stream.read(BLOCK), b""):
                    line = listed(block) if relay or write else b""
                    if write:
                        write(line)
                    there = there and host.give(line + block if relay else block)
                    if not there and not write:
                        break
                    at += len(block)
                    progress.tell(at)
            # Only now: Docker may end in the middle.
            if write:
                write(END)
            if relay and there:
                host.give(END)
        return host.end(lambda _: progress.tell(at))

    def _remote_command(self, load: str) -> tuple[list[str], bytes]:
        """Return what runs a command on the host with root's rights, and what to send before the command's input."""
        first_line = b""
        become = self._connection.become
        if become is not None and self._play_context.remote_user != "root":
            if become.name not in {"ansible.builtin.sudo", "sudo"}:
                raise AnsibleActionFail(f"Images can be sent with become method sudo only, not {become.name}.")
            password = become.get_option("become_pass")
            if password:
                # sudo reads the password when it wants one. When it does not, the shell drops it with the mark.
                drop = f'while IFS= read -r line && [ "$line" != {MARK} ]; do :; done; exec {load}'
                load = f"sudo -S -p '' sh -c {shlex.quote(drop)}"
                first_line = f"{password}\n{MARK}\n".encode()
            else:
                load = f"sudo -n {load}"
        transport = self._connection.transport
        if transport == "local":
            return ["sh", "-c", load], first_line
        if transport != "ssh":
            raise AnsibleActionFail(f"Images can be sent over connections of type ssh or local, not {transport}.")
        # The connection's own command: keys, known hosts, ports, jump hosts and the open master all apply.
        ssh = self._connection.get_option("ssh_executable")
        built = self._connection._build_command(ssh, "ssh", self._connection.host, load)  # noqa: SLF001
        return [part.decode() if isinstance(part, bytes) else part for part in built], first_line


def _named_in(manifests: list[str], base: str, known: set[str]) -> list[LocalImage]:
    """Return the images that manifests name and no registry is meant for, but those already known."""
    try:
        found = local_images([one for path in files(manifests, base) for one in read(path)])
    except ManifestError as error:
        raise AnsibleActionFail(str(error)) from error
    images = []
    for name, place in found.items():
        if with_tag(name) not in known:
            try:
                images.append(LocalImage(with_tag(name), base))
            except AnsibleActionFail as error:
                raise AnsibleActionFail(f"{place}: {error}") from error
    return images


def _inspect_local(name: str) -> dict[str, Any]:
    if shutil.which("docker") is None:
        raise AnsibleActionFail(f"Cannot take {name} from the Docker of this machine: there is no docker command here.")
    done = subprocess.run(["docker", "image", "inspect", name], capture_output=True, text=True, check=False, timeout=60)
    if done.returncode == 0:
        return dict(json.loads(done.stdout)[0])
    if "no such image" not in done.stderr.lower():
        raise AnsibleActionFail(f"Cannot take {name} from the Docker of this machine: {done.stderr.strip()}")
    raise AnsibleActionFail(
        f"There is no image {name} in the Docker of this machine. Build it ('docker build -t {name} .'), "
        "or correct the name."
    )


def _inspect_archive(path: Path) -> dict[str, Content]:
    """Return what is in the images of an archive, by name."""
    found: dict[str, Content] = {}
    try:
        with tarfile.open(path) as archive:
            for entry in json.load(archive.extractfile("manifest.json") or _missing(path)):
                described = content(json.load(archive.extractfile(entry["Config"]) or _missing(path)))
                if not entry.get("RepoTags"):
                    raise AnsibleActionFail(
                        f"{path} holds an image without a name. Save it by name: 'docker save -o {path} NAME'."
                    )
                found |= dict.fromkeys(entry["RepoTags"], described)
            more = _names_in_index(archive) - set(found)
    except FileNotFoundError:
        raise AnsibleActionFail(f"There is no image archive {path}.") from None
    except (tarfile.TarError, AttributeError, KeyError, IndexError, TypeError, ValueError):
        raise _no_archive(path) from None
    if not found:
        raise _no_archive(path)
    if more:
        raise AnsibleActionFail(
            f"{path} says two things about what it holds: {', '.join(sorted(more))} only in index.json, which "
            f"containerd reads and Docker does not. 'docker save -o {path} NAME' makes one that says it once."
        )
    return found


def _names_in_index(archive: tarfile.TarFile) -> set[str]:
    """Return the names that containerd would give to images of the archive, as Docker writes them."""
    if "index.json" not in archive.getnames():
        return set()
    manifests = json.load(archive.extractfile("index.json") or io.BytesIO(b"{}")).get("manifests") or []
    names = {(one.get("annotations") or {}).get("io.containerd.image.name", "") for one in manifests} - {""}
    return {name.removeprefix("docker.io/").removeprefix("library/") for name in names}


def _no_archive(path: Path) -> AnsibleActionFail:
    return AnsibleActionFail(f"{path} is not an image archive. 'docker save -o {path} NAME' makes one.")


def _missing(path: Path) -> IO[bytes]:
    raise _no_archive(path)
