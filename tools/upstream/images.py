"""Container images put together without a container engine, and the shelf from which the registry serves them.

The shelf is the registry's own directory layout, so that publishing an image is a few links in the file system.
"""

import hashlib
import io
import json
import os
import pathlib
import tarfile
import tempfile

from tools.upstream.cache import Cache
from tools.upstream.recipes import ARCHITECTURE, KUBERNETES_DATE, Image

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
# Not compressed: the hosts are next door, and unpacking would cost them more than the transfer.
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def build(cache: Cache, image: Image, built: dict[str, pathlib.Path], userland: pathlib.Path) -> pathlib.Path:
    """The directory of an image: its blobs, named by digest, and `manifest`, the digest to start from.

    Args:
        cache: The cache.
        image: What to build.
        built: Programs by name.
        userland: Root of the small Debian.
    """
    recipe = {
        **vars(image),
        "programs": {name: str(built[name]) for name in image.files.values()},
        "userland": str(userland) if image.userland else "",
        "code": pathlib.Path(__file__).read_text(),
    }

    def make(place: pathlib.Path) -> None:
        layers = []
        if image.userland:
            layers.append(_add_layer(place, {str(f.relative_to(userland)): f for f in sorted(userland.rglob("*"))}))
        layers.append(_add_layer(place, {path: built[name] for path, name in image.files.items()}))
        config = {
            "created": KUBERNETES_DATE,
            "architecture": ARCHITECTURE,
            "os": "linux",
            "config": {"Env": [_PATH], "Entrypoint": list(image.entrypoint), "User": image.user, "WorkingDir": "/"},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": _add_blob(place, json.dumps(config).encode(), _CONFIG),
            "layers": layers,
        }
        (place / "manifest").write_text(str(_add_blob(place, json.dumps(manifest).encode(), _MANIFEST)["digest"]))

    return cache.product(f"image {image.names[0].replace('/', '-')}", recipe, make)


def _add_blob(place: pathlib.Path, content: bytes, media_type: str) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (place / digest).write_bytes(content)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}


def _add_layer(place: pathlib.Path, files: dict[str, pathlib.Path]) -> dict[str, object]:
    """Write a layer of files; nothing but names, kinds, modes and contents goes into it."""
    with tempfile.NamedTemporaryFile(dir=place, delete=False) as output:
        with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for folder in sorted({str(p) for path in files for p in pathlib.PurePath(path).parents} - {".", *files}):
                archive.addfile(_directory(folder))
            for path, file in files.items():
                member = archive.gettarinfo(file, path)
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = 0
                with file.open("rb") if member.isreg() else io.BytesIO() as content:
                    archive.addfile(member, content)
        output.flush()
        size = output.tell()
        with pathlib.Path(output.name).open("rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
    pathlib.Path(output.name).rename(place / digest)
    (place / digest).chmod(0o644)
    return {"mediaType": _LAYER, "digest": f"sha256:{digest}", "size": size}


def _directory(path: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type = tarfile.DIRTYPE
    member.mode = 0o755
    return member


def publish(shelf: pathlib.Path, name: str, image: pathlib.Path) -> None:
    """Put an image on the registry's shelf under a name with a tag.

    Args:
        shelf: The registry's root directory.
        name: Name and tag, as in `pause:3.10.2`.
        image: Directory made by `build`.
    """
    root = shelf / "docker/registry/v2"
    repository_name, _, tag = name.rpartition(":")
    repository = root / "repositories" / repository_name
    digest = (image / "manifest").read_text().removeprefix("sha256:")
    tag_link = repository / "_manifests/tags" / tag / "current/link"
    if tag_link.exists() and tag_link.read_text() == f"sha256:{digest}":
        return
    for blob in image.iterdir():
        if blob.name == "manifest":
            continue
        data = root / "blobs/sha256" / blob.name[:2] / blob.name / "data"
        if not data.exists():
            data.parent.mkdir(parents=True, exist_ok=True)
            os.link(blob, data)
        if blob.name != digest:
            _write_link(repository / "_layers/sha256" / blob.name / "link", blob.name)
    _write_link(repository / "_manifests/revisions/sha256" / digest / "link", digest)
    _write_link(repository / "_manifests/tags" / tag / "index/sha256" / digest / "link", digest)
    _write_link(tag_link, digest)


def _write_link(path: pathlib.Path, digest: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(".link")
    unfinished.write_text(f"sha256:{digest}")
    unfinished.rename(path)
