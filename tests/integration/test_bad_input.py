"""Bad input as people write it: one clear message with its place, exit code 2, nothing started."""

import io
import json
import tarfile

import pytest
from kubestrap import cli
from kubestrap.lab import engine

GOOD = """\
control_plane:
  hosts:
    cp: {ansible_host: 192.0.2.1}
workers:
  hosts:
    w1: {ansible_host: 192.0.2.2}
"""


@pytest.fixture
def up(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run_up(text=GOOD, *words, name="inventory.yml"):
        (tmp_path / name).write_text(text)
        code = cli.run(["up", "-i", name, *words])
        assert not (tmp_path / ".kubestrap").exists()
        return code, capsys.readouterr().err

    return run_up


@pytest.mark.parametrize(
    ("added", "expected"),
    [
        (
            "all: {vars: {cluster_pod_cdir: 10.0.0.0/16}}",
            "inventory.yml:7: there is no variable cluster_pod_cdir; did you",
        ),
        (
            "all:\n  vars:\n    cluster_kubernetes_version: '1.34'",
            "inventory.yml:9: cluster_kubernetes_version is 1.34",
        ),
        ("all: {vars: {cluster_container_runtime: podman}}", "must be one of: docker"),
        (
            "all: {vars: {cluster_pod_cidr: 192.0.2.0/24}}",
            "cp: cluster_pod_cidr 192.0.2.0/24 contains the host's address",
        ),
        ("all: {vars: {cluster_app_manifests: [missing.yml]}}", "missing.yml; correct the path"),
        ("all: {vars: {cluster_app_images: [missing.tar]}}", "there is no archive"),
        ("  hosts: [", "not valid YAML"),
    ],
)
def test_inventory(up, added, expected):
    code, said = up(GOOD + added)
    assert code == 2
    assert expected in said


def test_ini_inventory(up):
    code, said = up("[workers]\nw1 cluster_app_timeout=soon\n", name="hosts.ini")
    assert code == 2
    assert "hosts.ini:2: cluster_app_timeout is 'soon'" in said
    assert "control_plane has no host" in said


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (
            "list.yml",
            "control_plane:\n  hosts:\n    - cp1\n",
            "list.yml:2: hosts of the group control_plane is a list, and must be a mapping",
        ),
        ("list.json", '{"workers":\n {"hosts": ["w1"]}}', "list.json:2: hosts of the group workers is a list"),
        ("children.yml", "all:\n  children: [workers]\n", "children.yml:2: children of the group all is a list"),
        ("tab.yml", "control_plane:\n\thosts:\n", "tab.yml:2: the inventory is not valid YAML: Tabs"),
        ("play.yml", "- hosts: all\n  tasks: []\n", "is it a playbook, not an inventory?"),
        ("text.yml", "workers:\n  hosts:\n    w1: 192.0.2.1\n", "text.yml:3: a host, or a group, must be a mapping"),
        (
            "plugin.yml",
            "plugin: acme.cloud.hosts\n",
            "plugin.yml:1: there is no inventory plugin acme.cloud.hosts here",
        ),
        ("open.ini", "[control_plane]\ncp1\n[workers\nw1\n", "open.ini:3: the name of a section is not closed"),
        ("blank.ini", "[workers]\nw1 a=1 2\n", "blank.ini:2: a host is followed by name=value"),
        ("cut.json", '{"control_plane": {"hosts":\n', "cut.json:2: the inventory is not valid YAML"),
        ("vault.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162\n", "vault.yml: is encrypted with Ansible Vault"),
    ],
)
def test_list(up, name, text, expected):
    """Of what every plugin of Ansible says, the sentence that helps, with the line."""
    code, said = up(text, name=name)
    assert code == 2
    assert expected in said
    assert "ini' plugin" not in said
    assert "class" not in said


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo 'the cloud does not answer' >&2; exit 3", "non-zero exit code 3; the cloud does not answer"),
        ("echo no json", "script.sh: the inventory script failed"),
    ],
)
def test_script_that_fails(up, tmp_path, script, expected):
    path = tmp_path / "script.sh"
    path.write_text("")
    path.chmod(0o700)
    assert expected in up(f"#!/bin/sh\n{script}\n", name=path.name)[1]


def test_the_bad_file_of_a_directory_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site/group_vars").mkdir(parents=True)
    (tmp_path / "site/a.yml").write_text(GOOD)
    bad = tmp_path / "site/b.yml"
    bad.write_text("workers:\n  hosts: [w1]\n")
    assert cli.run(["check", "-i", "site"]) == 2
    assert "site/b.yml:2: hosts of the group workers is a list" in capsys.readouterr().err
    bad.unlink()
    # Ansible itself does not say which file that is.
    for text, expected in {
        "one: [\n": "site/group_vars/all.yml:2: the file is not valid YAML",
        "$ANSIBLE_VAULT;1.1;AES256\n6162\n": "site/group_vars/all.yml: is encrypted with Ansible Vault, and there is",
    }.items():
        (tmp_path / "site/group_vars/all.yml").write_text(text)
        assert cli.run(["check", "-i", "site"]) == 2
        assert expected in capsys.readouterr().err


def test_empty_inventory(up):
    assert up("all: {}\n") == (2, up("all: {}\n")[1])
    assert "kubestrap init" in up("all: {}\n")[1]


def test_group_vars_are_found(up, tmp_path):
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/workers.yml").write_text("# mine\ncluster_node_address: home\n")
    code, said = up()
    assert code == 2
    assert "group_vars/workers.yml:2: w1: cluster_node_address is 'home'" in said


@pytest.mark.parametrize("extra", ["@missing.yml", "novalue", '{"a": [', "[1]", 'a="b'])
def test_extra_vars(up, extra):
    code, said = up(GOOD, "-e", extra)
    assert code == 2
    assert "-e " in said


def test_manifest_that_is_not_yaml_names_the_line(up, tmp_path):
    (tmp_path / "app.yml").write_text("apiVersion: v1\nkind: Service\nmetadata: {name: [\n")
    code, said = up(GOOD + "all: {vars: {cluster_app_manifests: [app.yml]}}")
    assert code == 2
    assert "app.yml:4" in said


def test_manifest_that_is_no_object(up, tmp_path):
    (tmp_path / "app.yml").write_text("hello: world\n")
    code, said = up(GOOD + "all: {vars: {cluster_app_manifests: [app.yml]}}")
    assert code == 2
    assert "app.yml:1: this is no Kubernetes object: apiVersion is missing" in said


def test_no_docker_here(up, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, said = up(GOOD + "all: {vars: {cluster_app_images: ['shop:1']}}")
    assert code == 2
    assert "no Docker on this machine" in said


NEVER = "{image: 'kubestrap-never-built:1', imagePullPolicy: Never}"
POD = f"""\
apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  containers:
    - {NEVER}
"""


def test_image_found_in_a_manifest_must_be_here(up, tmp_path):
    engine.ensure_running(print)
    (tmp_path / "app.yml").write_text(POD)
    code, said = up(GOOD + "all: {vars: {cluster_app_manifests: [app.yml]}}")
    assert code == 2
    assert "app.yml:6: imagePullPolicy is Never, but there is no" in said


def test_image_found_in_a_manifest_may_be_in_a_listed_archive(up, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "app.yml").write_text(POD)
    content = json.dumps([{"RepoTags": ["kubestrap-never-built:1"]}]).encode()
    with tarfile.open(tmp_path / "image.tar", "w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    # One mistake more, because without any the hosts would be tried.
    variables = "cluster_app_manifests: [app.yml], cluster_app_images: [image.tar, missing.tar]"
    _, said = up(GOOD + f"all: {{vars: {{{variables}}}}}")
    assert "missing.tar" in said
    assert "kubestrap-never-built" not in said


def test_docker_that_does_not_answer(up, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    code, said = up(GOOD + "all: {vars: {cluster_app_images: ['shop:1']}}")
    assert code == 2
    assert "docker info" in said or "no Docker" in said


def test_missing_inventory(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["up", "-i", "nope.yml"]) == 2
    assert "there is no inventory nope.yml" in capsys.readouterr().err
