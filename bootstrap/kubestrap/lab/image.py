"""The image of a lab host: a bare Debian that boots, made once for each recipe."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubestrap.errors import StepFailedError, UsageError
from kubestrap.lab import apt, engine
from kubestrap.lab.machine import Machine

SUITES = {"debian-13": "trixie", "debian-12": "bookworm"}
RECIPE = Path(__file__).parent / "recipe"
CERTIFICATES = Path("/usr/local/share/ca-certificates")

IMPORT_SETTINGS = ("--change", 'CMD ["/lib/systemd/systemd"]', "--change", "ENV container=docker")


@dataclass(frozen=True, kw_only=True)
class Packages:
    """How this machine reaches Debian packages.

    Attributes:
        sources: What /etc/apt/sources.list.d/debian.sources of the host says.
        settings: What the host's apt needs beside that.
        mirror: Address to bootstrap from.
        files: Files of this machine that the host needs for it as well (credentials, certificates).
    """

    sources: str
    settings: str
    mirror: str
    files: tuple[Path, ...]


def ensure(system: str, machine: Machine, report: Callable[[str], None]) -> str:
    """Return the name of the host image of an operating system; build it when this machine has none."""
    if system not in SUITES:
        raise UsageError(f"--os {system}: a lab knows {', '.join(SUITES)}.")
    packages = _packages_of_this_machine(SUITES[system])
    name = f"kubestrap-lab/{system}:{_digest(system, machine, packages)}"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubestrap"
    cache.mkdir(parents=True, exist_ok=True)
    # Two labs started at once need one build.
    with (cache / "lab-image.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if engine.succeeds("image", "inspect", name):
            return name
        report(f"Building the host image for {system}: once, 1 to 2 minutes")
        started = time.monotonic()
        with tempfile.TemporaryDirectory(dir=cache, prefix="lab-image-") as directory:
            if packages:
                _bootstrap(name, SUITES[system], packages, machine, Path(directory))
            else:
                _build_from_public_image(name, SUITES[system], machine, Path(directory))
        report(f"Built the host image for {system} in {time.monotonic() - started:.0f} s")
    return name


def _digest(system: str, machine: Machine, packages: Packages | None) -> str:
    digest = hashlib.sha256(repr((system, machine.may_raise_limits, packages)).encode())
    for path in sorted(path for path in RECIPE.iterdir() if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    for path in packages.files if packages else ():
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _packages_of_this_machine(suite: str) -> Packages | None:
    """How a Debian machine reaches its packages; None where the file system cannot be made without an image."""
    try:
        release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    except FileNotFoundError:
        return None
    if os.geteuid() != 0 or release.get("ID") != "debian":
        return None
    files = [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]
    texts = {str(path): path.read_text() for path in files if path.suffix in {".list", ".sources"} and path.exists()}
    machine_suite = release.get("VERSION_CODENAME", "").strip('"')
    sources = apt.rewrite(apt.parse(texts), machine_suite=machine_suite, suite=suite)
    main = next((source.uri for source in sources if source.suite == suite), None)
    if main is None:
        raise UsageError(
            f"The apt sources of this machine (/etc/apt/sources.list*) name no Debian archive for {machine_suite}, "
            "and a lab host needs one. Add the Debian archive there."
        )
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True, timeout=60).stdout
    needed = [Path("/etc/apt/auth.conf"), *Path("/etc/apt/auth.conf.d").glob("*")]
    if any(source.uri.startswith("https:") for source in sources):
        needed += CERTIFICATES.glob("*.crt")
    if main.startswith("mirror+file:"):
        list_of_mirrors = Path(main.removeprefix("mirror+file:"))
        needed.append(list_of_mirrors)
        main = list_of_mirrors.read_text().split()[0]
    return Packages(
        sources=apt.render(sources),
        settings=apt.transport_settings(dump),
        mirror=main,
        files=tuple(sorted(path for path in needed if path.is_file())),
    )


def _bootstrap(name: str, suite: str, packages: Packages, machine: Machine, directory: Path) -> None:
    """Make the root file system with debootstrap from this machine's mirror, and import it."""
    if shutil.which("debootstrap") is None:
        _run("apt-get", "update")
        _run("apt-get", "install", "--yes", "--no-install-recommends", "debootstrap")
    root = directory / "root"
    wanted = ",".join((RECIPE / "packages").read_text().split())
    _run("debootstrap", "--variant=minbase", f"--include={wanted}", suite, root, packages.mirror)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    (root / "etc/apt/sources.list.d/debian.sources").write_text(packages.sources)
    if packages.settings:
        (root / "etc/apt/apt.conf.d/90transport").write_text(packages.settings)
    for path in packages.files:
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    _copy_recipe(root / "root/recipe", machine)
    _run("chroot", root, "update-ca-certificates")
    _run("chroot", root, "sh", "/root/recipe/configure.sh", "/root/recipe")
    shutil.rmtree(root / "root/recipe")
    with subprocess.Popen(["tar", "-C", root, "--numeric-owner", "-c", "."], stdout=subprocess.PIPE) as tar:
        _run("docker", "import", *IMPORT_SETTINGS, "-", name, stdin=tar.stdout)
    if tar.returncode:
        engine.succeeds("image", "rm", name)
        raise StepFailedError(f"Packing the host image failed: tar ended with exit code {tar.returncode}.")


def _build_from_public_image(name: str, suite: str, machine: Machine, directory: Path) -> None:
    """Make the same from Debian's public image, where debootstrap cannot be had."""
    _copy_recipe(directory / "recipe", machine)
    wanted = " ".join((RECIPE / "packages").read_text().split())
    (directory / "Dockerfile").write_text(
        f"FROM debian:{suite}-slim\n"
        "COPY recipe /root/recipe\n"
        "RUN apt-get update \\\n"
        f" && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends {wanted} \\\n"
        " && sh /root/recipe/configure.sh /root/recipe && rm -r /root/recipe\n"
        "ENV container=docker\n"
        'CMD ["/lib/systemd/systemd"]\n'
    )
    _run("docker", "build", "--tag", name, directory)


def _copy_recipe(target: Path, machine: Machine) -> None:
    shutil.copytree(RECIPE, target, ignore=shutil.ignore_patterns("__pycache__"))
    if not machine.may_raise_limits:
        (target / "oci-wrapper").touch()


def _run(program: str, *arguments: str | Path, stdin: object = None) -> None:
    words: Sequence[str] = [program, *map(str, arguments)]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(
        words,
        stdin=stdin or subprocess.DEVNULL,  # type: ignore[call-overload]
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        check=False,
        timeout=engine.LONGEST_SECONDS,
    )
    if result.returncode:
        raise StepFailedError(
            f"Building the host image failed at: {' '.join(words[:3])}", details=result.stdout.strip().splitlines()[-5:]
        )
