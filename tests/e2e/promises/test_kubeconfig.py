"""Kubeconfigs of people who had one before: theirs stays, ours is added, and the line that is printed works."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, Hosts, Program

# Another cluster's entries under the names that ours would have; kubectl reads the namespace as text.
OTHER = """\
# mine
apiVersion: v1
kind: Config
clusters:
- name: NAME
  cluster: {certificate-authority: ca.crt, server: "https://198.51.100.7:6443"}   # relative
contexts:
- name: NAME
  context: {cluster: NAME, user: NAME-admin, namespace: "18371e12"}
users:
- name: NAME-admin
  user: {token: "7e12345"}
current-context: NAME
x-mine: 12:30:10
"""


@pytest.fixture(scope="module")
def kubectl() -> Path:
    """A kubectl for this machine."""
    found = subprocess.run(
        [sys.executable, "-m", "tools.upstream", "kubectl"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return Path(found.stdout.strip())


@pytest.fixture
def person(program: Program, tmp_path: Path) -> Program:
    """Somebody else at the keyboard, with a home of their own."""
    return replace(program, environment={**program.environment, "HOME": str(tmp_path)})


def written(path: Path, cluster: Hosts) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OTHER.replace("NAME", cluster.name))
    path.chmod(0o640)
    return path


def typed(line: str, kubectl: Path, **environment: str) -> str:
    """What a line prints that is typed into a shell."""
    path = f"{kubectl.parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["sh", "-c", line],
        env={"PATH": path, **environment},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout


def look_around(output: str) -> str:
    return next(line for line in output.splitlines() if line.startswith("Look around"))


def changed(person: Program, cluster: Hosts, *options: str) -> int:
    return int(person.run("up", "-i", cluster.inventory, "--output", "json", *options).summary["changed"])


def test_other_kubeadm(
    cluster: Hosts, person: Program, kubectl: Path, tmp_path: Path, measured: Callable[[str, str], None]
) -> None:
    path = written(tmp_path / ".kube/config", cluster)
    current = "kubectl config view --minify --raw"
    before = typed(current, kubectl, HOME=str(tmp_path))
    output = person.run("up", "-i", cluster.inventory).stdout
    assert typed(current, kubectl, HOME=str(tmp_path)) == before
    assert set(OTHER.replace("NAME", cluster.name).splitlines()) <= set(path.read_text().splitlines())
    assert path.stat().st_mode & 0o777 == 0o640
    line = look_around(output).partition(": ")[2]
    assert f"{cluster.host('cp1')} " in typed(line, kubectl, HOME=str(tmp_path))
    written_once = path.read_bytes()
    assert changed(person, cluster) == 0
    assert path.read_bytes() == written_once
    copies = [one for one in path.parent.iterdir() if one.name.startswith("config.")]
    assert [one.read_text() for one in copies] == [OTHER.replace("NAME", cluster.name)]
    measured("kubeconfig: another cluster's entries", f"as they were; the line that worked: `{line}`")


@pytest.mark.proof
def test_the_files_of_kubeconfig(cluster: Hosts, person: Program, kubectl: Path, tmp_path: Path) -> None:
    files = f"{tmp_path}/none:{written(tmp_path / 'my files/b', cluster)}"
    # A relative path starts where the person is.
    relative = os.path.relpath(tmp_path / "my files/b", person.directory)
    person = replace(person, environment={**person.environment, "KUBECONFIG": f"{tmp_path}/none:{relative}"})
    line = look_around(person.run("up", "-i", cluster.inventory).stdout).partition(": ")[2]
    assert "Ready" in typed(line, kubectl, HOME=str(tmp_path), KUBECONFIG=files)
    assert changed(person, cluster) == 0
    assert not (tmp_path / ".kube/config").exists()
    assert not (tmp_path / "none").exists()


@pytest.mark.proof
def test_a_file_of_its_own_is_named(cluster: Hosts, person: Program, kubectl: Path, tmp_path: Path) -> None:
    option = f"cluster_kubeconfig='{tmp_path}/my files/c'"
    line = look_around(person.run("up", "-i", cluster.inventory, "-e", option).stdout).partition(": ")[2]
    assert "Ready" in typed(line, kubectl, HOME=str(tmp_path))


@pytest.mark.proof
def test_without_a_kubeconfig_the_line_is_for_a_control_plane(cluster: Hosts, person: Program, tmp_path: Path) -> None:
    line = look_around(person.run("up", "-i", cluster.inventory, "-e", "cluster_kubeconfig=").stdout)
    where, _, words = line.partition(": ")
    assert where.endswith(f"as root on {cluster.host('cp1')}")
    assert "Ready" in cluster.sh("cp1", words)
    assert not (tmp_path / ".kube").exists()


@pytest.fixture
def dev(cluster: Hosts) -> Iterator[str]:
    """A user of the control plane."""
    cluster.sh("cp1", "useradd -m -s /bin/bash dev")
    yield "dev"
    cluster.sh("cp1", "userdel -r dev")


def test_a_user_of_the_node_keeps_a_config(cluster: Hosts, person: Program, dev: str) -> None:
    text = OTHER.replace("NAME", cluster.name)
    cluster.sh(
        "cp1", f"install -d -o dev ~dev/.kube; cat > ~dev/.kube/config <<'END'\n{text}END\nchown dev: ~dev/.kube/*"
    )
    option = f"cluster_node_user={dev}"
    assert changed(person, cluster, "-e", option) > 0
    assert changed(person, cluster, "-e", option) == 0
    found = cluster.sh("cp1", "cat ~dev/.kube/config").splitlines()
    assert set(text.splitlines()) <= set(found)
    view = json.loads(
        cluster.sh("cp1", "runuser -u dev -- env -C /home/dev HOME=/home/dev kubectl config view -o json")
    )
    assert view["current-context"] == cluster.name
    ours = next(one["name"] for one in view["contexts"] if one["name"] != cluster.name)
    nodes = f"runuser -u dev -- env HOME=/home/dev kubectl --context {ours} get nodes"
    assert "Ready" in cluster.sh("cp1", nodes)
    owners = cluster.sh("cp1", "stat -c %U ~dev/.kube ~dev/.kube/config*").split()
    assert set(owners) == {"dev"}


@pytest.mark.parametrize(
    "trap",
    [
        "ln -s /etc ~dev/.kube; chown -h dev: ~dev/.kube",
        "install -d -o dev ~dev/.kube; ln -s /etc/shadow ~dev/.kube/config",
        "install -d -o dev ~dev/.kube; mkfifo ~dev/.kube/config; chown dev: ~dev/.kube/config",
        "install -d -o root ~dev/.kube",
    ],
    ids=["directory", "file", "fifo", "of-root"],
)
def test_nothing_is_followed_out_of_a_home(cluster: Hosts, person: Program, dev: str, trap: str) -> None:
    cluster.sh("cp1", trap)
    marks = "find /etc -newer /tmp/mark; sha256sum /etc/shadow; ls -A ~dev/.kube/"
    before = cluster.sh("cp1", f"touch /tmp/mark; sleep 0.1; {marks}")
    told = person.run("up", "-i", cluster.inventory, "-e", f"cluster_node_user={dev}", expect=5).stdout
    assert "/home/dev/.kube" in told
    assert "cluster_node_user" in told
    assert cluster.sh("cp1", marks) == before


def test_operator_on_the_control_plane(cluster: Hosts, person: Program, kubectl: Path, tmp_path: Path) -> None:
    """Host and operator have one file: the same directory of this machine, seen from both sides."""
    mounts = '{{range .Mounts}}{{if eq .Destination "/var"}}{{.Source}}{{end}}{{end}}'
    var = subprocess.run(
        ["docker", "inspect", "-f", mounts, cluster.host("cp1")], check=True, capture_output=True, text=True
    ).stdout.strip()
    cluster.sh("cp1", "mkdir -p /var/lib/same; mount --bind /var/lib/same /root/.kube")
    try:
        (tmp_path / ".kube").symlink_to(f"{var}/lib/same")
        path = written(tmp_path / ".kube/config", cluster)
        result = person.run("up", "-i", cluster.inventory, "--output", "json")
        # On the host only; here it was found again.
        assert result.summary["changed"] == 1
        assert path.read_text().count("client-key-data") == 1
        assert changed(person, cluster) == 0
        line = f"{result.summary['kubectl']} get nodes"
        assert "Ready" in typed(line, kubectl, HOME=str(tmp_path))
    finally:
        cluster.sh("cp1", "umount /root/.kube; rm -r /var/lib/same")
