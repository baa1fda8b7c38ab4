"""What minikube says is read rightly, and what is not kubestrap's stays."""

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import traces
from ansible_collections.kubestrap.cluster.plugins.modules import minikube
from ansible_collections.kubestrap.cluster.plugins.modules.minikube import (
    Minikube,
    content,
    described,
    is_running,
    parse_status,
)

RUNNING = {"Host": "Running", "Kubelet": "Running", "APIServer": "Running", "Kubeconfig": "Configured"}
DIGEST = "ab" * 32


class Failed(Exception):  # noqa: N818 - the module's end
    """Raised instead of ending the process."""


class Exited(Exception):  # noqa: N818 - the module's end
    """Raised instead of ending the process."""


class Module:
    """An AnsibleModule that answers commands from a table."""

    def __init__(self, **params: Any) -> None:
        self.params = {
            "state": "started",
            "driver": "none",
            "user": "",
            "sha256": {"amd64": DIGEST, "arm64": DIGEST},
            "url": "",
            "arguments": [],
            "images": [],
            "tools_repository": "",
            "tools_key_fingerprint": "",
            **params,
        }
        self.check_mode = False
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.commands: list[str] = []

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        line = " ".join(command[3:] if command[0] == "timeout" else command)
        self.commands.append(line)
        return next((answer for part, answer in self.answers.items() if part in line), (0, "", ""))

    def fail_json(self, *, msg: str, **_: Any) -> None:
        raise Failed(msg)

    def exit_json(self, **result: Any) -> None:
        raise Exited(result)


@pytest.fixture(autouse=True)
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host on which every path is in a directory of the test."""
    for name in ("PROGRAM", "HOME", "KUBECTL", "CRI_DOCKERD", "BINARIES"):
        monkeypatch.setattr(minikube, name, tmp_path / str(getattr(minikube, name)).lstrip("/"))
    monkeypatch.setattr(minikube.docker, "CRI_DOCKERD_HOME", tmp_path / "usr/local/lib/cri-dockerd")
    monkeypatch.setattr(traces, "ROOT", tmp_path)
    left = tuple(f"{tmp_path}{path}" for path in minikube.LEFT_BEHIND)
    monkeypatch.setattr(minikube, "LEFT_BEHIND", left)
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "root").mkdir()
    entry = pwd.struct_passwd(("root", "x", 0, 0, "", str(tmp_path / "root"), "/bin/sh"))
    other = pwd.struct_passwd(("dev", "x", 1000, 1000, "", str(tmp_path / "root"), "/bin/sh"))
    monkeypatch.setattr(minikube.pwd, "getpwnam", {"root": entry, "dev": other}.__getitem__)
    # Whom this machine does not know; test_kubeconfig.py has the real one.
    monkeypatch.setattr(minikube, "as_user", lambda _, act: act())
    return tmp_path


def made_by_minikube(host: Path, driver: str = "none") -> None:
    profile = host / "root/.minikube/profiles/minikube"
    profile.mkdir(parents=True)
    (profile / "config.json").write_text(json.dumps({"Driver": driver}))


def installed() -> Path:
    binary = minikube.HOME / DIGEST[:16] / "minikube"
    binary.parent.mkdir(parents=True)
    binary.touch()
    minikube.PROGRAM.symlink_to(binary)
    return binary


def outcome(module: Module, verb: str) -> dict[str, Any]:
    with pytest.raises(Exited) as caught:
        getattr(Minikube(module), verb)()
    return dict(caught.value.args[0])


def test_running_means_all_of_it() -> None:
    assert is_running(RUNNING)
    assert not is_running({**RUNNING, "APIServer": "Stopped"})
    assert not is_running({**RUNNING, "Kubeconfig": "Misconfigured"})
    assert not is_running({})


@pytest.mark.parametrize("text", ["", '* Profile "minikube" not found.', "[]", '{"error": 1}'])
def test_words_and_other_json_are_no_cluster(text: str) -> None:
    assert parse_status(text) == {}
    assert described(parse_status(text)) == "no cluster\n"


def test_an_image_is_the_same_whatever_its_store_calls_it() -> None:
    image = {"Id": "sha256:1", "Created": "now", "RootFS": {"Layers": ["a"]}, "Config": {"Cmd": ["x"]}}
    assert content(image) == content({**image, "Id": "sha256:2"})
    assert content(image) != content({**image, "RootFS": {"Layers": ["b"]}})


def test_looking_at_a_bare_host_runs_nothing() -> None:
    module = Module()
    result = outcome(module, "look")
    assert not result["changed"]
    assert result["ansible_facts"]["minikube"] == {"running": False, "kubeconfig": "/etc/kubernetes/admin.conf"}
    assert module.commands == []


def test_a_running_cluster_is_seen(host: Path) -> None:
    made_by_minikube(host)
    installed()
    module = Module()
    module.answers = {"status": (0, json.dumps(RUNNING), "")}
    assert outcome(module, "look")["ansible_facts"]["minikube"]["running"]


def test_a_node_of_another_cluster_is_not_taken_over(host: Path) -> None:
    (host / "etc/kubernetes").mkdir(parents=True)
    (host / "etc/kubernetes/kubelet.conf").touch()
    with pytest.raises(Failed, match="Nothing was changed"):
        Minikube(Module()).look()
    made_by_minikube(host)
    outcome(Module(), "look")


@pytest.mark.parametrize("path", ["etc/kubernetes/manifests/etcd.yaml", "var/lib/etcd/member/snap/db"])
def test_a_control_plane_without_its_kubelet_conf_is_not_taken_over(host: Path, path: str) -> None:
    (host / path).parent.mkdir(parents=True)
    (host / path).touch()
    with pytest.raises(Failed, match=Path(path).parts[2]):
        Minikube(Module()).look()


def test_a_minikube_of_somebody_else_is_not_replaced() -> None:
    minikube.PROGRAM.touch()
    with pytest.raises(Failed, match="did not put there"):
        Minikube(Module()).look()


def test_another_driver_needs_another_cluster(host: Path) -> None:
    made_by_minikube(host, driver="docker")
    with pytest.raises(Failed, match="kubestrap minikube down -e cluster_minikube_driver=docker"):
        Minikube(Module()).look()


def test_an_unknown_digest_starts_nothing() -> None:
    with pytest.raises(Failed, match="No SHA-256 of minikube"):
        Minikube(Module(sha256={"riscv64": DIGEST})).look()


def test_the_driver_docker_is_not_for_root() -> None:
    with pytest.raises(Failed, match="does not run as root"):
        Minikube(Module(driver="docker", user="root"))
    assert Minikube(Module(driver="docker", user="dev")).user.pw_name == "dev"


def test_the_driver_docker_runs_as_its_user(host: Path) -> None:
    made_by_minikube(host, driver="docker")
    installed()
    module = Module(driver="docker", user="dev")
    outcome(module, "look")
    assert module.commands == [f"runuser --user dev -- {minikube.PROGRAM} status --output json"]


def test_delete_takes_what_is_ours_and_leaves_the_rest(host: Path) -> None:
    made_by_minikube(host)
    installed()
    minikube.KUBECTL.symlink_to(minikube.BINARIES / "v1/kubectl")
    minikube.CRI_DOCKERD.symlink_to("/opt/own/cri-dockerd")
    units = [Path(path) for path in minikube.LEFT_BEHIND[-2:]]
    for unit, program in zip(units, (minikube.BINARIES / "v1/kubelet", "/usr/bin/kubelet"), strict=True):
        unit.parent.mkdir(parents=True)
        unit.write_text(f"[Service]\nExecStart={program}\n")
    module = Module(state="deleted")
    assert outcome(module, "delete")["changed"]
    assert f"{minikube.PROGRAM} delete" in module.commands
    assert [path.exists() for path in units] == [False, True]
    assert [os.path.lexists(path) for path in (minikube.KUBECTL, minikube.PROGRAM, minikube.HOME)] == [False] * 3
    assert minikube.CRI_DOCKERD.is_symlink()


def test_the_cluster_of_somebody_elses_minikube_is_not_deleted(host: Path) -> None:
    made_by_minikube(host)
    minikube.PROGRAM.touch()
    module = Module(state="deleted")
    with pytest.raises(Failed, match="kubestrap did not put there"):
        Minikube(module).delete()
    assert module.commands == []


def test_delete_of_nothing_changes_nothing() -> None:
    minikube.KUBECTL.touch()
    module = Module(state="deleted")
    assert not outcome(module, "delete")["changed"]
    assert minikube.KUBECTL.exists()
    assert module.commands == []


def test_what_minikube_says_is_told_when_it_does_not_start() -> None:
    module = Module(arguments=["--memory=8g"])
    module.answers = {"start": (69, "", "X Exiting due to RSRC_INSUFFICIENT_CORES\n* \n╭──╮\n│ * please │\n╰──╯\n")}
    with pytest.raises(Failed, match=r"RSRC_INSUFFICIENT_CORES\nMore"):
        Minikube(module)._start()
    assert module.commands[-1].endswith("start --driver=none --interactive=false --wait=all --memory=8g")


def test_images_go_into_the_container_only_when_it_lacks_them() -> None:
    module = Module(driver="docker", user="dev", images=["app:1", "app:2"])
    image = json.dumps([{"Created": "now", "RootFS": {"Layers": ["a"]}}])
    other = json.dumps([{"Created": "then", "RootFS": {"Layers": ["b"]}}])
    module.answers = {
        "docker exec minikube docker image inspect app:1": (0, image, ""),
        "docker exec minikube docker image inspect app:2": (0, other, ""),
        "docker image inspect": (0, image, ""),
    }
    Minikube(module)._images()
    assert [line for line in module.commands if "image load" in line] == [
        f"runuser --user dev -- {minikube.PROGRAM} image load --daemon app:2"
    ]
