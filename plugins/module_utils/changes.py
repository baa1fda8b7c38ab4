"""What a module changes on a host: decide by looking, act unless in check mode, report an exact diff.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible.module_utils.basic import AnsibleModule


class Changes:
    """The changes of one module run, in the order they were made.

    Every method compares first and does nothing when the host is already as wanted, so a second run reports no change.
    """

    def __init__(self, module: AnsibleModule) -> None:
        """Start with nothing changed."""
        self.module = module
        self.diff: list[dict[str, str]] = []

    def __bool__(self) -> bool:
        """Tell whether anything changed (or would, in check mode)."""
        return bool(self.diff)

    def file(
        self, path: str, content: str, *, mode: int = 0o644, owner: tuple[int, int] | None = None, secret: bool = False
    ) -> bool:
        """Make a file hold exactly this content with this mode; return whether that was a change.

        Written beside the file and renamed over it, so a reader never sees half of it. The content of a secret file
        is kept out of the diff.
        """
        before = read_text(path)
        if before == content and _mode_and_owner_match(path, mode, owner):
            return False
        hidden = "(secret)\n" if secret else None
        self.note(path, before=hidden if before is not None and hidden else before or "", after=hidden or content)
        if not self.module.check_mode:
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
                target.unlink()
        return True

    def act(self, what: str, action: Callable[[], object], *, before: str = "", after: str = "done\n") -> None:
        """Do something that is no file: the caller has already seen that it is needed."""
        self.note(what, before=before, after=after)
        if not self.module.check_mode:
            action()

    def note(self, what: str, *, before: str, after: str) -> None:
        """Add one entry to the diff."""
        self.diff.append({"before_header": what, "after_header": what, "before": before, "after": after})

    def exit(self, **result: Any) -> None:
        """End the module successfully with what was changed."""
        self.module.exit_json(changed=bool(self), diff=self.diff, **result)


def read_text(path: str) -> str | None:
    """Return the content of a file, None when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except FileNotFoundError:
        return None


def write_atomically(path: str, content: str, *, mode: int = 0o644, owner: tuple[int, int] | None = None) -> None:
    """Replace a file in one step; missing directories are made (0755)."""
    directory = Path(path).parent
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=directory, prefix=".kubestrap-")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(content)
        temporary.chmod(mode)
        if owner is not None:
            os.chown(temporary, *owner)
        temporary.replace(path)
    except BaseException:
        temporary.unlink()
        raise


def _mode_and_owner_match(path: str, mode: int, owner: tuple[int, int] | None) -> bool:
    status = Path(path).stat()
    return (status.st_mode & 0o7777) == mode and (owner is None or (status.st_uid, status.st_gid) == owner)
