"""Debian's packages taken apart: nothing is installed on this machine."""

import pathlib
import shutil

from tools.upstream.cache import Cache
from tools.upstream.recipes import ARCHITECTURE, USERLAND_PACKAGES
from tools.upstream.tools import UpstreamError, run

REGISTRY_PROGRAM = "docker-registry/usr/bin/docker-registry"
USERLAND = "userland"


def programs(cache: Cache) -> pathlib.Path:
    """The directory with Debian's registry and the small Debian of the images."""
    recipe = {
        "system": pathlib.Path("/etc/os-release").read_text(),
        "architecture": ARCHITECTURE,
        "packages": USERLAND_PACKAGES,
        "code": pathlib.Path(__file__).read_text(),
    }
    return cache.product("Debian programs", recipe, _unpack_programs)


def _unpack_programs(place: pathlib.Path) -> None:
    apt = unpack(place / "apt", place / USERLAND, USERLAND_PACKAGES)
    run(*apt, "download", "docker-registry", cwd=place / "apt")
    for archive in (place / "apt").glob("docker-registry_*.deb"):
        run("dpkg-deb", "--extract", archive, place / "docker-registry")
    shutil.rmtree(place / "apt")


def unpack(work: pathlib.Path, root: pathlib.Path, packages: tuple[str, ...]) -> list[str]:
    """Unpack packages and what they depend on; the apt-get command that knows them.

    Args:
        work: Where that apt-get keeps its files; the caller removes it.
        root: Directory of the small Debian to make.
        packages: Names of packages of this machine's Debian.
    """
    apt = _private_apt(work)
    run(*apt, "update", "-qq")
    # From an empty system apt finds out by itself what the packages depend on.
    run(*apt, "install", "--yes", "--no-install-recommends", "--download-only", *packages)
    for archive in sorted((work / "cache/archives").glob("*.deb")):
        run("dpkg-deb", "--extract", archive, root)
    _finish_userland(root)
    return apt


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
    if (root / "usr/sbin/xtables-nft-multi").exists():
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
