"""The lists agree with each other, and what is derived from them is right."""

import pathlib

from tools.upstream import golang, minikube, recipes

BUILDS = (
    recipes.CLUSTER,
    recipes.FLANNEL_DAEMON,
    recipes.FLANNEL_CNI_PLUGIN,
    recipes.CRI_DOCKERD_DAEMON,
    *recipes.ADDON_BUILDS,
)
BUILT = {program.name for build in BUILDS for program in build.programs}


def test_everything_packed_is_built() -> None:
    for image in (*recipes.IMAGES, *recipes.ADDON_IMAGES):
        assert set(image.files.values()) <= BUILT
    for package in recipes.PACKAGES:
        assert set(package.programs.values()) <= BUILT
    built = {program.name for build in minikube.BUILDS for program in build.programs}
    for image in minikube.IMAGES:
        assert set(image.files.values()) <= built | {"pause"}
    assert set(minikube.NODE_PROGRAMS) <= built


def test_pause_says_the_version_of_its_image() -> None:
    source = (pathlib.Path(recipes.__file__).parent / "pause/main.go").read_text()
    assert f'"{recipes.PAUSE}"' in source


def test_staging_modules_become_published_ones() -> None:
    go_mod = """module k8s.io/kubernetes

replace (
	k8s.io/api => ./staging/src/k8s.io/api
	example.com/fork => example.com/other v1.2.3
)

replace example.com/old v1.0.0 => example.com/old v1.0.1
"""
    assert golang.replacements(go_mod, "v0.36.4") == [
        "\tk8s.io/api => k8s.io/api v0.36.4",
        "\texample.com/fork => example.com/other v1.2.3",
        "\texample.com/old => example.com/old v1.0.1",
    ]


def test_program_is_called_after_its_package_not_its_major_version() -> None:
    assert golang.program_name("go.etcd.io/etcd/server/v3") == "server"
    assert golang.program_name("./cmd/pause") == "pause"


def test_kubelet_starts_as_kubeadm_expects() -> None:
    for name in ("KUBELET_KUBECONFIG_ARGS", "KUBELET_CONFIG_ARGS", "KUBELET_KUBEADM_ARGS", "KUBELET_EXTRA_ARGS"):
        assert f"${name}" in recipes.KUBEADM_DROP_IN
    # A unit of this kind takes a second ExecStart only after an empty one.
    assert "\nExecStart=\nExecStart=/usr/bin/kubelet " in recipes.KUBEADM_DROP_IN
