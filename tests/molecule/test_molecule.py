"""The roles that stand alone, on real hosts: looked at, made, made again, verified."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_scenario_passes(upstream: Path) -> None:
    environment = {
        **os.environ,
        "MOLECULE_GLOB": "tests/molecule/*/molecule.yml",
        "UPSTREAM_VARIABLES": str(upstream),
        # Molecule calls Ansible's programs by name.
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    molecule = [sys.executable, "-m", "molecule", "--base-config", "tests/molecule/config.yml"]
    try:
        code = subprocess.run(
            [*molecule, "test", "--all", "--report"], cwd=ROOT, env=environment, check=False
        ).returncode
    finally:
        # It leaves the hosts behind when creating them fails.
        down = [sys.executable, "-m", "kubestrap", "lab", "down", "--name", "molecule"]
        subprocess.run(down, cwd=ROOT, check=False)
    assert code == 0, "molecule says above what failed"
