"""The command: `python -m tools.upstream up`."""

import argparse
import concurrent.futures
import hashlib
import json
import pathlib
import sys
import tarfile
import urllib.parse
from collections.abc import Mapping

from kubestrap.errors import KubestrapError

from tools.upstream import debian, images, minikube, packages, recipes, servers
from tools.upstream.cache import Cache
from tools.upstream.golang import Go
from tools.upstream.tools import UpstreamError, end_running, need, say

_CRI_DOCKERD_ARCHIVE = f"cri-dockerd-{recipes.CRI_DOCKERD.removeprefix('v')}.{recipes.ARCHITECTURE}.tgz"
_FLANNEL_MANIFEST = "kube-flannel.yml"
_ADDONS = ("metrics_server", "local_path", "metallb")


def build(cache: Cache) -> None:
    """Build what is missing and put everything where the servers find it."""
    go = Go()
    need("dpkg-deb", "gpg", "openssl")
    # What waits for the network and what keeps the processors busy goes on side by side.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        lanes = (
            pool.submit(_build_all, cache, go, recipes.CLUSTER, recipes.FLANNEL_DAEMON),
            pool.submit(_build_all, cache, go, recipes.FLANNEL_CNI_PLUGIN, recipes.CRI_DOCKERD_DAEMON),
            pool.submit(debian.programs, cache),
            pool.submit(packages.signing_key, cache),
        )
        try:
            # Minutes of building are not waited for when something else has failed already.
            for lane in concurrent.futures.as_completed(lanes):
                lane.result()
        except BaseException:
            end_running()
            raise
    cluster, others, debian_programs, key = lanes
    built = {**cluster.result(), **others.result()}
    debian_programs.result()
    repository = packages.repository(cache, built, key.result())
    _publish(cache, recipes.IMAGES, built)
    files = _files(cache)
    _point(files / packages.repository_path(), repository)
    _point(files / _CRI_DOCKERD_ARCHIVE, _cri_dockerd_archive(cache, built["cri-dockerd"]))
    manifest = go.module_file("github.com/flannel-io/flannel", recipes.FLANNEL, f"Documentation/{_FLANNEL_MANIFEST}")
    _point(files / _FLANNEL_MANIFEST, manifest)
    _point(_kubectl(cache), built["kubectl"])


def _build_all(cache: Cache, go: Go, *builds: recipes.GoBuild) -> dict[str, pathlib.Path]:
    return {program.name: go.build(cache, one) / program.name for one in builds for program in one.programs}


def _publish(cache: Cache, wanted: tuple[recipes.Image, ...], built: dict[str, pathlib.Path]) -> None:
    userland = debian.programs(cache) / debian.USERLAND
    for image in wanted:
        made = images.build(cache, image, built, userland)
        for name in image.names:
            images.publish(_shelf(cache), name, made)


def build_addons(cache: Cache) -> None:
    """Build what add-ons need; their manifests are at the path they have upstream.

    The digests stay those of the defaults: manifests that are not what upstream publishes are refused.
    """
    go = Go()
    _publish(cache, recipes.ADDON_IMAGES, _build_all(cache, go, *recipes.ADDON_BUILDS))
    for file in recipes.SUPPLY.files(recipes.DEFAULTS):
        path = _path(file.address)
        owner, repository, _, inside = path.split("/", 3)
        if f"{owner}/{repository}" in recipes.ADDON_MANIFESTS:
            module, version = recipes.ADDON_MANIFESTS[f"{owner}/{repository}"]
            _point(_files(cache) / path, go.module_file(module, version, inside))


def _path(address: str) -> str:
    return urllib.parse.urlsplit(address).path.removeprefix("/")


def _shelf(cache: Cache) -> pathlib.Path:
    return cache.directory("registry")


def _files(cache: Cache) -> pathlib.Path:
    return cache.directory("files")


def _kubectl(cache: Cache) -> pathlib.Path:
    return cache.directory("bin") / "kubectl"


def _variables(cache: Cache) -> pathlib.Path:
    return cache.directory("servers") / "variables.yml"


def _addon_variables(cache: Cache) -> pathlib.Path:
    return cache.directory("servers") / "addons.yml"


def _write_variables(path: pathlib.Path, command: str, variables: Mapping[str, object]) -> pathlib.Path:
    unfinished = path.with_name(f".{path.name}")
    # JSON is YAML.
    unfinished.write_text(f"# Written by `python -m tools.upstream {command}`\n{json.dumps(variables, indent=2)}\n")
    unfinished.rename(path)
    return path


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


def serve(cache: Cache) -> tuple[str, str]:
    """Build, start the servers; the addresses of the registry and the files."""
    address = servers.ensure_network()
    build(cache)
    program = debian.programs(cache) / debian.REGISTRY_PROGRAM
    registry = servers.ensure_registry(cache, program, _shelf(cache), address)
    return registry, "http://" + servers.ensure_files(cache, _files(cache), f"/{_FLANNEL_MANIFEST}", address)


def up(cache: Cache) -> pathlib.Path:
    """Build, start the servers, write the variables file; its path."""
    registry, files = serve(cache)
    variables = {
        "cluster_kubernetes_repository": f"{files}/core:/stable:/{{minor}}/deb/",
        "cluster_kubernetes_repository_key_fingerprint": packages.fingerprint(packages.signing_key(cache)),
        "cluster_image_registry": registry,
        "cluster_flannel_image_registry": f"{registry}/flannel-io",
        "cluster_registry_ca_certificates": {registry: (servers.authority(cache) / "ca.pem").read_text()},
        "cluster_cri_dockerd_url": f"{files}/{_CRI_DOCKERD_ARCHIVE}",
        "cluster_cri_dockerd_sha256": {recipes.ARCHITECTURE: _sha256(_files(cache) / _CRI_DOCKERD_ARCHIVE)},
        "cluster_flannel_manifest_url": f"{files}/{_FLANNEL_MANIFEST}",
    }
    return _write_variables(_variables(cache), "up", variables)


def addons(cache: Cache) -> pathlib.Path:
    """The same for the add-ons; the path of a variables file that is to be used beside the other."""
    registry, files = serve(cache)
    build_addons(cache)
    variables = {}
    for addon in _ADDONS:
        manifest = f"cluster_{addon}_manifest_url"
        variables[manifest] = f"{files}/{_path(str(recipes.DEFAULTS[manifest]))}"
        variables[f"cluster_{addon}_image_registry"] = registry
    return _write_variables(_addon_variables(cache), "addons", variables)


def minikube_pieces(cache: Cache) -> pathlib.Path:
    """The same for minikube and the Kubernetes it starts; the path of a variables file for beside the other."""
    _, files = serve(cache)
    go = Go()
    built = _build_all(cache, go, *minikube.BUILDS)
    built["pause"] = go.build(cache, recipes.CLUSTER) / "pause"
    userland = debian.programs(cache) / debian.USERLAND
    for image in minikube.IMAGES:
        made = images.build(cache, image, built, userland)
        for name in image.names:
            images.publish(_shelf(cache), name, made)
    program = f"minikube-linux-{recipes.ARCHITECTURE}"
    _point(_files(cache) / program, built["minikube"])
    release = _files(cache) / "release" / minikube.KUBERNETES / "bin/linux" / recipes.ARCHITECTURE
    for name in minikube.NODE_PROGRAMS:
        _point(release / name, built[name])
        (release / f"{name}.sha256").write_text(_sha256(built[name]))
    variables = {
        "cluster_minikube_url": f"{files}/minikube-linux-{{arch}}",
        "cluster_minikube_sha256": {recipes.ARCHITECTURE: _sha256(built["minikube"])},
        "cluster_minikube_binary_mirror": f"{files}/release",
        # This kubeadm, built with a Go newer than its own, trips over a check of proxies that nobody has here.
        "cluster_minikube_arguments": ["--extra-config=kubeadm.ignore-preflight-errors=HTTPProxyCIDR"],
    }
    return _write_variables(cache.directory("servers") / "minikube.yml", "minikube", variables)


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def down(cache: Cache) -> None:
    """End the servers."""
    for name in servers.NAMES:
        say(f"{name}: stopped" if servers.Server(cache, name).stop() else f"{name}: did not run")
    servers.remove_network()
    _variables(cache).unlink(missing_ok=True)
    _addon_variables(cache).unlink(missing_ok=True)


def status(cache: Cache) -> bool:
    """Print where the servers answer. True when all of them run."""
    endpoints = {name: servers.Server(cache, name).endpoint for name in servers.NAMES}
    for name, endpoint in endpoints.items():
        print(f"{name}: {endpoint or 'not running'}")
    return all(endpoints.values())


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.exists():
        raise UpstreamError(f"{path} does not exist yet. Make it with: python -m tools.upstream up")
    return path


_COMMANDS = {
    "up": "build what is missing, start the servers, print the path of the variables file",
    "minikube": "the same for `kubestrap minikube`: builds another Kubernetes too, prints a second variables file",
    "down": "stop the servers; what was built stays in the cache",
    "status": "print where the servers answer; exit code 1 when one does not run",
    "build": "build what is missing, start nothing",
    "addons": "the same as up and for the add-ons too; print the path of their own variables file",
    "variables": "print the path of the variables file",
    "kubectl": "print the path of a kubectl for this machine",
}


def _run(command: str, cache: Cache) -> int:
    match command:
        case "status":
            return 0 if status(cache) else 1
        case "variables":
            print(_existing(_variables(cache)))
            return 0
        case "kubectl":
            print(_existing(_kubectl(cache)))
            return 0
        case _:
            pass
    with cache.lock():
        if command == "up":
            print(up(cache))
        elif command == "minikube":
            print(minikube_pieces(cache))
        elif command == "build":
            build(cache)
        elif command == "addons":
            print(addons(cache))
        else:
            down(cache)
    return 0


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.upstream", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in _COMMANDS.items():
        commands.add_parser(name, help=text, description=text)
    command = parser.parse_args().command
    try:
        return _run(command, Cache.of_user())
    except KubestrapError as error:
        print(error, *error.details, sep="\n", file=sys.stderr)
        return error.exit_code
    except UpstreamError as error:
        print(error, file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        print("Interrupted. What was finished is kept; the next run goes on from there.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
