import os
import subprocess
from pathlib import Path

from kubestrap.lab.engine import forget_ended_engines


def test_pid_file_that_names_another_program_goes(tmp_path: Path) -> None:
    (tmp_path / "docker.pid").write_text(f"{os.getpid()}\n")
    forget_ended_engines(tmp_path)
    assert not (tmp_path / "docker.pid").exists()


def test_pid_file_of_a_process_that_ended_goes(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    (tmp_path / "docker.pid").write_text(str(ended.pid))
    forget_ended_engines(tmp_path)
    assert not (tmp_path / "docker.pid").exists()


def test_pid_file_of_a_running_engine_stays(tmp_path: Path) -> None:
    program = tmp_path / "dockerd"
    program.write_text("#!/bin/sh\nread line\n")
    program.chmod(0o755)
    with subprocess.Popen([program], stdin=subprocess.PIPE) as engine:
        (tmp_path / "docker.pid").write_text(str(engine.pid))
        forget_ended_engines(tmp_path)
        assert (tmp_path / "docker.pid").exists()
