import shlex
import stat
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml
from kubestrap.errors import UsageError
from kubestrap.lab import engine, labs

SUBNET = IPv4Network("10.200.3.0/24")


def up(
    name: str = "demo", *, shape: tuple[int, int] = (1, 1), system: str = "debian-13", variables: Sequence[Path] = ()
) -> None:
    labs.up(
        name=name,
        shape=labs.Shape(control_planes=shape[0], workers=shape[1]),
        system=system,
        variables=variables,
        directory=Path("/nonexistent"),
        report=lambda _: None,
    )


def test_addresses_stay_when_hosts_come() -> None:
    small = labs.plan("demo", labs.Shape(control_planes=1, workers=1), SUBNET)
    large = labs.plan("demo", labs.Shape(control_planes=3, workers=2), SUBNET)
    assert set(small) < set(large)
    assert [(host.name, host.address) for host in small] == [
        ("demo-cp1", "10.200.3.11"),
        ("demo-worker1", "10.200.3.101"),
    ]
    assert len({host.address for host in large}) == len(large)


def test_the_largest_lab_fits_its_subnet() -> None:
    shape = labs.Shape(control_planes=labs.MOST_CONTROL_PLANES, workers=labs.MOST_WORKERS)
    members = labs.plan("demo", shape, SUBNET)
    assert len({host.address for host in members}) == labs.MOST_CONTROL_PLANES + labs.MOST_WORKERS


@pytest.mark.parametrize("directory", ["/srv/lab", "/srv/it's a lab"])
def test_the_inventory_says_how_to_reach_the_hosts(directory: str) -> None:
    files = Path(directory)
    members = labs.plan("demo", labs.Shape(control_planes=1, workers=0), SUBNET)
    inventory = yaml.safe_load(labs.inventory("demo", members, files))
    assert inventory["control_plane"]["hosts"] == {"demo-cp1": {"ansible_host": "10.200.3.11"}}
    assert inventory["workers"]["hosts"] == {}
    variables = inventory["all"]["vars"]
    assert variables["cluster_name"] == "demo"
    assert variables["cluster_accepted_findings"] == ["disk-low"]
    assert variables["ansible_user"] == "root"
    assert variables["ansible_ssh_private_key_file"] == f"{directory}/key"
    words = shlex.split(variables["ansible_ssh_common_args"])
    assert "StrictHostKeyChecking=yes" in words
    quoted = f'"{directory}/known_hosts"' if " " in directory else f"{directory}/known_hosts"
    assert f"UserKnownHostsFile={quoted}" in words


def test_a_second_network_is_that_of_the_nodes() -> None:
    members = labs.plan("demo", labs.Shape(control_planes=1, workers=1), SUBNET)
    both = [labs.in_both_networks(host, [SUBNET, IPv4Network("10.200.4.0/24")]) for host in members]
    inventory = yaml.safe_load(labs.inventory("demo", both, Path("/srv")))
    assert inventory["workers"]["hosts"] == {
        "demo-worker1": {"ansible_host": "10.200.3.101", "cluster_node_address": "10.200.4.101"}
    }
    assert [labs.in_both_networks(host, [SUBNET]) for host in members] == members


@pytest.mark.parametrize(("planes", "address"), [(1, None), (3, "10.200.3.9")])
def test_several_control_planes_get_an_address_for_their_api(planes: int, address: str | None) -> None:
    members = labs.plan("demo", labs.Shape(control_planes=planes, workers=1), SUBNET)
    variables = yaml.safe_load(labs.inventory("demo", members, Path("/srv")))["all"]["vars"]
    assert variables.get("cluster_api_virtual_address") == address
    assert address not in {host.address for host in members}


def test_a_name_that_looks_like_a_boolean_stays_text() -> None:
    text = labs.inventory("on", [], Path("/srv"))
    assert yaml.safe_load(text)["all"]["vars"]["cluster_name"] == "on"


@pytest.mark.parametrize("name", ["", "Demo", "1demo", "demo-", "de_mo", "a" * 41, "../demo"])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="lower-case letters"):
        up(name)


@pytest.mark.parametrize(
    ("shape", "flag"), [((0, 1), "--control-planes 0"), ((1, -1), "--workers -1"), ((1, 51), "--workers 51")]
)
def test_an_impossible_shape_is_refused(shape: tuple[int, int], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        up(shape=shape)


def test_an_unknown_system_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"debian-12"):
        up(system="plan-9")


def test_variables_files_are_checked_first(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        up(variables=[tmp_path / "none.yml"])
    (tmp_path / "vars.txt").touch()
    with pytest.raises(UsageError, match="rename"):
        up(variables=[tmp_path / "vars.txt"])
    (tmp_path / "vars.yml").touch()
    with pytest.raises(UsageError, match=r"two files are called vars\.yml"):
        up(variables=[tmp_path / "vars.yml", tmp_path / "vars.yml"])


def test_without_root_and_docker_the_person_learns_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "is_running", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="run this command as root") as caught:
        up()
    assert caught.value.exit_code == 2


def test_files_are_private_and_written_only_when_they_differ(tmp_path: Path) -> None:
    path = tmp_path / "group_vars/all/site.yml"
    assert labs._write(path, "a: 1\n")
    before = path.stat()
    assert stat.S_IMODE(before.st_mode) == 0o600
    assert not labs._write(path, "a: 1\n")
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert labs._write(path, "a: 2\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["site.yml"]
