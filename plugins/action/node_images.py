"""Bring images from the operator's machine to a host, straight into its runtime: no registry, no file there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from ansible import constants as C  # noqa: N812 - its name everywhere
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.kubestrap.cluster.plugins.module_utils.manifests import (
    ManifestError,
    files,
    local_images,
    read,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.relay import BROKEN_OFF
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.relay_line import Place, RelayError, RelayLine
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.shared_output import shared_output

MARK = "here-comes-the-archive"


class Runtime(NamedTuple):
    """How a container runtime is spoken to on a host.

    Attributes:
        describe: Command that describes an image, C({name}).
        load: Command that takes an archive from its standard input.
        image: Where in the answer of `describe` the image is.
    """

    describe: str
    load: str
    image: tuple[Any, ...]


RUNTIMES = {
    "docker": Runtime(describe="docker image inspect {name}", load="docker load --quiet", image=(0,)),
    # kubelet sees what is in this namespace; crictl completes a name as kubelet does.
    "containerd": Runtime(
        describe="crictl inspecti --output json {name}",
        load="ctr --namespace k8s.io images import -",
        image=("info", "imageSpec"),
    ),
}


class LocalImage:
    """An image on the operator's machine: in its Docker, or in an archive made by `docker save`."""

    def __init__(self, source: str, base: str) -> None:
        """Look at the source: a path that ends in .tar (relative ones start at base), else a name in Docker.

        Raises:
            AnsibleActionFail: when there is no such image.
        """
        self.archive = Path(base, Path(source).expanduser()) if source.endswith(".tar") else None
        if self.archive is None:
            self.name = _with_tag(source)
            description = _inspect_local(self.name)
            self.size, self.content = int(description.get("Size") or 0), _content(description)
        else:
            self.name, self.content = _inspect_archive(self.archive)

    def key(self) -> str:
        """Return a word for file names that stands for this image alone."""
        return hashlib.sha256(repr((self.name, self.content)).encode()).hexdigest()

    @contextlib.contextmanager
    def stream(self, *, shared: bool) -> Iterator[IO[bytes]]:
        """Give the archive's bytes; `shared` when other hosts are sent the same, so that Docker packs it once."""
        if self.archive is not None:
            with self.archive.open("rb") as stream:
                yield stream
            return
        directory = Path(C.DEFAULT_LOCAL_TMP)
        if shared and shutil.disk_usage(directory).free > 2 * self.size:
            # Gone with the directory when the run ends.
            with shared_output(["docker", "save", self.name], directory / f"image-{self.key()}.tar") as stream:
                yield stream
            return
        with subprocess.Popen(["docker", "save", self.name], stdout=subprocess.PIPE) as save:
            try:
                yield save.stdout  # type: ignore[misc]
            finally:
                save.stdout.close()  # type: ignore[union-attr]
        if save.returncode != 0:
            raise AnsibleActionFail(f"'docker save {self.name}' ended with exit code {save.returncode}.")


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
                "container_runtime": {"type": "str", "default": "docker", "choices": list(RUNTIMES)},
            }
        )
        self.runtime = RUNTIMES[options["container_runtime"]]
        base = options["base"] or "."
        images = [LocalImage(source, base) for source in options["images"]]
        images += _named_in(options["manifests"], base, {image.name for image in images})
        self.host: str = (task_vars or {}).get("inventory_hostname", "")
        self.hosts: list[str] = (task_vars or {}).get("ansible_play_hosts", [])
        sent, relayed = [], []
        for image in images:
            lacks = self._content_on_host(image.name) != image.content
            place = self._place(image, lacks=lacks)
            if not lacks:
                continue
            sent.append(image.name)
            if self._task.check_mode:
                continue
            if self._send(image, place, options["address"]):
                relayed.append(image.name)
            if self._content_on_host(image.name) != image.content:
                raise AnsibleActionFail(f"The host took {image.name}, but what it has now is another image.")
        diff = [{"after_header": name, "before": "", "after": "present\n"} for name in sent]
        brought = [image.name for image in images]
        return {"changed": bool(sent), "diff": diff, "images": brought, "sent": sent, "relayed": relayed}

    def _content_on_host(self, name: str) -> tuple[Any, ...] | None:
        command = self.runtime.describe.format(name=self._connection._shell.quote(name))  # noqa: SLF001
        answer = self._low_level_execute_command(command)
        if answer["rc"] == 0:
            description = json.loads(answer["stdout"])
            for key in self.runtime.image:
                description = description[key]
            return _content(description)
        if "no such image" in (answer["stdout"] + answer["stderr"]).lower():
            return None
        if self._task.check_mode and answer["rc"] == 127:  # noqa: PLR2004 - the shell's "command not found"
            return None
        said = answer["stderr"].strip() or answer["stdout"].strip()
        raise AnsibleActionFail(f"The container runtime on the host does not answer '{command}': {said}")

    def _place(self, image: LocalImage, *, lacks: bool) -> Place | None:
        """Return the host's place among those that lack the image too; None when there is none."""
        if len(self.hosts) < 2 or self._connection.transport != "ssh" or self._task.check_mode:  # noqa: PLR2004
            return None
        return RelayLine(Path(C.DEFAULT_LOCAL_TMP) / f"relay-{image.key()}", self.host, self.hosts).join(lacks=lacks)

    def _send(self, image: LocalImage, place: Place | None, address: str) -> bool:
        """Bring an image to the host; True when another host gave it on."""
        if place:
            try:
                return self._send_in_line(image, place, address)
            except RelayError as error:
                self._from_here(image, error)
        with self._start(self.runtime.load) as load:
            self._stream(image, load)
            said = _rest(load)
        if load.returncode != 0:
            raise AnsibleActionFail(f"The host could not load {image.name}: {said}")
        return False

    def _send_in_line(self, image: LocalImage, place: Place, address: str) -> bool:
        with self._start(RelayLine.command(self.runtime.load)) as load:
            why_not = place.take(load, address)
            if place.before and why_not:
                self._from_here(image, why_not)
            if why_not:
                self._stream(image, load)
            said = _rest(load)
        if load.returncode == BROKEN_OFF:
            raise RelayError(said)
        if load.returncode != 0:
            raise AnsibleActionFail(f"The host could not load {image.name}: {said}")
        return not why_not

    def _from_here(self, image: LocalImage, why: object) -> None:
        self._display.vv(f"{self.host} gets {image.name} from this machine, not from the host before it: {why}")

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        """Start a command on the host, with all that comes before its own input."""
        words, first_line = self._remote_command(command)
        started = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        with contextlib.suppress(BrokenPipeError):
            started.stdin.write(first_line)  # type: ignore[union-attr]
        return started

    def _stream(self, image: LocalImage, load: subprocess.Popen[bytes]) -> None:
        with image.stream(shared=len(self.hosts) > 1) as stream, contextlib.suppress(BrokenPipeError), load.stdin:  # type: ignore[union-attr]
            shutil.copyfileobj(stream, load.stdin, 1 << 20)  # type: ignore[arg-type]

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


def _rest(process: subprocess.Popen[bytes]) -> str:
    """End the input, and return all that is still said."""
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()  # type: ignore[union-attr]
    return process.stdout.read().decode(errors="replace").strip()  # type: ignore[union-attr]


def _with_tag(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def _named_in(manifests: list[str], base: str, known: set[str]) -> list[LocalImage]:
    """Return the images that manifests name and no registry is meant for, but those already known."""
    try:
        found = local_images([one for path in files(manifests, base) for one in read(path)])
    except ManifestError as error:
        raise AnsibleActionFail(str(error)) from error
    images = []
    for name, place in found.items():
        if _with_tag(name) not in known:
            try:
                images.append(LocalImage(_with_tag(name), base))
            except AnsibleActionFail as error:
                raise AnsibleActionFail(f"{place}: {error}") from error
    return images


def _content(description: dict[str, Any]) -> tuple[Any, ...]:
    """Return what makes two images the same, whatever store keeps them: IDs differ between Docker's stores."""
    config = description.get("Config") or description.get("config") or {}
    layers = (description.get("RootFS") or {}).get("Layers") or (description.get("rootfs") or {}).get("diff_ids")
    settings = tuple(json.dumps(config.get(key) or [], sort_keys=True) for key in ("Entrypoint", "Cmd", "Env"))
    return (description.get("Created") or description.get("created"), tuple(layers or ()), *settings)


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


def _inspect_archive(path: Path) -> tuple[str, tuple[Any, ...]]:
    try:
        with tarfile.open(path) as archive:
            manifest = json.load(archive.extractfile("manifest.json") or _missing(path))
            description = json.load(archive.extractfile(manifest[0]["Config"]) or _missing(path))
    except FileNotFoundError:
        raise AnsibleActionFail(f"There is no image archive {path}.") from None
    except (tarfile.TarError, KeyError, IndexError, ValueError):
        raise AnsibleActionFail(f"{path} is not an image archive. 'docker save -o {path} NAME' makes one.") from None
    if not manifest[0].get("RepoTags"):
        raise AnsibleActionFail(f"{path} holds an image without a name. Save it by name: 'docker save -o {path} NAME'.")
    return manifest[0]["RepoTags"][0], _content(description)


def _missing(path: Path) -> IO[bytes]:
    raise AnsibleActionFail(f"{path} is not an image archive. 'docker save -o {path} NAME' makes one.")
