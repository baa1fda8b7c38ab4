"""What one command prints, for several processes that ask at about the same time: it runs once."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ansible.errors import AnsibleActionFail

# The shell itself says when the command has ended: whoever started it may be busy with a slow reader.
_RUN = 'ended=$0; "$@"; echo $? >"$ended.new"; mv "$ended.new" "$ended"'
_LOOK_AGAIN = 0.02


class _GrowingFile(io.RawIOBase):
    """A file that somebody still writes: its end is where the writer ended."""

    def __init__(self, path: Path, ended: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._ended = ended

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        while True:
            # In this order, or bytes that come between the two looks are lost.
            ended = self._ended.exists()
            count = self._file.readinto(buffer)
            if count or ended:
                return count or 0
            if self._writer_is_gone() and not self._ended.exists():
                raise AnsibleActionFail(f"What writes {self._file.name} was ended in the middle.")
            time.sleep(_LOOK_AGAIN)

    def _writer_is_gone(self) -> bool:
        # The command holds a lock on the file for as long as it lives, however it ends.
        try:
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def close(self) -> None:
        self._file.close()
        super().close()


@contextlib.contextmanager
def shared_output(command: list[str], path: Path) -> Iterator[IO[bytes]]:
    """Give the bytes a command prints, as it prints them. The first process that names a path runs the command.

    Args:
        command: The command.
        path: Where its output is kept; whoever owns the directory removes it.

    Raises:
        AnsibleActionFail: when the command failed, after all it printed was given.
    """
    ended = path.with_name(f"{path.name}.ended")
    process = None
    # It has its name only with the lock on it.
    with contextlib.suppress(FileExistsError), tempfile.NamedTemporaryFile(dir=path.parent) as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        os.link(output.name, path)
        process = subprocess.Popen(["sh", "-c", _RUN, str(ended), *command], stdin=subprocess.DEVNULL, stdout=output)
    try:
        with _GrowingFile(path, ended) as raw, io.BufferedReader(raw, 1 << 20) as stream:  # type: ignore[type-var]
            yield stream
    finally:
        if process is not None:
            process.wait()
    code = ended.read_text().strip() if ended.exists() else "0"
    if code != "0":
        raise AnsibleActionFail(f"'{' '.join(command)}' ended with exit code {code}.")
