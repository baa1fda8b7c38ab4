"""Building published Go modules with the ordinary Go client."""

import hashlib
import json
import os
import pathlib
import re
import shutil

from tools.upstream.cache import Cache
from tools.upstream.recipes import GoBuild
from tools.upstream.tools import UpstreamError, need, run, say

_NEEDED = (1, 26)
_ENVIRONMENT = {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod", "GOWORK": "off"}


class Go:
    """The Go compiler of this machine.

    Attributes:
        program: Path of `go`.
        version: What `go version` says, platform included.
    """

    def __init__(self) -> None:
        self.program = _find()
        self.version = run(self.program, "version", env=_ENVIRONMENT).strip()
        found = re.search(r"go(\d+)\.(\d+)", self.version)
        if not found or (int(found[1]), int(found[2])) < _NEEDED:
            raise UpstreamError(
                f"Kubernetes needs Go {_dotted(_NEEDED)}, and {self.program} is {self.version}.\n{_HOW}"
            )

    def build(self, cache: Cache, build: GoBuild) -> pathlib.Path:
        """The directory with the programs of a build."""

        def make(place: pathlib.Path) -> None:
            if build.cgo:
                need("gcc")
            say(f"{build.name}: {', '.join(program.name for program in build.programs)}")
            self._compile(self._module(cache, build), build, place)

        recipe = {
            "go": self.version,
            "arguments": _arguments(build),
            "environment": _environment(build),
            "modules": build.modules,
            "replaced like": [build.replaced_like, build.staging],
            # By name, so that another checkout finds what this one built.
            "sources": {f"{file.parent.name}/{file.name}": file.read_text() for file in build.source_files()},
        }
        return cache.product(build.name, recipe, make)

    def module_file(self, module: str, version: str, path: str) -> pathlib.Path:
        """A file of a published module, as its repository has it at that version."""
        return pathlib.Path(self._download(module, version)["Dir"]) / path

    def _download(self, module: str, version: str) -> dict[str, str]:
        result: dict[str, str] = json.loads(
            run(
                self.program, "mod", "download", "-json", f"{module}@{version}", cwd=pathlib.Path("/"), env=_ENVIRONMENT
            )
        )
        return result

    def _module(self, cache: Cache, build: GoBuild) -> pathlib.Path:
        """The directory of a module that requires what is built; builds that require the same share it."""
        text = self._go_mod(build)
        name = hashlib.sha256(text.encode()).hexdigest()[:20]
        module = cache.directory(f"modules/{name}")
        if not (module / "go.mod").exists():
            (module / "go.mod").write_text(text)
        for file in build.source_files():
            target = module / "cmd" / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return module

    def _go_mod(self, build: GoBuild) -> str:
        lines = ["module example.invalid/upstream", "", "go 1.26.0", ""]
        if build.replaced_like:
            version = build.modules[build.replaced_like]
            upstream = pathlib.Path(self._download(build.replaced_like, version)["GoMod"]).read_text()
            lines += ["replace (", *replacements(upstream, build.staging), ")", ""]
        lines += ["require (", *(f"\t{path} {version}" for path, version in build.modules.items()), ")"]
        return "\n".join(lines) + "\n"

    def _compile(self, module: pathlib.Path, build: GoBuild, place: pathlib.Path) -> None:
        output = place / "programs"
        output.mkdir()
        run(self.program, *_arguments(build), cwd=module, env={**_environment(build), "GOBIN": str(output)})
        for program in build.programs:
            (output / program_name(program.package)).rename(place / program.name)
        output.rmdir()


def _arguments(build: GoBuild) -> list[str]:
    linker = ["-s", "-w", *(f"-X {name}={value}" for name, value in build.linker_variables.items())]
    tags = []
    if build.cgo:
        linker.append("-extldflags -static")
        tags = ["-tags", "netgo,osusergo"]
    packages = [program.package for program in build.programs]
    return ["install", "-trimpath", *tags, "-ldflags", " ".join(linker), *packages]


def _environment(build: GoBuild) -> dict[str, str]:
    return {**_ENVIRONMENT, "CGO_ENABLED": "1" if build.cgo else "0"}


def replacements(go_mod: str, staging: str) -> list[str]:
    """The lines of a `replace` block, those for folders of the same repository turned to published modules.

    Args:
        go_mod: Text of the module's go.mod.
        staging: Version of the modules that are developed in folders of the repository.
    """
    lines = []
    for found in re.finditer(r"^(?:replace)?\s+(\S+)(?: \S+)? => (\S+)(?: (\S+))?$", go_mod, re.MULTILINE):
        path, target, version = found.groups()
        lines.append(f"\t{path} => {path} {staging}" if target.startswith("./") else f"\t{path} => {target} {version}")
    return lines


def program_name(package: str) -> str:
    """What the Go client calls the program of a package."""
    *_, parent, name = package.split("/")
    return parent if re.fullmatch(r"v\d+", name) else name


def _find() -> str:
    found = shutil.which("go", path=os.environ.get("PATH", "") + ":/usr/local/go/bin")
    if not found:
        raise UpstreamError(f"Kubernetes is built from source here, and Go is not installed.\n{_HOW}")
    return found


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


_HOW = (
    f"Install Go {_dotted(_NEEDED)} or newer: unpack https://go.dev/dl/ to /usr/local/go,"
    " or on Debian, where the release or its backports have it: apt-get install golang-go"
)
