"""Private directories: nobody else enters, nothing stays of a run that was killed."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kubestrap.adapters.private import private_directory, socket_directory, state_directory
from kubestrap.errors import UsageError

HOLD = """
import sys
from pathlib import Path
from kubestrap.adapters.private import private_directory, socket_directory
with private_directory(Path(sys.argv[1]), "run-") as path:
    (path / "password").write_text("hush")
    print(path, socket_directory(path), flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def state(tmp_path):
    return tmp_path / ".kubestrap"


def hold(state):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, state], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    return process, process.stdout.readline().split()


def runs(state):
    return sorted(path.name for path in state.glob("run-*"))


def test_gone_after_the_block_and_so_is_what_was_made_for_it(state):
    with private_directory(state, "run-") as path:
        assert path.stat().st_mode & 0o777 == 0o700
        assert (state / ".gitignore").read_text() == "*\n"
    assert not state.exists()


def test_what_others_keep_there_stays(state):
    state_directory(state / "runs")
    (state / "run-of-a-person").write_text("no directory of ours")
    with private_directory(state, "run-"):
        pass
    assert sorted(path.name for path in state.iterdir()) == [".gitignore", "run-of-a-person", "runs"]


def test_next_run_sweeps_what_a_killed_one_left_and_leaves_a_living_one_alone(state):
    (killed, (left, sockets)), (living, (kept, _)) = hold(state), hold(state)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert Path(left).exists()
    assert Path(sockets).exists()
    with private_directory(state, "run-"):
        assert not Path(left).exists()
        assert not Path(sockets).exists()
        assert Path(kept).exists()
    living.communicate("")
    assert runs(state) == []


def test_link_to_something_else_is_not_followed(state, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    state.mkdir()
    (state / "run-link").symlink_to(theirs)
    left = state / "run-left"
    left.mkdir()
    (left / "sockets").symlink_to(theirs)
    with private_directory(state, "run-"):
        assert not left.exists()
    assert theirs.is_dir()


def test_tmpdir_too_long_for_sockets(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 130)))
    made = socket_directory(tmp_path)
    assert len(str(made)) < 70
    made.rmdir()


def test_no_directory_is_short_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / ("x" * 130)))
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UsageError, match="set TMPDIR to a directory with a short path"):
        socket_directory(tmp_path)


def test_directory_that_cannot_be_written_is_said_in_one_sentence():
    # Not even root makes directories here.
    with pytest.raises(UsageError, match=r"^/proc/self cannot be written to .*change to a directory of yours"):
        state_directory(Path("/proc/self/.kubestrap"))
