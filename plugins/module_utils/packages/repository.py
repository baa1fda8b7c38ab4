"""Signed package repositories: key checked against a pinned fingerprint, one source file.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Optional

from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import read_text
from ansible_collections.kubestrap.cluster.plugins.module_utils.download import DownloadError, fetch
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import warning
from ansible_collections.kubestrap.cluster.plugins.module_utils.host import read_os_release
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages import systems
from ansible_collections.kubestrap.cluster.plugins.module_utils.packages.openpgp import (
    KeyFormatError,
    NoKeyError,
    read_key,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import minor_of

if TYPE_CHECKING:
    from ansible_collections.kubestrap.cluster.plugins.module_utils.changes import Changes

# Bytes. Real ones have a few thousand; with hundreds of signatures of others some ten thousand.
MOST_OF_A_KEY = 256 * 1024
KEY_SECONDS = 60


class RepositoryError(Exception):
    """A repository that cannot be used; the text is the message for the user."""


class RepositoryAwayError(RepositoryError):
    """It cannot be used now, and nothing speaks against the key that the host has of it."""


def kubernetes_url(template: str, version: str) -> str:
    """Return the repository of a version's minor: with 1.36.4, `{minor}` becomes v1.36."""
    return template.replace("{minor}", f"v{minor_of(version)}").rstrip("/") + "/"


def add_repository(
    changes: Changes,
    *,
    name: str,
    url: str,
    suite: str,
    key_url: str,
    key_fingerprint: str,
    needed: bool,
    components: str = "",
) -> tuple[str, bool]:
    """Let a host know a repository by its current key; return its source file, and whether that or the key changed.

    The key is fetched on every run, because a renewed key keeps its fingerprint but gets a later expiry date. When it
    cannot be had, nothing is needed from the repository and the host has the pinned key already, that is a warning.
    """
    source = systems.manager(changes.module).source(name=name, url=url, suite=suite, components=components)
    try:
        content = checked_key(key_url, key_fingerprint)
    except RepositoryError as error:
        present = _pinned(source.key, key_fingerprint)
        if needed or present is None or not isinstance(error, RepositoryAwayError):
            changes.module.fail_json(msg=str(error))
        _go_on(changes, str(error))
        # An earlier version of this program wrote the file as it was served.
        changes.file(source.key, present)
        return source.path, False
    key_changed = changes.file(source.key, content)
    source_changed = changes.file(source.path, source.content)
    return source.path, key_changed or source_changed


def add_kubernetes_repository(changes: Changes, url: str, key_fingerprint: str, *, needed: bool) -> tuple[str, bool]:
    """Let a host know the packages of a minor of Kubernetes; return what `add_repository` does."""
    return add_repository(
        changes,
        name="kubernetes",
        url=url,
        suite="/",
        key_url=f"{url}Release.key",
        key_fingerprint=key_fingerprint,
        needed=needed,
    )


def add_docker_repository(changes: Changes, repository: dict[str, str], *, needed: bool) -> None:
    """Let a host know Docker's own packages for this host's distribution.

    Args:
        changes: What the module changes.
        repository: Its C(url), with C({distribution}) in it, and the C(key_fingerprint).
        needed: Whether packages are missing, so that its list of them is to be read even when nothing changed.
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
        needed=needed,
    )
    if changed or needed:
        refresh_repository(changes, source, url, needed=needed)


def refresh_repository(changes: Changes, source: str, url: str, *, needed: bool) -> None:
    """Read the list of packages of one repository; end the module when that fails and something in it is needed."""
    if changes.module.check_mode:
        return
    manager = systems.manager(changes.module)
    trouble = manager.update(changes.module, source=source)
    if trouble:
        problem = f"Cannot read the package repository {url}. {manager.NAME} says:\n{trouble}"
        if needed:
            changes.module.fail_json(msg=problem)
        _go_on(changes, problem)


def _go_on(changes: Changes, problem: str) -> None:
    changes.found(
        warning(
            "repository-away",
            problem,
            "Nothing is missing on this host, so the run goes on without the repository. The next host, or the next "
            "version, will need it.",
        )
    )


def checked_key(url: str, fingerprint: str) -> str:
    """Return the key at a URL in text form: the pinned key and nothing else, made anew from what was checked.

    Raises:
        RepositoryError: It cannot be had, is another one, or has expired.
    """
    try:
        key = read_key(fetch(url, most=MOST_OF_A_KEY, seconds=KEY_SECONDS))
    except DownloadError as error:
        raise RepositoryAwayError(f"Cannot get the key that signs the packages: {error}") from error
    except KeyFormatError as error:
        # A page in its place (of a hotel, of a proxy) is an answer of somebody else.
        kind = RepositoryAwayError if isinstance(error, NoKeyError) else RepositoryError
        raise kind(
            f"{url} is not one public key in text form ({error}): check the address of the repository."
        ) from error
    wanted = _plain(fingerprint)
    if key.fingerprint != wanted:
        raise RepositoryError(
            f"The key at {url} has the fingerprint {key.fingerprint}, not {wanted}. Either this is not the "
            "repository you think it is, or its key was replaced: compare with what its owner publishes before you "
            "change the pinned fingerprint."
        )
    if key.expires is not None and key.expires < time.time():
        day = time.strftime("%Y-%m-%d", time.gmtime(key.expires))
        raise RepositoryAwayError(
            f"The key at {url} expired on {day}: its packages would be refused. Ask the owner of the repository "
            "for a renewed key (for pkgs.k8s.io: a newer minor of Kubernetes has it), and check this host's clock."
        )
    return key.armoured


def _pinned(path: str, fingerprint: str) -> Optional[str]:
    """Return the pinned key in text form, when a file is that and nothing else."""
    try:
        key = read_key((read_text(path) or "").encode("utf-8", errors="surrogateescape"))
    except KeyFormatError:
        return None
    return key.armoured if key.fingerprint == _plain(fingerprint) else None


def _plain(fingerprint: str) -> str:
    return fingerprint.replace(" ", "").upper()
