"""The packages of pkgs.k8s.io, put together from what was built, in a signed repository."""

import datetime as dt
import gzip
import hashlib
import os
import pathlib
import shutil

from tools.upstream.cache import Cache
from tools.upstream.recipes import ARCHITECTURE, MINOR, PACKAGES, DebianPackage
from tools.upstream.tools import run


def signing_key(cache: Cache) -> pathlib.Path:
    """The directory of a GnuPG home with one key, made once."""
    return cache.product("signing key", {}, _make_signing_key)


def _make_signing_key(place: pathlib.Path) -> None:
    place.chmod(0o700)
    # rsa2048 as at pkgs.k8s.io; without expiry, because the cache may live long.
    options = [
        "--batch",
        "--passphrase",
        "",
        "--quick-generate-key",
        "kubestrap test repository",
        "rsa2048",
        "sign",
        "0",
    ]
    _gpg(place, *options)


def _gpg(home: pathlib.Path, *arguments: str | pathlib.Path) -> str:
    try:
        return run("gpg", "--homedir", home, "--quiet", *arguments)
    finally:
        run("gpgconf", "--homedir", home, "--kill", "all")


def fingerprint(key: pathlib.Path) -> str:
    """Fingerprint of the signing key."""
    listing = _gpg(key, "--batch", "--with-colons", "--list-keys")
    return next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))


def repository_path() -> str:
    """Where the repository of the minor is below the server's root, as at pkgs.k8s.io."""
    return f"core:/stable:/{MINOR}/deb"


def repository(cache: Cache, built: dict[str, pathlib.Path], key: pathlib.Path) -> pathlib.Path:
    """The directory of the signed repository with our packages.

    Args:
        cache: The cache.
        built: Programs by name.
        key: Home of the signing key.
    """
    recipe = {
        "packages": [vars(package) for package in PACKAGES],
        "programs": {name: str(built[name]) for package in PACKAGES for name in package.programs.values()},
        "key": key.name,
        "code": pathlib.Path(__file__).read_text(),
    }

    def make(place: pathlib.Path) -> None:
        pool = place / ARCHITECTURE
        pool.mkdir()
        for package in PACKAGES:
            _pack(package, built, place / "tree", pool / package.file_name)
        _write_index(place)
        for command, output in (("--clearsign", "InRelease"), ("--detach-sign", "Release.gpg")):
            _gpg(key, "--batch", "--armor", command, "--output", place / output, place / "Release")
        (place / "Release.key").write_text(_gpg(key, "--batch", "--armor", "--export"))

    return cache.product("package repository", recipe, make)


def _pack(package: DebianPackage, built: dict[str, pathlib.Path], tree: pathlib.Path, archive: pathlib.Path) -> None:
    for path, name in package.programs.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(built[name], target)
    for path, text in package.texts.items():
        target = tree / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    size = sum(file.stat().st_size for file in tree.rglob("*") if file.is_file())
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(_control(package, size))
    # Hosts are next door: packing tighter would cost more time than it saves.
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", tree, archive)
    shutil.rmtree(tree)


def _control(package: DebianPackage, size: int) -> str:
    fields = {
        "Package": package.name,
        "Version": package.version,
        "Architecture": ARCHITECTURE,
        "Maintainer": "kubestrap <kubestrap@example.invalid>",
        "Installed-Size": str(size // 1024),
        "Depends": package.depends,
        "Section": "admin",
        "Priority": "optional",
        "Description": package.summary,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _write_index(place: pathlib.Path) -> None:
    """Write Packages, Packages.gz and Release."""
    entries = []
    for archive in sorted(place.glob("*/*.deb")):
        control = run("dpkg-deb", "--field", archive).rstrip("\n")
        with archive.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        name = archive.relative_to(place)
        entries.append(f"{control}\nFilename: {name}\nSize: {archive.stat().st_size}\nSHA256: {digest}\n")
    index = "\n".join(entries).encode()
    files = {"Packages": index, "Packages.gz": gzip.compress(index, mtime=0)}
    release = [
        "Origin: kubestrap test repository",
        f"Label: kubernetes core stable {MINOR}",
        f"Architectures: {ARCHITECTURE}",
        f"Date: {dt.datetime.now(dt.UTC):%a, %d %b %Y %H:%M:%S} UTC",
        "SHA256:",
    ]
    for file_name, content in files.items():
        (place / file_name).write_bytes(content)
        release.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {file_name}")
    (place / "Release").write_text("\n".join(release) + "\n")
