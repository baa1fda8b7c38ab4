"""What playbooks/group_vars/all/ makes of what the user says."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.kubestrap.cluster.plugins.module_utils import versions
from ansible_collections.kubestrap.cluster.plugins.module_utils.runtimes.runtime import RUNTIMES

ROOT = Path(__file__).parents[2]
GROUP_VARS = ROOT / "playbooks/group_vars/all"
FACTS = {"kubestrap": {"default_address": "10.0.0.11", "node_network": "10.0.0.0/24"}}


def value(name: str, *, facts: dict[str, Any] | None = None, **said: Any) -> Any:
    """The value of a variable for the first control plane."""
    loader = DataLoader()
    variables = {
        **yaml.safe_load((ROOT / "roles/cluster/defaults/main.yml").read_text()),
        **loader.load_from_file(str(GROUP_VARS / "wiring.yml"), trusted_as_template=True),
        **loader.load_from_file(str(GROUP_VARS / "derived.yml"), trusted_as_template=True),
        "groups": {"control_plane": ["cp"], "workers": ["w"]},
        "inventory_hostname": "cp",
        "ansible_facts": facts or {},
        "hostvars": {"cp": {"ansible_facts": facts or {}, **said}, "w": {**said}},
        **said,
    }
    return Templar(loader=loader, variables=variables).template(variables[name])


def test_without_a_proxy_there_is_none() -> None:
    assert value("__cluster_proxy", facts=FACTS) == {}


def test_one_address_serves_both() -> None:
    proxy = value("__cluster_proxy", facts=FACTS, cluster_http_proxy="http://p:1")
    assert (proxy["http"], proxy["https"]) == ("http://p:1", "http://p:1")
    proxy = value("__cluster_proxy", facts=FACTS, cluster_https_proxy="http://p:2")
    assert (proxy["http"], proxy["https"]) == ("", "http://p:2")


def test_what_goes_around_the_proxy() -> None:
    assert value("__cluster_no_proxy", facts=FACTS, cluster_no_proxy=[".example.com", "localhost"]) == [
        "localhost",
        "127.0.0.1",
        "::1",
        "10.0.0.0/24",
        "10.0.0.11",
        "10.244.0.0/16",
        "10.96.0.0/12",
        ".svc",
        ".cluster.local",
        ".example.com",
    ]


@pytest.mark.parametrize(
    ("endpoint", "expected"), [("api.example.com:6443", "api.example.com"), ("10.9.9.9:443", "10.9.9.9")]
)
def test_the_api_is_reached_directly(endpoint: str, expected: str) -> None:
    assert expected in value("__cluster_no_proxy", facts=FACTS, cluster_api_endpoint=endpoint)


def test_before_the_first_look_at_a_host_the_rest_is_known() -> None:
    assert value("__cluster_no_proxy")[:4] == ["localhost", "127.0.0.1", "::1", "10.244.0.0/16"]


def test_the_address_of_the_api_goes_around_the_proxy_too() -> None:
    assert "10.0.0.100" in value("__cluster_no_proxy", facts=FACTS, cluster_api_virtual_address="10.0.0.100")


@pytest.mark.parametrize(
    ("said", "endpoint"),
    [
        ({}, "10.0.0.11:6443"),
        ({"cluster_node_address": "10.9.0.11"}, "10.9.0.11:6443"),
        ({"cluster_api_virtual_address": "10.0.0.100"}, "10.0.0.100:6443"),
        ({"cluster_api_endpoint": "api.example.com:443"}, "api.example.com:443"),
    ],
)
def test_where_the_api_is_reached(said: dict[str, Any], endpoint: str) -> None:
    assert value("__cluster_api_endpoint", facts=FACTS, **said) == endpoint


def entry(**facts: dict[str, Any] | None) -> Any:
    """The control plane everyone works through; None for one that was not looked at."""
    hostvars = {
        name: {"inventory_hostname": name, "ansible_facts": {} if known is None else {"kubestrap": known}}
        for name, known in facts.items()
    }
    return value("__cluster_entry_control_plane", facts=FACTS, groups={"control_plane": list(facts)}, hostvars=hostvars)


def test_the_control_plane_to_work_through_is_one_that_works() -> None:
    bare: dict[str, Any] = {"is_control_plane": False}
    down, up = ({"is_control_plane": True, "api_ready": ready} for ready in (False, True))
    assert entry(a=bare, b=bare) == "a"
    assert entry(a=bare, b=down, c=up) == "c"
    assert entry(a=up, b=up) == "a"
    assert entry(a=bare, b=down) == "b"
    assert entry(a=None, b=bare, c=up) == "c"
    assert entry(a=None, b=None) == "a"


@pytest.mark.parametrize(
    ("said", "expected"),
    [({}, ["docker"]), ({"cluster_container_runtime": "containerd"}, ["containerd"])],
)
def test_runtimes_of_all_hosts_are_known_also_of_those_that_say_nothing(
    said: dict[str, str], expected: list[str]
) -> None:
    assert value("__cluster_container_runtimes", **said) == expected


def test_runtimes_of_hosts_that_differ_are_all_told() -> None:
    hosts = {"cp": {"cluster_container_runtime": "containerd"}, "w": {}}
    assert value("__cluster_container_runtimes", hostvars=hosts) == ["containerd", "docker"]


@pytest.mark.parametrize("runtime", ["docker", "containerd"])
def test_all_who_speak_with_the_runtime_of_a_host_use_its_socket(runtime: str) -> None:
    names = ("kubernetes_packages_runtime_socket", "control_plane_cri_socket", "worker_cri_socket")
    (socket,) = {value(name, cluster_container_runtime=runtime) for name in names}
    assert runtime in socket


@pytest.mark.parametrize(("writable", "expected"), [(True, True), (False, False)])
def test_a_host_that_is_set_aside_says_nothing_about_the_others(writable: bool, expected: bool) -> None:
    looked_at = {"ansible_facts": {"kubestrap": {"conntrack_writable": writable}}}
    hostvars = {"cp": looked_at, "w": {"ansible_facts": {}}}
    assert value("control_plane_conntrack_writable", hostvars=hostvars) is expected


@pytest.mark.parametrize(("here", "gets"), [(["a", "b"], ["a"]), (["b"], ["b"])])
def test_operator_has_the_credentials_of_the_first_control_plane_also_when_it_was_made_anew(
    here: list[str], gets: list[str]
) -> None:
    bare, up = ({"kubestrap": {"is_control_plane": ready, "api_ready": ready}} for ready in (False, True))
    hostvars = {name: {"inventory_hostname": name, "ansible_facts": facts} for name, facts in (("a", bare), ("b", up))}
    found = [
        name
        for name in here
        if value(
            "kubeconfig_path",
            inventory_hostname=name,
            ansible_play_hosts=here,
            groups={"control_plane": ["a", "b"]},
            hostvars=hostvars,
            cluster_kubeconfig="~/.kube/config",
        )
    ]
    assert found == gets


WIRED = sorted(
    name
    for name in yaml.safe_load((GROUP_VARS / "wiring.yml").read_text())
    if name.startswith(("api_endpoint", "control_plane_", "kubeconfig_", "health_", "worker_"))
)


@pytest.mark.parametrize("name", WIRED)
def test_everything_is_known_without_the_first_control_plane(name: str) -> None:
    known = {
        **FACTS["kubestrap"],
        "hostname": "b",
        "resolver": "/r",
        "cgroup_version": 2,
        "swap_stays_on": False,
        "conntrack_writable": True,
        "is_control_plane": True,
        "api_ready": True,
    }
    facts = {"kubestrap": known}
    value(
        name,
        facts=facts,
        inventory_hostname="b",
        ansible_play_hosts=["b"],
        ansible_play_hosts_all=["b"],
        groups={"control_plane": ["a", "b"], "workers": []},
        hostvars={
            "a": {"inventory_hostname": "a", "ansible_facts": {}, "__cluster_node_address": ""},
            "b": {"inventory_hostname": "b", "ansible_facts": facts, "__cluster_node_address": "10.0.0.11"},
        },
        cluster_api_virtual_address="10.0.0.100",
    )


def test_names_of_an_inventory_do_not_win_over_ours(tmp_path: Path) -> None:
    theirs = {"proxy": "http://theirs", "node_address": "theirs", "api_endpoint": "theirs", "no_proxy": "theirs"}
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"control_plane": {"hosts": {"cp": theirs}}}))
    command = [
        Path(sys.executable).parent / "ansible-inventory",
        "-i",
        tmp_path / "hosts.yml",
        "--playbook-dir",
        ROOT / "playbooks",
        "--host",
        "cp",
    ]
    seen = json.loads(subprocess.run(command, check=True, capture_output=True, cwd=tmp_path).stdout)
    ours = yaml.safe_load((GROUP_VARS / "derived.yml").read_text())
    assert {name: seen[name] for name in ours} == ours
    assert {name for name in ours if not name.startswith("__cluster_")} == set()


def test_what_status_knows_of_the_hosts() -> None:
    found = value("health_inventory", facts=FACTS, ansible_host="192.0.2.1")
    assert [list(one) for one in found] == [["cp", "192.0.2.1", ""], ["w", "192.0.2.1", ""]]


@pytest.mark.parametrize("playbook", sorted((ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_no_host_runs_ahead_of_the_verdict(playbook: Path) -> None:
    # With `strategy = free` in somebody's ansible.cfg, run_once is once a host, and throttle no order.
    for play in yaml.safe_load(playbook.read_text()):
        assert play["strategy"] == "ansible.builtin.linear"


def test_pause_has_the_digest_that_is_demanded_of_it() -> None:
    digest = f"sha256:{'ab' * 32}"
    assert value("__cluster_pause_image") == "registry.k8s.io/pause:3.10.2"
    pins = {"r.example:5000/pause:3.10.2": digest}
    pinned = value("__cluster_pause_image", cluster_image_registry="r.example:5000", cluster_image_digests=pins)
    assert pinned == f"r.example:5000/pause:3.10.2@{digest}"
    assert value("addons_image_digests", cluster_image_digests=pins) == pins
    assert value("pod_network_image_digests", cluster_image_digests=pins) == pins


@pytest.mark.parametrize("version", ["1.35", "v1.35", "1.35.3", "v1.35.3"])
def test_a_version_has_one_pause_image_however_it_is_written(version: str) -> None:
    assert value("__cluster_pause_image", cluster_kubernetes_version=version) == "registry.k8s.io/pause:3.10.1"


def test_each_minor_has_the_pause_image_that_its_row_names() -> None:
    for minor, row in versions.MINORS.items():
        image = value("__cluster_pause_image", cluster_kubernetes_version=f"1.{minor}.0")
        assert image == f"registry.k8s.io/pause:{row.pause}"


def test_each_runtime_is_reached_at_the_socket_that_its_row_names() -> None:
    assert value("__cluster_runtime_sockets") == {name: one.socket for name, one in RUNTIMES.items()}
