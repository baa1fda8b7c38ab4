from kubestrap.lab import hosts
from kubestrap.lab.hosts import Host
from kubestrap.lab.machine import Machine


def options(*, cgroup_version: int, may_raise_limits: bool) -> str:
    machine = Machine(cgroup_version=cgroup_version, may_raise_limits=may_raise_limits, nameservers=())
    return " ".join(hosts.privileges(machine))


def test_an_ordinary_machine_gets_plain_privileges() -> None:
    assert options(cgroup_version=2, may_raise_limits=True) == "--privileged --cgroupns=private"


def test_without_sys_resource_nothing_asks_for_it() -> None:
    words = options(cgroup_version=2, may_raise_limits=False)
    assert "--privileged" not in words
    assert "--cap-add ALL --cap-drop SYS_RESOURCE" in words


def test_systemd_is_told_of_cgroup_version_1_only_there() -> None:
    assert "LEGACY_FORCE" in options(cgroup_version=1, may_raise_limits=True)
    assert "LEGACY_FORCE" not in options(cgroup_version=2, may_raise_limits=True)


def test_control_planes_come_first_and_numbers_count() -> None:
    names = ["demo-worker10", "demo-worker2", "demo-cp1"]
    members = [Host(name=n, group="control_plane" if "cp" in n else "workers", address="") for n in names]
    assert [host.name for host in sorted(members, key=hosts.order)] == ["demo-cp1", "demo-worker2", "demo-worker10"]


def test_half_made_hosts_are_not_usable() -> None:
    states = {
        state: Host(name="a", group="workers", address="", state=state).usable for state in ("running", "created", "")
    }
    assert states == {"running": True, "created": False, "": False}
