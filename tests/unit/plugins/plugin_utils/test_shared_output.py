"""One command, several readers."""

import concurrent.futures
from pathlib import Path

import pytest
from ansible.errors import AnsibleActionFail
from ansible_collections.kubestrap.cluster.plugins.plugin_utils.shared_output import shared_output


def read(command: list[str], path: Path) -> bytes:
    with shared_output(command, path) as stream:
        return stream.read()


def test_the_command_runs_once_and_all_get_everything(tmp_path: Path) -> None:
    script = f"echo run >>{tmp_path}/runs; printf abc; sleep 0.1; printf def"
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: read(["sh", "-c", script], tmp_path / "output"), range(4)))
    assert got == [b"abcdef"] * 4
    assert (tmp_path / "runs").read_text() == "run\n"


def test_one_who_comes_late_gets_everything(tmp_path: Path) -> None:
    assert read(["echo", "x"], tmp_path / "output") == read(["echo", "x"], tmp_path / "output") == b"x\n"


def test_one_who_leaves_early_does_not_disturb_the_others(tmp_path: Path) -> None:
    script = ["sh", "-c", "printf abc; sleep 0.1; printf def"]
    with shared_output(script, tmp_path / "output") as stream:
        stream.read(1)
    assert read(script, tmp_path / "output") == b"abcdef"


def test_all_learn_of_a_failure(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(AnsibleActionFail, match="exit code 3"):
            read(["sh", "-c", "echo x; exit 3"], tmp_path / "output")


def test_a_writer_that_was_killed_ends_the_wait(tmp_path: Path) -> None:
    killed = ["sh", "-c", "printf abc; kill -9 $PPID; kill -9 $$"]
    for _ in range(2):
        with pytest.raises(AnsibleActionFail, match="was ended in the middle"):
            read(killed, tmp_path / "output")
