"""One cluster through everything that may be in between: two networks, a bastion, sudo, a port, two inventories."""

import base64
import json
import shlex
import shutil
import ssl
import subprocess
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.conftest import APP, IMAGE

PASSWORD = "s3cret {{sudo}} 'pw"  # noqa: S105
BASTION = "worker2"
PORT = 2222

# A host that lets in one user, by key, who needs a password for sudo, on another port, and only from the bastion.
# Of the cluster's network, the operator's machine (its .1) sees nothing.
HARDEN = """
useradd -m -s /bin/bash deploy
install -d -o deploy -m 700 ~deploy/.ssh
install -o deploy -m 600 /root/.ssh/authorized_keys ~deploy/.ssh/
chpasswd <<'END'
deploy:{password}
END
printf 'deploy ALL=(ALL) ALL\\nDefaults timestamp_timeout=0\\n' > /etc/sudoers.d/deploy
printf 'Port {port}\\nPermitRootLogin no\\n' > /etc/ssh/sshd_config.d/site.conf
systemctl restart ssh
iptables -I INPUT -p tcp --dport {port} ! -s {bastion} -j DROP
iptables -t mangle -I PREROUTING -s {operator} -j DROP
"""
OPEN = """
useradd -m jump
install -d -o jump -m 700 ~jump/.ssh
install -o jump -m 600 /root/.ssh/authorized_keys ~jump/.ssh/
"""


@dataclass(frozen=True, kw_only=True)
class Site:
    """Two inventories of one cluster, and what a person types besides."""

    hosts: Hosts
    inventories: tuple[Path, Path]
    ssh_config: Path
    addresses: dict[str, tuple[str, str]]
    """Management and cluster address of each host."""

    @property
    def options(self) -> Sequence[str | Path]:
        """The options of every verb."""
        return [word for path in self.inventories for word in ("-i", path)]


@pytest.fixture(scope="module")
def bare_site(make_lab: Callable[..., Hosts], upstream: Path, app: Path) -> Site:  # noqa: ARG001 - the app's image
    """The control plane behind a jump host; the worker, in an inventory elsewhere, behind a proxy command."""
    hosts = make_lab("access", "--workers", "2", "--cluster-network")
    lab = hosts.inventory.parent
    written = yaml.safe_load(hosts.inventory.read_text())
    found = {**written["control_plane"]["hosts"], **written["workers"]["hosts"]}
    addresses = {
        name.removeprefix(f"{hosts.name}-"): (one["ansible_host"], one["cluster_node_address"])
        for name, one in found.items()
    }
    bastion = addresses[BASTION][0]
    operator = addresses["cp1"][1].rpartition(".")[0] + ".1"
    for host in ("cp1", "worker1"):
        hosts.sh(host, HARDEN.format(password=PASSWORD, port=PORT, bastion=bastion, operator=operator))
    hosts.sh(BASTION, OPEN)
    # Interfaces are not called alike everywhere.
    hosts.sh("worker1", "ip link set eth1 down; ip link set eth1 name cluster0; ip link set cluster0 up")

    config = lab / "ssh_config"
    config.write_text(
        f"Host gate\n HostName {bastion}\n User jump\n IdentityFile {lab}/key\n UserKnownHostsFile {lab}/known_hosts\n"
    )
    known = f"-o UserKnownHostsFile={lab}/known_hosts"
    through = f"ssh -q -i {{{{ inventory_dir }}}}/key -o UserKnownHostsFile={lab}/known_hosts -W %h:%p jump@{bastion}"
    site_a, site_b = lab / "site-a", lab / "site-b"
    for directory in (site_a, site_b):
        (directory / "group_vars").mkdir(parents=True)
        shutil.copy(lab / "key", directory / "key")
    shutil.copytree(APP / "k8s", site_a / "k8s")
    _write(site_a / "group_vars/all.yml", yaml.safe_load(upstream.read_text()))
    # Said by the second inventory; relative paths start at the first one.
    _write(
        site_b / "group_vars/all.yml", {"cluster_app_manifests": ["k8s"], "cluster_app_images": [IMAGE, "small.tar"]}
    )
    _save_image(site_a / "small.tar")
    access = {
        "ansible_user": "deploy",
        "ansible_port": PORT,
        "ansible_ssh_private_key_file": "{{ inventory_dir }}/key",
    }
    cp1, worker1 = hosts.host("cp1"), hosts.host("worker1")
    _write(
        site_a / "inventory.yml",
        {
            "control_plane": {
                "hosts": {cp1: found[cp1]},
                "vars": {**access, "ansible_ssh_common_args": f"-F {config} -J gate {known}"},
            },
            "all": {"vars": {"cluster_name": hosts.name}},
        },
    )
    _write(
        site_b / "inventory.yml",
        {
            "workers": {
                "hosts": {worker1: found[worker1]},
                "vars": {**access, "ansible_ssh_common_args": f'{known} -o ProxyCommand="{through}"'},
            }
        },
    )
    return Site(
        hosts=hosts,
        inventories=(site_a / "inventory.yml", site_b / "inventory.yml"),
        ssh_config=config,
        addresses=addresses,
    )


@pytest.fixture(scope="module")
def operator(program: Program, tmp_path_factory: pytest.TempPathFactory) -> Program:
    """The program of somebody who keeps the sudo password in a file of theirs."""
    secret = tmp_path_factory.mktemp("secret") / "sudo"
    secret.touch(mode=0o600)
    secret.write_text(PASSWORD + "\n")
    return replace(program, environment={**program.environment, "ANSIBLE_BECOME_PASSWORD_FILE": str(secret)})


@pytest.fixture(scope="module")
def site(bare_site: Site, operator: Program, prove: Callable[..., None]) -> Site:
    """The cluster of both sites."""
    topology = "1 control plane + 1 worker, two networks, bastion"
    prove(bare_site.hosts, topology=topology, options=bare_site.options, operator=operator)
    return bare_site


def _write(path: Path, data: object) -> None:
    path.write_text(yaml.safe_dump(data, width=1000))


def _save_image(path: Path) -> None:
    name = "kubestrap-e2e-small:1"
    empty = subprocess.run(["tar", "-c", "-T", "/dev/null"], check=True, capture_output=True).stdout
    subprocess.run(["docker", "import", "-", name], input=empty, check=True, capture_output=True)
    subprocess.run(["docker", "save", "-o", path, name], check=True)
    subprocess.run(["docker", "rmi", name], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("arguments", "cause", "times"),
    [
        # What is true of both hosts is said once; the address behind the bastion is another for each.
        ([], "sudo asks deploy for a password", 1),
        (["-e", "ansible_become_password=nope"], "sudo refuses the password of deploy", 1),
        (["-e", "ansible_port=22"], "answers, but from there", 2),
    ],
)
def test_hop_that_fails_is_named(
    bare_site: Site, program: Program, arguments: list[str], cause: str, times: int
) -> None:
    result = program.run("check", *bare_site.options, *arguments, expect=4)
    assert result.stdout.count(cause) == times
    assert all(bare_site.hosts.host(name) in result.stdout for name in ("cp1", "worker1"))
    assert "nope" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("before", "after", "cause"),
    [
        ("HostName .*", "HostName {silent}", "the bastion (gate) cannot be reached"),
        ("UserKnownHostsFile .*", "UserKnownHostsFile /dev/null", "the host key of the bastion (gate) is not known"),
        ("User .*", "User nobody-here", "the bastion (gate) refuses the login as nobody-here@"),
    ],
)
def test_bastion_that_fails_is_named(
    bare_site: Site, operator: Program, tmp_path: Path, before: str, after: str, cause: str
) -> None:
    # Nobody has this address of the lab's own network.
    silent = bare_site.addresses[BASTION][0].rpartition(".")[0] + ".254"
    config = tmp_path / "ssh_config"
    edit = ["sed", f"s#{before}#{after.format(silent=silent)}#", bare_site.ssh_config]
    config.write_text(subprocess.run(edit, check=True, capture_output=True, text=True).stdout)
    arguments = json.dumps({"ansible_ssh_common_args": f"-F {config} -J gate"})
    result = operator.run("check", *bare_site.options, "-e", arguments, expect=4)
    assert cause in result.stdout
    assert result.seconds < 60


def test_nodes_are_in_the_network_of_the_cluster(site: Site, measured: Callable[[str, str], None]) -> None:
    hosts = site.hosts
    for host in ("cp1", "worker1"):
        management, cluster = site.addresses[host]
        node = json.loads(hosts.kubectl("get", "node", hosts.host(host), "-o", "json"))
        internal = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
        assert internal == [cluster]
        assert node["metadata"]["annotations"]["flannel.alpha.coreos.com/public-ip"] == cluster
        link = json.loads(hosts.sh(host, "ip -json -d link show flannel.1"))[0]["linkinfo"]["info_data"]
        assert link["local"] == cluster
        # The configuration we wrote has it too: people may reach the API server under it.
        files = hosts.sh(host, f"grep -rlF {management} /etc/kubernetes /var/lib/kubelet/*.* || true").split()
        assert [path for path in files if not path.startswith("/etc/kubernetes/kubestrap/")] == []
    measured("several addresses per host", "nodes, VXLAN, API and etcd in the second network, SSH in the first")


def test_control_plane_listens_where_the_cluster_is(site: Site) -> None:
    hosts = site.hosts
    management, cluster = site.addresses["cp1"]
    slices = hosts.kubectl(
        "get", "endpointslices", "-n", "default", "kubernetes", "-o", "jsonpath={.endpoints[*].addresses[*]}"
    )
    assert slices == cluster
    names = hosts.sh("cp1", "openssl x509 -in /etc/kubernetes/pki/apiserver.crt -noout -ext subjectAltName")
    assert f"IP Address:{cluster}" in names
    assert f"IP Address:{management}" in names
    etcd = hosts.sh("cp1", "openssl x509 -in /etc/kubernetes/pki/etcd/server.crt -noout -ext subjectAltName")
    assert cluster in etcd
    assert management not in etcd
    assert management not in hosts.sh("cp1", "ss -Hltn 'sport = :2379 or sport = :2380'")


def test_operator_reaches_the_api_at_the_address_of_the_host(site: Site, operator: Program) -> None:
    file = yaml.safe_load((Path(operator.environment["HOME"]) / ".kube/config").read_text())
    cluster = next(one["cluster"] for one in file["clusters"] if one["name"] == site.hosts.name)
    assert cluster["server"] == f"https://{site.addresses['cp1'][0]}:6443"
    authority = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
    version = f"{cluster['server']}/version"
    with urllib.request.urlopen(version, context=authority, timeout=10) as answer:  # noqa: S310 - it is https
        assert json.load(answer)["gitVersion"].startswith("v1.")


def test_app_answers_inside_and_that_is_said(site: Site, operator: Program) -> None:
    summary = operator.run("deploy", *site.options, "--output", "json").summary
    assert summary["changed"] == 0
    assert sorted(summary["app_urls"]) == sorted(
        f"http://{site.addresses[host][1]}:{summary['app_urls'][0].rpartition(':')[2]}" for host in ("cp1", "worker1")
    )
    assert "2 of 2 addresses do not answer to this machine" in summary["app"]["note"]
    for url in summary["app_urls"]:
        assert site.hosts.sh(BASTION, f"curl -s -o /dev/null -w '%{{http_code}}' {shlex.quote(url)}") == "200"


def test_images_came_through_the_bastion(site: Site, measured: Callable[[str, str], None]) -> None:
    for host in ("cp1", "worker1"):
        names = site.hosts.sh(host, "docker image ls --format '{{.Repository}}:{{.Tag}}'").split()
        assert {IMAGE, "kubestrap-e2e-small:1"} <= set(names)
    measured(
        "bastion, sudo with a password, other SSH port",
        "check, up, second up, deploy; image archives streamed through it",
    )
    measured("multi-cloud / hybrid", "control plane and worker in two inventories in two directories")


def test_no_password_is_left_anywhere(site: Site, operator: Program) -> None:
    kept = [path for path in (operator.directory / ".kubestrap/runs").rglob("*") if path.is_file()]
    assert kept
    assert [path for path in kept if PASSWORD in path.read_text(errors="replace")] == []
    for host in ("cp1", "worker1"):
        assert site.hosts.sh(host, "journalctl -o cat --no-pager").count(PASSWORD) == 0
