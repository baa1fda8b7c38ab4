"""What a module changes on a host: decide by looking, act unless in check mode, report an exact diff.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ansible_collections.kubestrap.cluster.plugins.module_utils import ledger
from ansible_collections.kubestrap.cluster.plugins.module_utils.disk import sync_directory
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import Finding, as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ansible.module_utils.basic import AnsibleModule

_BLOCK = 1024 * 1024


class Changes:
    """The changes of one module run, in the order they were made.

    Every method compares first and does nothing when the host is already as wanted, so a second run reports no change.
    """

    def __init__(self, module: AnsibleModule) -> None:
        """Start with nothing changed."""
        self.module = module
        self.diff: list[dict[str, str]] = []
        self.findings: list[Finding] = []

    def __bool__(self) -> bool:
        """Tell whether anything changed (or would, in check mode)."""
        return bool(self.diff)

    def file(
        self,
        path: str,
        content: str,
        *,
        mode: int = 0o644,
        owner: tuple[int, int] | None = None,
        secret: bool = False,
        keep: bool = False,
    ) -> bool:
        """Make a file hold exactly this content with this mode; return whether that was a change.

        Written beside the file and renamed over it, so a reader never sees half of it. A link of root's stays, and what
        it leads to is written. The content of a secret file, and of one that not everybody can read, is kept out of the
        diff.

        Args:
            path: The file.
            content: All of it.
            mode: Permissions, for a file that is there already as well.
            owner: User and group, where it is not root's.
            secret: Whether nobody is to see what is in it.
            keep: Whether a file that is there keeps its mode and owner: it is not ours, or only in part.
        """
        try:
            return self._file(path, content, mode=mode, owner=owner, secret=secret, keep=keep)
        except OSError as error:
            self.module.fail_json(
                msg=f"Cannot write {path}: {error.strerror or error}. Nothing of it was changed. Is it, or the file "
                "system it is on, read-only (`lsattr`, `findmnt`), or full (`df`)?"
            )
            raise

    def _file(
        self, path: str, content: str, *, mode: int, owner: tuple[int, int] | None, secret: bool, keep: bool
    ) -> bool:
        if owner is None:
            path = _led_to(path)
        before = read_text(path)
        if before is not None:
            status = Path(path).stat()
            secret = secret or not status.st_mode & stat.S_IROTH
            if keep:
                mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
        if before == content and _mode_and_owner_match(path, mode, owner):
            return False
        hidden = "(secret)\n" if secret else None
        self.note(path, before=hidden if before is not None and hidden else before or "", after=hidden or content)
        if not self.module.check_mode:
            self._remember([ledger.of_file(path, merged=keep)])
            write_atomically(path, content, mode=mode, owner=owner)
        return True

    def absent(self, path: str) -> bool:
        """Make sure there is no such file, link or directory; return whether that was a change."""
        if not os.path.lexists(path):
            return False
        self.note(path, before="present\n", after="")
        if not self.module.check_mode:
            target = Path(path)
            if target.is_dir() and not target.is_symlink():
                shutil.rmtree(path)
            else:
                if target.is_file():
                    self._remember([ledger.of_file(path)])
                target.unlink()
        return True

    def act(
        self,
        what: str,
        action: Callable[[], object],
        *,
        before: str = "",
        after: str = "done\n",
        was: Iterable[ledger.Before] = (),
    ) -> None:
        """Do something that is no file: the caller has already seen that it is needed.

        Args:
            what: What is changed, as people are shown it.
            action: Changes it.
            before: What it is now, as people are shown it.
            after: What it will be, the same.
            was: What it is now, for who takes it back later. Nothing of it is promised to come back without.
        """
        self.note(what, before=before, after=after)
        if not self.module.check_mode:
            self._remember(was)
            action()

    def _remember(self, was: Iterable[ledger.Before]) -> None:
        try:
            for one in was:
                ledger.remember(one)
        except OSError as error:
            self.module.fail_json(
                msg=f"Cannot write down in {ledger.PATH} what is there now: {error.strerror or error}. Nothing was "
                "changed. Is the file system read-only (`findmnt`), or full (`df`)?"
            )

    def note(self, what: str, *, before: str, after: str) -> None:
        """Add one entry to the diff."""
        self.diff.append({"before_header": what, "after_header": what, "before": before, "after": after})

    def found(self, finding: Finding) -> None:
        """Tell of something that did not keep the module from its end: a warning, in the words of `check`."""
        self.findings.append(finding.accepted([finding.id]))
        self.module.warn(f"{finding.evidence} {finding.fix}")

    def exit(self, **result: Any) -> NoReturn:
        """End the module successfully with what was changed, and what was found on the way."""
        findings = {"findings": as_json(self.findings)} if self.findings else {}
        self.module.exit_json(changed=bool(self), diff=self.diff, **findings, **result)


def read_text(path: str) -> str | None:
    """Return the content of a file, None when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def write_atomically(
    path: str, content: str | bytes, *, mode: int = 0o644, owner: tuple[int, int] | None = None
) -> None:
    """Replace a file in one step; missing directories are made (0755).

    File and directory are on the disk before this returns: after a power cut there is the old content or the new one,
    never a file that is there and empty.
    """
    directory = Path(path).parent
    made = [parent for parent in (directory, *directory.parents) if not parent.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for parent in made:
        # Whatever the umask takes away: programs read what is in them as users of their own.
        parent.chmod(0o755)
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="surrogateescape")
    handle, name = tempfile.mkstemp(dir=directory, prefix=".kubestrap-")
    temporary = Path(name)
    try:
        _write(handle, data)
        temporary.chmod(mode)
        if owner is not None:
            os.chown(temporary, *owner)
            # Where the bits that lend the owner's rights to others are asked for, a new owner has taken them away.
            temporary.chmod(mode)
        try:
            temporary.replace(path)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            # Something is mounted on just this file, so no other can take its place.
            _write(os.open(path, os.O_WRONLY | os.O_TRUNC), data)
            temporary.unlink()
    except BaseException:
        temporary.unlink()
        raise
    for changed in (directory, *(parent.parent for parent in made)):
        sync_directory(changed)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hex, empty when there is none."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            for block in iter(lambda: stream.read(_BLOCK), b""):
                digest.update(block)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return digest.hexdigest()


def _write(handle: int, data: bytes) -> None:
    with os.fdopen(handle, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _led_to(path: str) -> str:
    """Return the file that a link leads to; other links than root's are not followed, nor those to no file."""
    if not os.path.islink(path) or os.lstat(path).st_uid != 0:  # noqa: PTH114 - Path.lstat needs one more look
        return path
    target = os.path.realpath(path)
    followed = os.path.isfile(target) or (not os.path.lexists(target) and os.path.isdir(os.path.dirname(target)))  # noqa: PTH113, PTH112, PTH120
    return target if followed else path


def _mode_and_owner_match(path: str, mode: int, owner: tuple[int, int] | None) -> bool:
    status = Path(path).stat()
    return (status.st_mode & 0o7777) == mode and (owner is None or (status.st_uid, status.st_gid) == owner)
