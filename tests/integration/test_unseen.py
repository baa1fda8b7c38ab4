"""What the connection prints at high verbosity, with real Ansible and a stand-in for ssh that runs commands here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SSH = '#!/bin/sh\nfor word; do last=$word; done\nexec sh -c "$last"\n'


@pytest.mark.parametrize(
    ("module", "hidden"),
    [
        # Whatever these return, from a machine that is a node or from one that is none.
        ("kubestrap.cluster.kubeconfig", True),
        ("kubestrap.cluster.kubernetes_apply", True),
        ("ansible.builtin.ping", False),
    ],
)
def test_answers_with_secrets_are_not_printed_by_the_connection(tmp_path: Path, module: str, hidden: bool) -> None:
    program = tmp_path / "ssh"
    program.write_text(SSH)
    program.chmod(0o700)
    arguments = {
        "kubestrap.cluster.kubeconfig": {"context": "c", "path": str(tmp_path / "kubeconfig")},
        "kubestrap.cluster.kubernetes_apply": {"objects": []},
        "ansible.builtin.ping": {"data": "pong"},
    }[module]
    variables = {"ansible_ssh_executable": str(program), "ansible_python_interpreter": sys.executable}
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible", "host", "-i", "host,", "-e", json.dumps(variables), "-vvv",
         "-m", module, "-a", json.dumps(arguments)],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1", "HOME": str(tmp_path)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )  # fmt: skip
    assert "SSH: EXEC" in done.stdout, done.stdout + done.stderr
    assert ("stdout and stderr censored due to no log" in done.stdout) is hidden, done.stdout
