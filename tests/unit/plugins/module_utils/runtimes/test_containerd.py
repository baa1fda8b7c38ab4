"""containerd's configuration: read, changed, described, in the forms of its versions."""

import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import registry_trust, toml
from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes import containerd
from ansible_collections.kubestrap.cluster.plugins.modules import containerd_runtime

# What containerd prints, cut down to what matters here: 1.x with double quotes, 2.x with single ones.
VERSION_2 = """\
disabled_plugins = []
imports = ["/etc/containerd/config.toml"]
version = 2

[grpc]
  gid = 0

[plugins]

  [plugins."io.containerd.grpc.v1.cri"]
    max_concurrent_downloads = 3
    sandbox_image = "registry.k8s.io/pause:3.8"

    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.gpu]
        runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.gpu.options]
        BinaryName = "/usr/bin/gpu-runtime"
        SystemdCgroup = false

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.wasm]
        runtime_type = "io.containerd.wasmtime.v1"

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.wasm.options]

    [plugins."io.containerd.grpc.v1.cri".registry]
      config_path = ""

      [plugins."io.containerd.grpc.v1.cri".registry.mirrors]

  [plugins."io.containerd.transfer.v1.local"]

    [[plugins."io.containerd.transfer.v1.local".unpack_config]]
      platform = "linux/amd64"

[timeouts]
  "io.containerd.timeout.task.state" = "2s"
"""
VERSION_3 = """\
version = 3
disabled_plugins = []
imports = ['/etc/containerd/conf.d/*.toml']

[plugins]
  [plugins.'io.containerd.cri.v1.images']
    snapshotter = 'overlayfs'

    [plugins.'io.containerd.cri.v1.images'.pinned_images]
      sandbox = 'registry.k8s.io/pause:3.10'

    [plugins.'io.containerd.cri.v1.images'.registry]
      config_path = '/etc/containerd/certs.d:/etc/docker/certs.d'

  [plugins.'io.containerd.cri.v1.runtime']
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
      runtime_type = 'io.containerd.runc.v2'

    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false

    [plugins.'io.containerd.cri.v1.runtime'.cni]
      bin_dir = ''
      bin_dirs = ['/usr/lib/cni']
      conf_dir = '/etc/cni/net.d'
"""
PLUGIN = "io.containerd.grpc.v1.cri"
IMAGE = "registry.example/pause:3.10.2"
# A file as people write it, with imports over several lines and a comment in them.
IMPORTS = """\
version = 2
imports = [
  "/etc/containerd/conf.d/*.toml", # drop-ins of the GPU toolkit
  "site/*.toml",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.example.org/pause:3.9"
"""


def wanted(text: str) -> dict[containerd.Place, Any]:
    return containerd.wanted_values(
        toml.loads(text), pause_image=IMAGE, cni_conf_dir="/etc/cni/net.d", cni_bin_dir="/opt/cni/bin"
    )


def patched(text: str) -> str:
    data = toml.loads(text)
    for place, value in wanted(text).items():
        containerd.put(data, place, value)
    return toml.dumps(data)


def test_version_2_gets_what_kubernetes_needs_and_keeps_the_rest() -> None:
    after = tomllib.loads(patched(VERSION_2))
    expected = tomllib.loads(VERSION_2)
    cri = expected["plugins"]["io.containerd.grpc.v1.cri"]
    cri["sandbox_image"] = IMAGE
    cri["cni"]["bin_dir"] = "/opt/cni/bin"
    cri["registry"]["config_path"] = "/etc/containerd/certs.d"
    for runtime in ("runc", "gpu"):
        cri["containerd"]["runtimes"][runtime]["options"]["SystemdCgroup"] = True
    # A runtime of another kind knows no such option.
    assert after == expected


def test_version_3_has_other_names_and_keeps_directories_of_others() -> None:
    plugins = tomllib.loads(patched(VERSION_3))["plugins"]
    images, runtime = plugins["io.containerd.cri.v1.images"], plugins["io.containerd.cri.v1.runtime"]
    assert images["pinned_images"]["sandbox"] == IMAGE
    assert images["registry"]["config_path"] == "/etc/containerd/certs.d:/etc/docker/certs.d"
    assert images["snapshotter"] == "overlayfs"
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert runtime["cni"]["bin_dirs"] == ["/opt/cni/bin", "/usr/lib/cni"]
    assert runtime["cni"]["bin_dir"] == ""


@pytest.mark.parametrize("text", [VERSION_2, VERSION_3])
def test_a_changed_configuration_says_all_that_is_wanted_and_changing_it_again_changes_nothing(text: str) -> None:
    once = patched(text)
    assert {place: containerd.get(toml.loads(once), place) for place in wanted(text)} == wanted(text)
    assert wanted(once) == wanted(text)
    assert patched(once) == once


@pytest.mark.parametrize(
    ("table", "told"),
    [
        # As the toolkit for GPUs writes it: no flag at all.
        ('runtimes.nvidia]\nruntime_type = "io.containerd.runc.v2"\n', ["runtimes", "nvidia"]),
        ("runtimes.'n.vidia']\nruntime_type = 'io.containerd.runc.v1' # old\n", ["runtimes", "n.vidia"]),
        ('runtimes]\nnvidia = { runtime_type = "io.containerd.runc.v2", options = {} }\n', ["runtimes", "nvidia"]),
        ('default_runtime]\nruntime_type = "io.containerd.runc.v2"\n', ["default_runtime"]),
        ('default_runtime]\nruntime_type = ""\n', None),
        ('runtimes.kata]\nruntime_type = "io.containerd.kata.v2"\n', None),
        # Whoever has the flag knows it.
        ('runtimes.x]\nruntime_type = "x.v1"\noptions.SystemdCgroup = false\n', ["runtimes", "x"]),
    ],
)
def test_nvidia_noflag(table: str, told: list[str] | None) -> None:
    text = f'version = 2\n[plugins."{PLUGIN}".containerd.{table}'
    flags = [place for place in wanted(text) if place[-1] == "SystemdCgroup"]
    assert flags == ([("plugins", PLUGIN, "containerd", *told, "options", "SystemdCgroup")] if told else [])


def test_only_the_interface_for_kubernetes_is_switched_on() -> None:
    data = {"version": 3, "disabled_plugins": ["io.containerd.grpc.v1.cri", "x.y.v1"]}
    assert containerd.enabled_cri(data) == {"version": 3, "disabled_plugins": ["x.y.v1"]}
    assert containerd.enabled_cri({"disabled_plugins": ["x"]}) == {"disabled_plugins": ["x"]}
    assert containerd.enabled_cri({"x": {"disabled_plugins": ["cri"]}}) == {"x": {"disabled_plugins": ["cri"]}}


def test_a_trial_elsewhere_imports_the_same_files() -> None:
    data = containerd.absolute_imports(toml.loads(IMPORTS))
    assert data["imports"] == ["/etc/containerd/conf.d/*.toml", "/etc/containerd/site/*.toml"]


def test_registries_in_the_old_form_are_found() -> None:
    assert containerd.old_mirrors(toml.loads(VERSION_2)) == []
    registry = f'plugins."{PLUGIN}".registry'
    found = containerd.old_mirrors(toml.loads(f'[{registry}.mirrors."docker.io"]\n'))
    assert [toml.dotted(place) for place in found] == [f'{registry}.mirrors."docker.io"']
    found = containerd.old_mirrors(toml.loads(f'[{registry}.configs."r]:5000".tls]\n'))
    assert [toml.dotted(place) for place in found] == [f'{registry}.configs."r]:5000".tls']
    assert containerd.old_mirrors(toml.loads(f'[{registry}.configs."r:5000".auth]\n')) == []


class RefusedError(Exception):
    """The module ended with words."""


class Host:
    """A containerd: what it prints as its default, and what it makes of a file."""

    check_mode = False

    def __init__(self, *, refuses: str = "", overrides: dict[str, Any] | None = None) -> None:
        self.refuses = refuses
        self.no_log_values: set[str] = set()
        self.overrides = overrides or {}
        self.params = {"pause_image": IMAGE, "cni_conf_dir": "/etc/cni/net.d", "cni_bin_dir": "/opt/cni/bin"}

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        if "default" in command:
            return 0, VERSION_2, ""
        file = command[command.index("--config") + 1]
        text = Path(file).read_text()
        try:
            data = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            return 1, "", f"containerd: {file}: {error}"
        if self.refuses and self.refuses in text:
            return 1, "", f"containerd: {file}: wrong"
        merged = tomllib.loads(VERSION_2)
        merged.update({key: value for key, value in data.items() if key != "plugins"})
        for name, plugin in data.get("plugins", {}).items():
            merged["plugins"].setdefault(name, {}).update(plugin)
        merged["plugins"][PLUGIN].update(self.overrides)
        return 0, toml.dumps({**merged, "imports": [file]}), ""

    def fail_json(self, *, msg: str) -> None:
        raise RefusedError(msg)


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, host: Host) -> Path:
    """The file after the module had its way."""
    path = tmp_path / "config.toml"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(containerd_runtime, "CONFIG", str(path))
    runtime = containerd_runtime.ContainerdRuntime.__new__(containerd_runtime.ContainerdRuntime)
    runtime.module = host  # type: ignore[assignment] - all it takes
    runtime.asked = host.params
    runtime.version = "1.7.24"
    runtime.changes = Changes(SimpleNamespace(check_mode=False))  # type: ignore[arg-type]
    runtime._configure()
    return path


def test_imports_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = configured(tmp_path, monkeypatch, IMPORTS, Host())
    data = tomllib.loads(path.read_text())
    # As they were written, not as they were found.
    assert data["imports"] == ["/etc/containerd/conf.d/*.toml", "site/*.toml"]
    assert data["plugins"][PLUGIN]["sandbox_image"] == IMAGE
    assert [copy.read_text() for copy in tmp_path.glob("config.toml.*")] == [IMPORTS]
    before = path.stat().st_mtime_ns
    assert configured(tmp_path, monkeypatch, None, Host()).stat().st_mtime_ns == before


def test_a_file_that_containerd_refuses_is_named_and_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        RefusedError, match=r"(?s)containerd does not accept .*config.toml: correct it.*says:\ncontainerd: "
    ):
        configured(tmp_path, monkeypatch, "version = 2\nimports = [ \n", Host())
    assert [path.name for path in tmp_path.iterdir()] == ["config.toml"]


def test_what_we_made_is_never_blamed_on_the_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RefusedError, match="a mistake of kubestrap, not of the file"):
        configured(tmp_path, monkeypatch, IMPORTS, Host(refuses=IMAGE))
    assert (tmp_path / "config.toml").read_text() == IMPORTS


def test_what_an_imported_file_overrides_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        RefusedError, match=r"overrides.* plugins\.\"io.containerd.grpc.v1.cri\"\.sandbox_image.*site/\*"
    ):
        configured(tmp_path, monkeypatch, IMPORTS, Host(overrides={"sandbox_image": "other"}))
    assert (tmp_path / "config.toml").read_text() == IMPORTS


@pytest.mark.parametrize(
    ("names", "off"),
    [([], False), (["io.containerd.cri.v1.runtime"], True), (["io.containerd.snapshotter.v1.zfs"], False)],
)
def test_the_interface_for_kubernetes_may_be_switched_off_by_each_of_its_parts(names: list[str], *, off: bool) -> None:
    assert containerd.cri_is_disabled({"disabled_plugins": names}) is off


def test_a_registry_has_its_ca_beside_the_file_that_names_it() -> None:
    files = containerd.registry_files({"registry.example:5000": "PEM\n\n"}, {})
    directory = "/etc/containerd/certs.d/registry.example:5000"
    assert files[f"{directory}/ca.crt"] == f"{registry_trust.HEADER}PEM\n"
    assert tomllib.loads(files[f"{directory}/hosts.toml"]) == {
        "server": "https://registry.example:5000",
        "ca": f"{directory}/ca.crt",
        "host": {"https://registry.example:5000": {"ca": f"{directory}/ca.crt"}},
    }


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3", (1, 6, 20)),
        ("containerd github.com/containerd/containerd/v2 v2.3.7 e8a8c54", (2, 3, 7)),
        ("containerd containerd.io 1.7.28 b98a3aa", (1, 7, 28)),
        ("containerd unknown", None),
    ],
)
def test_versions_as_containerd_prints_them(printed: str, version: tuple[int, ...] | None) -> None:
    assert containerd.parse_version(printed) == version


def test_mirrors_are_asked_before_the_registry() -> None:
    mirrors = {
        "docker.io": ["https://mirror.example:5000", "http://other.example"],
        "ghcr.io": ["http://other.example"],
    }
    files = containerd.registry_files({"mirror.example:5000": "PEM"}, mirrors)
    assert (
        files["/etc/containerd/certs.d/docker.io/hosts.toml"]
        == registry_trust.HEADER
        + """\
server = "https://registry-1.docker.io"

[host."https://mirror.example:5000"]
  capabilities = ["pull", "resolve"]
  ca = "/etc/containerd/certs.d/mirror.example:5000/ca.crt"

[host."http://other.example"]
  capabilities = ["pull", "resolve"]

[host."https://registry-1.docker.io"]
"""
    )
    assert sorted(path.removeprefix("/etc/containerd/certs.d/") for path in files) == [
        "docker.io/hosts.toml",
        "ghcr.io/hosts.toml",
        "mirror.example:5000/ca.crt",
        "mirror.example:5000/hosts.toml",
    ]


def test_logins_of_registries_in_a_file_that_everybody_may_read_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'version = 2\n[plugins."x".configs."r.example".auth]\nusername = "me"\npassword = "a\\"secret"\n'
    host = Host()
    configured(tmp_path, monkeypatch, text, host)
    assert host.no_log_values == {'a"secret', r"a\"secret"}
