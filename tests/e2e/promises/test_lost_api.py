"""A control plane whose API is silent, or of which something is missing, is told about: never wiped, never removed."""

import re
import subprocess
from collections.abc import Callable

import pytest
import yaml

from tests.conftest import Hosts, Program
from tests.e2e.promises.test_high_availability import address_of, give_address, healthy_members, kubectl, wait_until

K = "/etc/kubernetes"
READY = f"kubectl --kubeconfig {K}/admin.conf get --raw /readyz"
# Certificates, the identity of etcd's data, and when they were made.
WORTH = f"sha256sum {K}/pki/ca.crt {K}/pki/ca.key; stat -c '%i %n' /var/lib/etcd/member"
EMBED = r"""
import base64, pathlib, re
path = pathlib.Path("/etc/kubernetes/kubelet.conf")
pem = pathlib.Path("/var/lib/kubelet/pki/kubelet-client-current.pem").read_bytes()
data = base64.b64encode(pem).decode()
text = re.sub(r"client-(certificate|key): \S+", lambda found: f"client-{found[1]}-data: {data}", path.read_text())
path.write_text(text)
"""
PODS_STOP = "systemctl stop kubelet; crictl ps -q | xargs -r crictl stop -t 5; crictl pods -q | xargs -r crictl stopp"
TYPO = f"sed -i 's/127.0.0.1:2379/127.0.0.1:2378/' {K}/manifests/kube-apiserver.yaml"
NO_TYPO = f"sed -i 's/127.0.0.1:2378/127.0.0.1:2379/' {K}/manifests/kube-apiserver.yaml"


def cut(hosts: Hosts, program: Program, name: str, *, when: str) -> None:
    """Start `up`, and kill kubeadm on a host, with no time to say goodbye, as soon as a condition holds there."""
    process = program.start("up", "-i", hosts.inventory)
    try:
        waiting = (
            f"for n in $(seq 1800); do if pgrep -x kubeadm >/dev/null && {when}; then exec pkill -9 -x kubeadm; fi"
        )
        hosts.sh(name, f"{waiting}; sleep 0.1; done; exit 1")
    finally:
        out, error = process.communicate(timeout=300)
    assert process.returncode == 5, out + error
    assert "killed" in out + error


def api_is_up(hosts: Hosts, name: str = "cp1") -> bool:
    return hosts.sh(name, READY).strip() == "ok"


def refused(hosts: Hosts, program: Program, *options: str) -> str:
    """What `up` says when it stops."""
    result = program.run("up", "-i", hosts.inventory, *options, expect=5)
    return " ".join((result.stdout + result.stderr).split())


@pytest.fixture(scope="module")
def one(make_lab: Callable[..., Hosts], program: Program) -> Hosts:
    """A control plane whose first init was killed in the middle, finished by the next run; a user's object is in it."""
    hosts = make_lab("lost", "--control-planes", "1", "--workers", "0")
    cut(hosts, program, "cp1", when=f"test -e {K}/manifests/etcd.yaml")
    assert "unfinished.json" in hosts.sh("cp1", f"ls {K}/kubestrap")
    program.run("up", "-i", hosts.inventory)
    assert "unfinished.json" not in hosts.sh("cp1", f"ls {K}/kubestrap")
    assert program.run("up", "-i", hosts.inventory, "--output", "json").summary["changed"] == 0
    hosts.kubectl("create", "configmap", "mine", "--from-literal=a=b")
    return hosts


def test_interrupted_runs_tokens_are_revoked_and_other_peoples_stay(
    one: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    assert "bootstrap-token" not in one.kubectl("get", "secrets", "-n", "kube-system", "-o", "name")
    one.sh("cp1", "kubeadm token create kst123.0123456789abcdef; kubeadm token create theirs.0123456789abcdef")
    program.run("up", "-i", one.inventory)
    tokens = one.kubectl("get", "secrets", "-n", "kube-system", "-o", "name")
    assert "bootstrap-token-kst123" not in tokens
    assert "bootstrap-token-theirs" in tokens
    measured("tokens of an interrupted run", "revoked by the next; another person's token stays")


def test_typo_and_kubelet_conf_with_an_embedded_certificate(one: Hosts, program: Program) -> None:
    one.sh("cp1", f"cp {K}/kubelet.conf /root/kubelet.conf; python3 - <<'END'\n{EMBED}\nEND\n{TYPO}")
    before = one.sh("cp1", WORTH)
    wait_until(lambda: "refused" in one.sh("cp1", f"{READY} 2>&1 || true"), 60)
    said = refused(one, program)
    assert "--etcd-servers=https://127.0.0.1:2378" in said
    assert "Nothing was removed" in said
    assert one.sh("cp1", WORTH) == before
    one.sh("cp1", f"mv /root/kubelet.conf {K}/kubelet.conf; {NO_TYPO}")
    wait_until(lambda: api_is_up(one), 120)
    assert one.kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}") == "b"


def test_kubelet_conf_moved_away(one: Hosts, program: Program) -> None:
    one.sh("cp1", f"mv {K}/kubelet.conf /root/kubelet.conf; {PODS_STOP}")
    before = one.sh("cp1", WORTH)
    said = refused(one, program)
    assert f"{K}/kubelet.conf is missing" in said
    assert one.sh("cp1", WORTH) == before
    one.sh("cp1", f"mv /root/kubelet.conf {K}/kubelet.conf; systemctl start kubelet")
    wait_until(lambda: api_is_up(one), 120)
    assert one.kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}") == "b"


def test_kubelet_that_is_stopped_is_started(one: Hosts, program: Program) -> None:
    one.sh("cp1", PODS_STOP)
    program.run("up", "-i", one.inventory)
    assert one.kubectl("get", "configmap", "mine", "-o", "jsonpath={.data.a}") == "b"


def test_restored_pki_and_etcd_then_moved_aside(
    one: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    # As on a host that was installed anew, with a backup put back: nothing else of a control plane is there.
    rest = f"{K}/manifests {K}/*.conf /var/lib/kubelet/config.yaml"
    one.sh("cp1", f"{PODS_STOP}; mkdir /root/rest; mv {rest} /root/rest/; mkdir {K}/manifests")
    before = one.sh("cp1", WORTH)
    said = refused(one, program)
    assert "data of etcd" in said
    assert "left alone" in said
    found = re.search(r"cluster_move_aside of this host \(\S+\) to (\w{12})", said)
    assert found, said
    # Consent to something else is none.
    refused(one, program, "-e", "cluster_move_aside=0123456789ab")
    assert one.sh("cp1", WORTH) == before

    program.run("up", "-i", one.inventory, "-e", f"cluster_move_aside={found[1]}")
    assert "mine" not in one.kubectl("get", "configmaps", "-o", "name")
    aside = one.sh("cp1", "echo /var/lib/kubestrap/aside/*").strip()
    kept = one.sh("cp1", WORTH.replace(f"{K}/", f"{aside}{K}/").replace("/var/lib/etcd", f"{aside}/var/lib/etcd"))
    assert kept.replace(aside, "") == before
    measured("a control plane with a silent API", "4 shapes: reason named, data, CA and objects untouched, exit 5")


def test_ca_of_the_persons_own_is_used(one: Hosts, program: Program) -> None:
    # What is left is what people have before they begin, their CA.
    one.sh("cp1", "kubeadm reset --force --cri-socket unix:///run/cri-dockerd.sock >/dev/null 2>&1")
    subprocess.run(
        ["docker", "exec", "-i", one.host("cp1"), "tar", "-C", K, "-x"],
        input=_own_ca(), check=True,
    )  # fmt: skip
    before = one.sh("cp1", f"sha256sum {K}/pki/ca.crt {K}/pki/ca.key")
    program.run("up", "-i", one.inventory)
    assert one.sh("cp1", f"sha256sum {K}/pki/ca.crt {K}/pki/ca.key") == before


def test_cluster_made_by_hand_that_advertises_another_address_of_its_host(one: Hosts, program: Program) -> None:
    docker0 = "172.17.0.1"
    address = yaml.safe_load(one.inventory.read_text())["control_plane"]["hosts"][one.host("cp1")]["ansible_host"]
    one.sh("cp1", "kubeadm reset --force --cri-socket unix:///run/cri-dockerd.sock >/dev/null 2>&1; "
                  f"sed 's/{address}/{docker0}/g' {K}/kubestrap/init.yaml > /root/by_hand.yaml; "
                  "kubeadm init --config /root/by_hand.yaml >/dev/null")  # fmt: skip
    before = one.sh("cp1", f"{WORTH}; systemctl show -p MainPID kubelet")
    result = program.run("up", "-i", one.inventory, expect=None)
    assert result.code in (3, 5), result.stdout
    said = result.stdout + result.stderr
    assert docker0 in said
    assert address in said
    assert "cluster_node_address" in said
    assert one.sh("cp1", f"{WORTH}; systemctl show -p MainPID kubelet") == before
    program.run("lab", "down", "--name", one.name)


def _own_ca() -> bytes:
    script = (
        "cd $(mktemp -d) && mkdir pki && openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=mine "
        "-keyout pki/ca.key -out pki/ca.crt 2>/dev/null && tar -c pki"
    )
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def three(make_lab: Callable[..., Hosts], program: Program) -> Hosts:
    """Three control planes, and a fourth host that is none yet."""
    hosts = make_lab("lost3", "--control-planes", "3", "--workers", "0")
    give_address(hosts, cluster_container_runtime="containerd")
    program.run("up", "-i", hosts.inventory)
    program.run("lab", "up", "--name", hosts.name, "--control-planes", "4", "--workers", "0")
    return hosts


def identities(hosts: Hosts) -> str:
    """What tells whether a member or a node was made anew."""
    uids = kubectl(
        hosts, "cp1", "get", "nodes", "-o", "jsonpath={range .items[*]}{.metadata.name}={.metadata.uid} {end}"
    )
    data = "stat -c %i /var/lib/etcd/member; sha256sum /etc/kubernetes/pki/ca.crt"
    return uids + "".join(hosts.sh(name, data) for name in ("cp1", "cp2", "cp3"))


def only(hosts: Hosts, *names: str) -> list[str]:
    """Options for an inventory of some of the hosts."""
    inventory = yaml.safe_load(hosts.inventory.read_text())
    there = inventory["control_plane"]["hosts"]
    inventory["control_plane"]["hosts"] = {hosts.host(name): there[hosts.host(name)] for name in names}
    path = hosts.inventory.with_name("some.yml")
    path.write_text(yaml.safe_dump(inventory))
    return ["-i", str(path)]


def refused_of(hosts: Hosts, program: Program, *names: str) -> str:
    """What `up` says when it stops, for an inventory of some of the hosts; no member and no node was touched."""
    before = identities(hosts)
    result = program.run("up", *only(hosts, *names), expect=5)
    assert identities(hosts) == before
    assert healthy_members(hosts, "cp1") == 3
    return " ".join((result.stdout + result.stderr).split())


def test_parked_manifest_is_named_and_the_member_stays(three: Hosts, program: Program) -> None:
    three.sh("cp2", f"mv {K}/manifests/kube-scheduler.yaml /root/")
    assert "kube-scheduler.yaml is missing" in refused_of(three, program, "cp1", "cp2", "cp3")
    three.sh("cp2", f"mv /root/kube-scheduler.yaml {K}/manifests/")


def test_admin_conf_that_was_taken_away_is_named_and_what_is_advised_works(three: Hosts, program: Program) -> None:
    three.sh("cp2", f"mv {K}/admin.conf /root/")
    said = refused_of(three, program, "cp1", "cp2", "cp3")
    assert f"{K}/admin.conf is missing" in said
    advice = re.search(r"`(kubeadm init phase kubeconfig admin [^`]+)`", said)
    assert advice, said
    three.sh("cp2", advice[1])
    program.run("up", *only(three, "cp1", "cp2", "cp3"))


def test_clone_with_another_members_hostname_takes_nothing_away(three: Hosts, program: Program) -> None:
    three.sh("cp4", f"hostname {three.host('cp2')}")
    said = refused_of(three, program, "cp1", "cp4")
    assert f"named {three.host('cp2')} at" in said
    three.sh("cp4", f"hostname {three.host('cp4')}")


def test_another_clusters_data_behind_the_same_address_is_left_alone(three: Hosts, program: Program) -> None:
    # kubeadm's own files, of a CA of its own, as of a control plane that was stopped. The test before has installed it.
    endpoint = f"{address_of(three)}:6443"
    phases = ("certs all", "kubeconfig all", "control-plane all", "etcd local")
    config = f"apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ncontrolPlaneEndpoint: {endpoint}\n"
    config += "kubernetesVersion: v1.36.4\n"
    commands = "; ".join(f"kubeadm init phase {phase} --config /root/other.yaml >/dev/null" for phase in phases)
    three.sh("cp4", f"printf '{config}' > /root/other.yaml; {commands}; mkdir -p /var/lib/etcd/member/wal")
    before = three.sh("cp4", f"{WORTH}; ls {K} {K}/manifests")
    assert "another CA" in refused_of(three, program, "cp1", "cp2", "cp3", "cp4")
    assert three.sh("cp4", f"{WORTH}; ls {K} {K}/manifests") == before
    three.sh("cp4", f"rm -rf /var/lib/etcd/member {K}/pki {K}/*.conf {K}/manifests/*")


def test_host_whose_join_was_cut_joins_again_without_a_trace_of_its_former_life(
    three: Hosts, program: Program, measured: Callable[[str, str], None]
) -> None:
    cut(three, program, "cp4", when=f"ls {K}/*kubelet.conf >/dev/null 2>&1")
    # As pods of that life leave it.
    three.sh("cp4", "ip link show cni0 >/dev/null 2>&1 || ip link add cni0 type bridge; ip addr flush dev cni0; "
                    "ip addr add 10.244.99.1/24 dev cni0; ip link set cni0 up")  # fmt: skip
    program.run("up", "-i", three.inventory)
    assert healthy_members(three, "cp1") == 4
    assert "10.244.99.1" not in three.sh("cp4", "ip -4 address")
    tokens = kubectl(three, "cp1", "get", "secrets", "-n", "kube-system", "-o", "name")
    assert "bootstrap-token" not in tokens
    assert "kubeadm-certs" not in tokens
    measured(
        "a member of etcd that may live",
        "4 doubts (a manifest, admin.conf, a clone's name, another CA): told, member, Node and host stay; "
        "a join that was cut is made anew",
    )
