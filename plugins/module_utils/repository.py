"""Signed package repositories for apt: key checked against a pinned fingerprint, one source file.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ansible_collections.kubestrap.cluster.plugins.module_utils import apt
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError, fetch
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import read_os_release
from ansible_collections.kubestrap.cluster.plugins.module_utils.openpgp import KeyFormatError, read_keys

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

KEYRINGS = "/etc/apt/keyrings"
SOURCES = "/etc/apt/sources.list.d"


class RepositoryError(Exception):
    """A repository that cannot be used; the text is the message for the user."""


def kubernetes_url(template: str, version: str) -> str:
    """Return the repository of a version's minor: with 1.36.4, `{minor}` becomes v1.36."""
    return template.replace("{minor}", "v" + ".".join(version.removeprefix("v").split(".")[:2])).rstrip("/") + "/"


def add_repository(
    changes: Changes, *, name: str, url: str, suite: str, key_url: str, key_fingerprint: str, components: str = ""
) -> tuple[str, bool]:
    """Make apt know a repository by its current key; return its source file, and whether that or the key changed.

    The key is fetched on every run, because a renewed key keeps its fingerprint but gets a later expiry date.
    """
    key = f"{KEYRINGS}/{name}.asc"
    try:
        content = checked_key(key_url, key_fingerprint)
    except RepositoryError as error:
        changes.module.fail_json(msg=str(error))
    lines = ["Types: deb", f"URIs: {url}", f"Suites: {suite}"]
    if components:
        lines.append(f"Components: {components}")
    lines.append(f"Signed-By: {key}")
    source = f"{SOURCES}/{name}.sources"
    key_changed = changes.file(key, content)
    source_changed = changes.file(source, "\n".join(lines) + "\n")
    return source, key_changed or source_changed


def add_docker_repository(changes: Changes, repository: dict[str, str], *, refresh: bool) -> None:
    """Make apt know Docker's own packages for this host's distribution.

    Args:
        changes: What the module changes.
        repository: Its C(url), with C({distribution}) in it, and the C(key_fingerprint).
        refresh: Whether its list of packages is to be read even when nothing changed.
    """
    system = read_os_release()
    url = repository["url"].replace("{distribution}", system["ID"]).rstrip("/")
    source, changed = add_repository(
        changes,
        name="docker",
        url=url,
        suite=system["VERSION_CODENAME"],
        components="stable",
        key_url=f"{url}/gpg",
        key_fingerprint=repository["key_fingerprint"],
    )
    if changed or refresh:
        refresh_repository(changes, source, url)


def refresh_repository(changes: Changes, source: str, url: str) -> None:
    """Read the list of packages of one repository; end the module when that fails."""
    if changes.module.check_mode:
        return
    trouble = apt.update(changes.module, source=source)
    if trouble:
        changes.module.fail_json(msg=f"Cannot read the package repository {url}. apt says:\n{trouble}")


def checked_key(url: str, fingerprint: str) -> str:
    """Return the armoured key at a URL.

    Raises:
        RepositoryError: It cannot be had, is another one, or has expired.
    """
    try:
        content = fetch(url)
        keys = read_keys(content)
    except DownloadError as error:
        raise RepositoryError(f"Cannot get the key that signs the packages: {error}") from error
    except KeyFormatError as error:
        raise RepositoryError(f"{url} is not a key ({error}): check the address of the repository.") from error
    wanted = fingerprint.replace(" ", "").upper()
    strangers = [key.fingerprint for key in keys if key.fingerprint != wanted]
    if strangers:
        raise RepositoryError(
            f"The key at {url} has the fingerprint {', '.join(strangers)}, not {wanted}. Either this is not the "
            "repository you think it is, or its key was replaced: compare with what its owner publishes before you "
            "change the pinned fingerprint."
        )
    for key in keys:
        if key.expires is not None and key.expires < time.time():
            day = time.strftime("%Y-%m-%d", time.gmtime(key.expires))
            raise RepositoryError(
                f"The key at {url} expired on {day}: apt would refuse its packages. Ask the owner of the repository "
                "for a renewed key (for pkgs.k8s.io: a newer minor of Kubernetes has it), and check this host's clock."
            )
    return content.decode("ascii")
