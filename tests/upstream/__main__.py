"""The command: `python -m tests.upstream up`."""

import argparse
import concurrent.futures
import hashlib
import json
import os
import pathlib
import sys
import tarfile

from tests.upstream import debian, images, recipes, servers
from tests.upstream.cache import Cache
from tests.upstream.golang import Go
from tests.upstream.tools import UpstreamError, need, say

_CRI_DOCKERD_ARCHIVE = f"cri-dockerd-{recipes.CRI_DOCKERD.removeprefix('v')}.{recipes.ARCHITECTURE}.tgz"
_FLANNEL_MANIFEST = "kube-flannel.yml"


def build(cache: Cache) -> None:
    """Build what is missing and put everything where the servers find it."""
    go = Go()
    need("dpkg-deb", "gpg", "openssl")
    # What waits for the network and what keeps the processors busy goes on side by side.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        main = pool.submit(_build_all, cache, go, recipes.CLUSTER, recipes.FLANNEL_DAEMON)
        debian_programs = pool.submit(debian.programs, cache)
        key = pool.submit(debian.signing_key, cache)
        others = pool.submit(_build_all, cache, go, recipes.FLANNEL_CNI_PLUGIN, recipes.CRI_DOCKERD_DAEMON)
        built = {**main.result(), **others.result()}
        userland = debian_programs.result() / debian.USERLAND
        repository = debian.repository(cache, built, key.result())
    shelf = _shelf(cache)
    for image in recipes.IMAGES:
        made = images.build(cache, image, built, userland)
        for name in image.names:
            images.publish(shelf, name, made)
    files = _files(cache)
    _point(files / debian.repository_path(), repository)
    _point(files / _CRI_DOCKERD_ARCHIVE, _cri_dockerd_archive(cache, built["cri-dockerd"]))
    manifest = go.module_file("github.com/flannel-io/flannel", recipes.FLANNEL, f"Documentation/{_FLANNEL_MANIFEST}")
    _point(files / _FLANNEL_MANIFEST, manifest)
    _point(_kubectl(cache), built["kubectl"])


def _build_all(cache: Cache, go: Go, *builds: recipes.GoBuild) -> dict[str, pathlib.Path]:
    return {program.name: go.build(cache, one) / program.name for one in builds for program in one.programs}


def _shelf(cache: Cache) -> pathlib.Path:
    return cache.directory("registry")


def _files(cache: Cache) -> pathlib.Path:
    return cache.directory("files")


def _kubectl(cache: Cache) -> pathlib.Path:
    return cache.directory("bin") / "kubectl"


def _variables(cache: Cache) -> pathlib.Path:
    return cache.directory("servers") / "variables.yml"


def _point(link: pathlib.Path, target: pathlib.Path) -> None:
    """Make a symbolic link, or turn it to another target in one moment."""
    link.parent.mkdir(parents=True, exist_ok=True)
    unfinished = link.with_name(f".{link.name}")
    unfinished.unlink(missing_ok=True)
    unfinished.symlink_to(target)
    unfinished.rename(link)


def _cri_dockerd_archive(cache: Cache, program: pathlib.Path) -> pathlib.Path:
    """The archive as its makers publish it: one program in one folder."""

    def make(place: pathlib.Path) -> None:
        with tarfile.open(place / _CRI_DOCKERD_ARCHIVE, "w:gz", compresslevel=1) as archive:
            archive.add(program, "cri-dockerd/cri-dockerd", filter=_owned_by_root)

    return cache.product("cri-dockerd archive", {"program": str(program)}, make) / _CRI_DOCKERD_ARCHIVE


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def up(cache: Cache) -> pathlib.Path:
    """Build, start the servers, write the variables file; its path."""
    address = servers.ensure_network()
    build(cache)
    program = debian.programs(cache) / debian.REGISTRY_PROGRAM
    registry = servers.ensure_registry(cache, program, _shelf(cache), address)
    files = "http://" + servers.ensure_files(cache, _files(cache), f"/{_FLANNEL_MANIFEST}", address)
    with (_files(cache) / _CRI_DOCKERD_ARCHIVE).open("rb") as archive:
        digest = hashlib.file_digest(archive, "sha256").hexdigest()
    variables = {
        "cluster_kubernetes_repository": f"{files}/core:/stable:/{{minor}}/deb/",
        "cluster_kubernetes_repository_key_fingerprint": debian.fingerprint(debian.signing_key(cache)),
        "cluster_image_registry": registry,
        "cluster_flannel_image_registry": f"{registry}/flannel-io",
        "cluster_registry_ca_certificates": {registry: (servers.authority(cache) / "ca.pem").read_text()},
        "cluster_cri_dockerd_url": f"{files}/{_CRI_DOCKERD_ARCHIVE}",
        "cluster_cri_dockerd_sha256": {recipes.ARCHITECTURE: digest},
        "cluster_flannel_manifest_url": f"{files}/{_FLANNEL_MANIFEST}",
    }
    path = _variables(cache)
    unfinished = path.with_name(f".{path.name}")
    # JSON is YAML.
    unfinished.write_text("# Written by `python -m tests.upstream up`\n" + json.dumps(variables, indent=2) + "\n")
    unfinished.rename(path)
    return path


def down(cache: Cache) -> None:
    """End the servers."""
    for name in servers.NAMES:
        say(f"{name}: stopped" if servers.Server(cache, name).stop() else f"{name}: did not run")
    servers.remove_network()
    _variables(cache).unlink(missing_ok=True)


def status(cache: Cache) -> bool:
    """Print where the servers answer. True when all of them run."""
    endpoints = {name: servers.Server(cache, name).endpoint for name in servers.NAMES}
    for name, endpoint in endpoints.items():
        print(f"{name}: {endpoint or 'not running'}")
    return all(endpoints.values())


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.exists():
        raise UpstreamError(f"{path} does not exist yet. Make it with: python -m tests.upstream up")
    return path


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstream", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, help_text in {
        "up": "build what is missing, start the servers, print the path of the variables file",
        "down": "stop the servers; what was built stays in the cache",
        "status": "print where the servers answer; exit code 1 when one does not run",
        "build": "build what is missing, start nothing",
        "variables": "print the path of the variables file",
        "kubectl": "print the path of a kubectl for this machine",
    }.items():
        commands.add_parser(name, help=help_text, description=help_text)
    command = parser.parse_args().command
    cache = Cache.of_user()
    try:
        match command:
            case "up":
                with cache.lock():
                    print(up(cache))
            case "down":
                with cache.lock():
                    down(cache)
            case "status":
                return 0 if status(cache) else 1
            case "build":
                with cache.lock():
                    build(cache)
            case "variables":
                print(_existing(_variables(cache)))
            case "kubectl":
                print(_existing(_kubectl(cache)))
    except UpstreamError as error:
        print(error, file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        print("Interrupted. What was finished is kept; the next run goes on from there.", file=sys.stderr)
        os._exit(130)
    return 0


if __name__ == "__main__":
    sys.exit(main())
