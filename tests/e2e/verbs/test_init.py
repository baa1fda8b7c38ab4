"""`kubestrap init`: an inventory that the other commands accept."""

import subprocess

import yaml

from tests.conftest import Hosts, Program


def test_starter_inventory_leads_to_a_check(bare: Hosts, program: Program) -> None:
    inventory = yaml.safe_load(bare.inventory.read_text())
    address = inventory["control_plane"]["hosts"][bare.host("cp1")]["ansible_host"]
    path = program.directory / "starter.yml"
    try:
        program.run("init", address, "--accept-host-keys", "-o", path)
        assert path.name in program.run("init", address, "-o", path, expect=2).stderr
        # The key is the lab's, so the login is refused: by then name, port and host key were in order.
        result = program.run("check", "-i", path, expect=4)
    finally:
        # ssh knows the account's own file only, whatever HOME says; a later lab may get the same address.
        subprocess.run(["ssh-keygen", "-R", address], check=False, capture_output=True)
    assert "login" in result.stdout
