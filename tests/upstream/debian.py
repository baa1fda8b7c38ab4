"""Debian's own packages taken apart, and ours put together in a signed repository."""

import datetime
import gzip
import hashlib
import os
import pathlib
import shutil

from tests.upstream.cache import Cache
from tests.upstream.recipes import ARCHITECTURE, MINOR, PACKAGES, USERLAND_PACKAGES, DebianPackage
from tests.upstream.tools import UpstreamError, need, run

REGISTRY_PROGRAM = "docker-registry/usr/bin/docker-registry"
USERLAND = "userland"


def programs(cache: Cache) -> pathlib.Path:
    """The directory with Debian's registry and the small Debian of the images; nothing is installed."""
    recipe = {
        "system": pathlib.Path("/etc/os-release").read_text(),
        "architecture": ARCHITECTURE,
        "packages": USERLAND_PACKAGES,
    }
    return cache.product("Debian programs", recipe, _unpack_programs)


def _unpack_programs(place: pathlib.Path) -> None:
    apt = _private_apt(place / "apt")
    run(*apt, "update", "-qq")
    # From an empty system apt finds out by itself what the packages depend on.
    run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *USERLAND_PACKAGES)
    for archive in sorted((place / "apt/cache/archives").glob("*.deb")):
        run("dpkg-deb", "--extract", archive, place / USERLAND)
    _finish_userland(place / USERLAND)
    run(*apt, "download", "docker-registry", cwd=place / "apt")
    for archive in (place / "apt").glob("docker-registry_*.deb"):
        run("dpkg-deb", "--extract", archive, place / "docker-registry")
    shutil.rmtree(place / "apt")


def _private_apt(place: pathlib.Path) -> list[str]:
    """apt-get with the machine's sources, but lists, packages and a (still empty) system of its own."""
    if not shutil.which("apt-get"):
        raise UpstreamError("The images contain programs of Debian: this needs apt-get, so a Debian or Ubuntu machine.")
    for name in ("state/lists/partial", "cache/archives/partial"):
        (place / name).mkdir(parents=True)
    (place / "status").touch()
    options = {
        "Dir::State": place / "state",
        "Dir::State::status": place / "status",
        "Dir::Cache": place / "cache",
        "Debug::NoLocking": 1,
        # The user _apt may not read the cache of another user.
        "APT::Sandbox::User": "root",
    }
    return ["apt-get", *(word for name, value in options.items() for word in ("-o", f"{name}={value}"))]


def _finish_userland(root: pathlib.Path) -> None:
    """Do what the packages' maintainer scripts would have done, as far as it matters here."""
    for name in ("bin", "sbin", "lib", "lib64"):
        top, merged = root / name, root / "usr" / name
        if top.is_dir() and not top.is_symlink():
            shutil.copytree(top, merged, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(top)
        if merged.exists() and not top.is_symlink():
            top.symlink_to(f"usr/{name}")
    for name in ("iptables", "ip6tables"):
        for suffix in ("", "-save", "-restore"):
            _link(root / "usr/sbin" / (name + suffix), "xtables-nft-multi")
    _link(root / "usr/bin/sh", "dash")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/bash-completion"):
        shutil.rmtree(root / name, ignore_errors=True)
    (root / "tmp").mkdir(exist_ok=True)


def _link(path: pathlib.Path, target: str) -> None:
    if not path.is_symlink():
        path.symlink_to(target)


def signing_key(cache: Cache) -> pathlib.Path:
    """The directory of a GnuPG home with one key, made once."""
    return cache.product("signing key", {}, _make_signing_key)


def _make_signing_key(place: pathlib.Path) -> None:
    need("gpg")
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
        need("dpkg-deb", "gpg")
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
        f"Date: {datetime.datetime.now(datetime.UTC):%a, %d %b %Y %H:%M:%S} UTC",
        "SHA256:",
    ]
    for name, content in files.items():
        (place / name).write_bytes(content)
        release.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}")
    (place / "Release").write_text("\n".join(release) + "\n")
