"""The container image of the example app, made from package registries alone."""

import hashlib
import pathlib
import shutil
import subprocess

from tools.upstream import debian
from tools.upstream.cache import Cache
from tools.upstream.tools import run, say

APP = pathlib.Path(__file__).parents[2] / "examples/springboot-kotlin-app"
NAME = "springboot-kotlin-app:latest"
_SOURCES_LABEL = "kubestrap.demo.sources"
_JAVA_PACKAGES = ("default-jre-headless", "coreutils", "dash")
_JAVA_PATH = "/usr/lib/jvm/default-java/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def ensure(cache: Cache, base_image: str | None = None) -> str:
    """Build the image unless this machine's Docker has it from the same sources; its name.

    Args:
        cache: Where a Java runtime made here is kept.
        base_image: An image with Java to build on. By default one is made of Debian's packages.
    """
    base = base_image or _java_image(cache)
    sources = _digest(base)
    if _docker_label(NAME, _SOURCES_LABEL) == sources:
        say(f"{NAME} is there already")
        return NAME
    say("building and testing the app with Maven")
    run("mvn", "--batch-mode", "--quiet", "clean", "package", cwd=APP)
    say(f"building {NAME}")
    run(
        *("docker", "build", "--quiet", "--build-arg", f"BASE_IMAGE={base}"),
        *("--label", f"{_SOURCES_LABEL}={sources}", "--tag", NAME, APP),
    )
    return NAME


def _digest(base: str) -> str:
    digest = hashlib.sha256(base.encode())
    files = [APP / "pom.xml", APP / "Dockerfile", *(path for path in APP.glob("src/**/*") if path.is_file())]
    for path in sorted(files):
        digest.update(str(path.relative_to(APP)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _docker_label(image: str, label: str) -> str | None:
    """The label of an image in this machine's Docker; None when there is no such image."""
    asked = subprocess.run(
        ["docker", "image", "inspect", "--format", f'{{{{index .Config.Labels "{label}"}}}}', image],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() if asked.returncode == 0 else None


def _java_image(cache: Cache) -> str:
    """An image of Debian's Java runtime and little else, imported when Docker does not have it; its name."""
    recipe = {"system": pathlib.Path("/etc/os-release").read_text(), "packages": _JAVA_PACKAGES}
    archive = cache.product("Java runtime", recipe, _pack_java) / "root.tar"
    name = f"kubestrap-demo/jre:{archive.parent.name.rpartition('-')[2]}"
    if _docker_label(name, "") is None:
        run("docker", "import", "--change", f"ENV PATH={_JAVA_PATH}", archive, name)
    return name


def _pack_java(place: pathlib.Path) -> None:
    root = place / "root"
    debian.unpack(place / "apt", root, _JAVA_PACKAGES)
    # For users other than root.
    (root / "tmp").chmod(0o1777)
    run("tar", "--directory", root, "--owner=0", "--group=0", "--create", "--file", place / "root.tar", ".")
    shutil.rmtree(root)
    shutil.rmtree(place / "apt")
