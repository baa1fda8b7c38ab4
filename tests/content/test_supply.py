"""What a cluster downloads: every address is in the tables of supply.py, and everything in them is pinned."""

import re

from ansible_collections.kubestrap.cluster.plugins.module_utils import supply
from kubestrap.adapters.declaration import load_declaration

from tests.conftest import ROOT

DEFAULTS = {name: variable.default for name, variable in load_declaration().variables.items()}
SHA256 = re.compile("[0-9a-f]{64}")


def test_every_variable_with_an_address_is_known_and_in_the_example_of_a_site() -> None:
    suffixes = ("_url", "_registry", "_repository", "_mirror")
    assert {name for name in DEFAULTS if name.endswith(suffixes)} == set(supply.ADDRESSES)
    page = (ROOT / "docs/mirrors.md").read_text()
    assert [name for name in supply.ADDRESSES if f"\n{name}: " not in page] == []


def test_every_file_is_pinned_and_has_a_version() -> None:
    for file in supply.files(DEFAULTS):
        assert file.address.startswith("https://"), file
        assert "{" not in file.address, file
        assert SHA256.fullmatch(file.sha256), file
        assert file.version, file
    fingerprints = [DEFAULTS[f"{name}_key_fingerprint"] for name in supply.REPOSITORIES]
    assert all(re.fullmatch("[0-9A-F]{40}", one) for one in fingerprints)


def test_every_program_is_there_for_both_processors() -> None:
    for name in supply.FILES:
        if "{arch}" in DEFAULTS[f"{name}_url"]:
            assert set(DEFAULTS[f"{name}_sha256"]) == {"amd64", "arm64"}, name


def test_every_pinned_image_comes_from_a_registry_that_a_site_can_replace() -> None:
    registries = tuple(f"{DEFAULTS[name]}/" for name in supply.REGISTRIES)
    for name, digest in DEFAULTS[supply.IMAGES].items():
        assert name.startswith(registries), name
        assert SHA256.fullmatch(digest.removeprefix("sha256:")), name


def test_images_of_a_project_have_the_version_of_its_manifest() -> None:
    versions = {file.name: file.version for file in supply.files(DEFAULTS)}
    tags = supply.tags(DEFAULTS)
    for project, repository in {
        "flannel": "flannel-io/flannel",
        "metrics_server": "metrics-server/metrics-server",
        "local_path": "rancher/local-path-provisioner",
        "metallb": "metallb/controller",
    }.items():
        assert tags[repository] == versions[f"cluster_{project}_manifest"]
