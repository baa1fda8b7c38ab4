"""Everything a cluster downloads.

Addresses, versions and digests are written in one place, the variables of the cluster and their defaults: what a site
says there is what is downloaded. Here stands which variables these are, and what they say together.

Runs on the hosts and on the operator's machine: standard library only, Python 3.9.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Files that are pinned: `<name>_url` says where, `<name>_sha256` the digest, or one for each {file} or {arch}.
FILES = (
    "cluster_flannel_manifest",
    "cluster_metrics_server_manifest",
    "cluster_local_path_manifest",
    "cluster_metallb_manifest",
    "cluster_cri_dockerd",
    "cluster_minikube",
)
# Package repositories: `<name>_key_fingerprint` is that of the key that signs it.
REPOSITORIES = ("cluster_kubernetes_repository",)
REGISTRIES = (
    "cluster_flannel_image_registry",
    "cluster_metrics_server_image_registry",
    "cluster_local_path_image_registry",
    "cluster_metallb_image_registry",
    "cluster_image_registry",
)
# Digests of images by the name under which they are pulled.
IMAGES = "cluster_image_digests"
# What others download by themselves, and check by themselves.
MIRRORS = ("cluster_minikube_binary_mirror",)
# Every variable that holds an address.
ADDRESSES = (*(f"{name}_url" for name in FILES), *REPOSITORIES, *REGISTRIES, *MIRRORS)


class File(NamedTuple):
    """A file that is pinned.

    Attributes:
        name: Its name in FILES.
        address: Where it is.
        sha256: Its digest.
    """

    name: str
    address: str
    sha256: str

    @property
    def version(self) -> str:
        """The version in its address, such as `v0.28.4`; empty when there is none."""
        found = re.search(r"/(v\d+(?:\.\d+)+)/", self.address)
        return found[1] if found else ""


def files(values: Mapping[str, Any]) -> Iterator[File]:
    """Give the files that a cluster with these variables downloads, one for each {file} or {arch} of an address."""
    for name in FILES:
        address, digests = values[f"{name}_url"], values[f"{name}_sha256"]
        for part, sha256 in (digests if isinstance(digests, dict) else {"": digests}).items():
            yield File(name, re.sub(r"\{(file|arch)\}", part, address), sha256)


def tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags of the images that are pinned, by repository (`flannel-io/flannel`)."""
    places = (name.rpartition(":") for name in values[IMAGES])
    return {place.partition("/")[2]: tag for place, _, tag in places}
