"""containerd's configuration: read, changed, described, in the forms of its versions."""

import tomllib

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import containerd

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

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.gpu.options]
        BinaryName = "/usr/bin/gpu-runtime"
        SystemdCgroup = false

      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

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
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false

    [plugins.'io.containerd.cri.v1.runtime'.cni]
      bin_dir = ''
      bin_dirs = ['/usr/lib/cni']
      conf_dir = '/etc/cni/net.d'
"""
CRI = 'plugins."io.containerd.grpc.v1.cri"'
IMAGE = "registry.example/pause:3.10.2"


def wanted(text: str) -> dict[containerd.Key, object]:
    return containerd.wanted_values(
        containerd.parse(text),
        pause_image=IMAGE,
        cni_conf_dir="/etc/cni/net.d",
        cni_bin_dir="/opt/cni/bin",
        options_tables=[table for table in containerd.tables(text) if table.endswith(".options")],
    )


def test_what_is_read_is_what_a_toml_reader_reads() -> None:
    values = containerd.parse(VERSION_2)
    cri = tomllib.loads(VERSION_2)["plugins"]["io.containerd.grpc.v1.cri"]
    assert values[CRI, "max_concurrent_downloads"] == cri["max_concurrent_downloads"] == 3
    assert values[f"{CRI}.cni", "bin_dir"] == cri["cni"]["bin_dir"]
    assert values["", "version"] == 2
    assert values["timeouts", "io.containerd.timeout.task.state"] == "2s"
    assert values[f"{CRI}.containerd.runtimes.runc.options", "SystemdCgroup"] is False


def test_version_2_gets_what_kubernetes_needs_and_keeps_the_rest() -> None:
    after = tomllib.loads(containerd.patched(VERSION_2, wanted(VERSION_2)))
    expected = tomllib.loads(VERSION_2)
    cri = expected["plugins"]["io.containerd.grpc.v1.cri"]
    cri["sandbox_image"] = IMAGE
    cri["cni"]["bin_dir"] = "/opt/cni/bin"
    cri["registry"]["config_path"] = "/etc/containerd/certs.d"
    for runtime in ("runc", "gpu"):
        cri["containerd"]["runtimes"][runtime]["options"]["SystemdCgroup"] = True
    # A runtime whose options know no such key gets none.
    assert after == expected


def test_version_3_has_other_names_and_keeps_directories_of_others() -> None:
    plugins = tomllib.loads(containerd.patched(VERSION_3, wanted(VERSION_3)))["plugins"]
    images, runtime = plugins["io.containerd.cri.v1.images"], plugins["io.containerd.cri.v1.runtime"]
    assert images["pinned_images"]["sandbox"] == IMAGE
    assert images["registry"]["config_path"] == "/etc/containerd/certs.d:/etc/docker/certs.d"
    assert images["snapshotter"] == "overlayfs"
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert runtime["cni"]["bin_dirs"] == ["/opt/cni/bin", "/usr/lib/cni"]
    assert runtime["cni"]["bin_dir"] == ""


@pytest.mark.parametrize("text", [VERSION_2, VERSION_3])
def test_a_changed_configuration_says_all_that_is_wanted_and_changing_it_again_changes_nothing(text: str) -> None:
    once = containerd.patched(text, wanted(text))
    values = containerd.parse(once)
    assert {key: values.get(key) for key in wanted(text)} == wanted(text)
    assert wanted(once) == wanted(text)
    assert containerd.patched(once, wanted(once)) == once


def test_missing_keys_and_tables_are_added_where_they_belong() -> None:
    text = containerd.patched("version = 2\n\n[a]\n  b = 1\n\n[c]\n", {
        ("", "top"): [], ("a", "d"): True, ("c", "e"): "x", ("new.table", "f"): ["y", 'z"'],
    })  # fmt: skip
    assert tomllib.loads(text) == {
        "version": 2, "top": [], "a": {"b": 1, "d": True}, "c": {"e": "x"}, "new": {"table": {"f": ["y", 'z"']}},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('# Docker\ndisabled_plugins = ["cri"]\n', "# Docker\ndisabled_plugins = []\n"),
        (
            "version = 3\ndisabled_plugins = [\n  'io.containerd.grpc.v1.cri',\n  'x.y.v1',\n]\n[plugins]\n",
            'version = 3\ndisabled_plugins = ["x.y.v1"]\n[plugins]\n',
        ),
        ("disabled_plugins=[]\n[x]\n", "disabled_plugins=[]\n[x]\n"),
        ("version = 2\n[x]\ndisabled_plugins = ['cri']\n", "version = 2\n[x]\ndisabled_plugins = ['cri']\n"),
        ("", ""),
    ],
    ids=["as Docker's packages have it", "among others", "none", "of something else", "no file"],
)
def test_only_the_interface_for_kubernetes_is_switched_on(before: str, after: str) -> None:
    assert containerd.without_disabled_cri(before) == after


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("imports = ['/etc/a/*.toml',\n 'b']\n[x]\n", "['/etc/a/*.toml', 'b']"),
        ("[x]\nimports = ['a']\n", None),
        ("version = 2\n", None),
    ],
)
def test_imports_are_those_the_file_names(text: str, told: str | None) -> None:
    assert containerd.imports(text) == told


def test_registries_in_the_old_form_are_found() -> None:
    assert containerd.old_mirrors(VERSION_2) == []
    registry = f"{CRI}.registry"
    assert containerd.old_mirrors(f'[{registry}.mirrors."docker.io"]\n') == [f'{registry}.mirrors."docker.io"']
    assert containerd.old_mirrors(f'[{registry}.configs."r:5000".tls]\n') == [f'{registry}.configs."r:5000".tls']
    assert containerd.old_mirrors(f'[{registry}.configs."r:5000".auth]\n') == []


@pytest.mark.parametrize(
    ("names", "off"),
    [([], False), (["io.containerd.cri.v1.runtime"], True), (["io.containerd.snapshotter.v1.zfs"], False)],
)
def test_the_interface_for_kubernetes_may_be_switched_off_by_each_of_its_parts(names: list[str], *, off: bool) -> None:
    assert containerd.cri_is_disabled({("", "disabled_plugins"): names}) is off


def test_a_registry_has_its_ca_beside_the_file_that_names_it() -> None:
    files = containerd.registry_files({"registry.example:5000": "PEM\n\n"}, {})
    directory = "/etc/containerd/certs.d/registry.example:5000"
    assert files[f"{directory}/ca.crt"] == "PEM\n"
    assert tomllib.loads(files[f"{directory}/hosts.toml"]) == {
        "server": "https://registry.example:5000",
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
        == """\
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
