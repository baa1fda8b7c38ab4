"""`kubestrap init`: an inventory that the other commands accept."""

from tests.conftest import Hosts, Program


def test_starter_inventory_leads_to_a_check(bare: Hosts, program: Program) -> None:
    address = bare.sh("cp1", "hostname -I").split()[0]
    path = program.directory / "starter.yml"
    program.run("init", address, "--accept-host-keys", "-o", path)
    assert program.run("init", address, "-o", path, expect=2).stderr.count(str(path.name)) >= 1
    # The key is the lab's, so the login is refused: by then name, port and host key were in order.
    result = program.run("check", "-i", path, expect=4)
    assert address in result.stdout + result.stderr
