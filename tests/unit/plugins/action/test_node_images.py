"""Images on the operator's machine, and what is said while they go to a host."""

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.context import CLIArgs
from ansible.errors import AnsibleActionFail
from ansible.playbook.play_context import PlayContext
from ansible.playbook.task import Task
from ansible_collections.kubestrap.cluster.plugins.action import node_images
from ansible_collections.kubestrap.cluster.plugins.action.node_images import (
    ActionModule,
    LocalImage,
    Progress,
    progress_line,
)
from kubestrap.model.events import Progress as ProgressEvent
from kubestrap.model.events import parse_event


def archive(path: Path, files: dict[str, Any]) -> str:
    """An archive of images."""
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            data = json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


ONE = {"Config": "1.json", "RepoTags": ["shop:1", "shop:latest"], "Layers": []}
TWO = {"Config": "2.json", "RepoTags": ["worker:1"], "Layers": []}
CONFIGS = {"1.json": {"config": {"User": "1"}}, "2.json": {"config": {"User": "2"}}}


def test_every_image_of_an_archive_counts_under_every_name(tmp_path: Path) -> None:
    image = LocalImage(archive(tmp_path / "all.tar", {"manifest.json": [ONE, TWO], **CONFIGS}), ".")
    users = {name: found["config"]["User"] for name, found in image.contents.items()}
    assert users == {"shop:1": "1", "shop:latest": "1", "worker:1": "2"}


def test_two_archives_with_the_same_image_but_other_names_are_two(tmp_path: Path) -> None:
    files = {"manifest.json": [ONE], **CONFIGS}
    other = {"manifest.json": [{**ONE, "RepoTags": ["shop:1"]}], **CONFIGS}
    one, two = archive(tmp_path / "1.tar", files), archive(tmp_path / "2.tar", other)
    assert LocalImage(one, ".").key() != LocalImage(two, ".").key()


def test_an_archive_with_names_that_only_containerd_would_see_is_refused(tmp_path: Path) -> None:
    names = ("docker.io/library/shop:1", "registry.k8s.io/kube-proxy:v1.36.4")
    index = {"manifests": [{"annotations": {"io.containerd.image.name": name}} for name in names]}
    path = archive(tmp_path / "a.tar", {"manifest.json": [ONE], "index.json": index, **CONFIGS})
    with pytest.raises(AnsibleActionFail, match=r"registry\.k8s\.io/kube-proxy:v1\.36\.4 only in index\.json"):
        LocalImage(path, ".")


@pytest.mark.parametrize("manifest", [[], {}, [{}], ["x"], None, [{"Config": "none.json"}]])
def test_what_is_no_archive_of_images_is_named(tmp_path: Path, manifest: Any) -> None:
    path = archive(tmp_path / "a.tar", {"manifest.json": manifest, **CONFIGS})
    with pytest.raises(AnsibleActionFail, match="is not an image archive"):
        LocalImage(path, ".")


def test_an_image_that_differs_on_the_way_is_told() -> None:
    action: Any = ActionModule.__new__(ActionModule)
    action.host, action.refused = "w2", []
    action._tell_refusal(SimpleNamespace(name="app:1"), "w1", "it is another image")
    (finding,) = action.refused
    assert (finding.id, "w2 did not take app:1 from w1" in finding.evidence) == ("image-refused", True)


def test_an_image_without_a_name_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", {"manifest.json": [ONE, {**TWO, "RepoTags": None}], **CONFIGS})
    with pytest.raises(AnsibleActionFail, match="without a name"):
        LocalImage(path, ".")


def test_bytes_and_percent_on_the_live_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = LocalImage(archive(tmp_path / "a.tar", {"manifest.json": [ONE], **CONFIGS}), ".")
    image.size = 300_000_000
    said: list[str] = []
    now = [100.0]
    monkeypatch.setattr(node_images.time, "monotonic", lambda: now[0])
    progress = Progress(said.append, "w1", image, many=5)
    for at in range(0, 300_000_001, 50_000_000):
        progress.tell(at)
        now[0] += 1.6
    assert [line.rpartition(": ")[2] for line in said] == [
        "100 of 300 MB (33%)",
        "200 of 300 MB (66%)",
        "300 MB are there, the host loads them",
    ]
    shown = f"\x1b[0m{progress_line('w1', 'shop:1', 99_000_000, 300_000_000)}\x1b[0m"
    event = parse_event({"event": "verbose", "stdout": shown})
    assert event == ProgressEvent(host="w1", text="shop:1: 99 of 300 MB (33%)")


@pytest.mark.parametrize(
    ("asked", "in_line"),
    [({"relay": True}, [True]), ({"relay": False}, [False]), ({"relay": "no"}, [False]), ({}, [True])],
)
def test_no_host_gives_an_image_on_where_that_is_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], in_line: list[bool]
) -> None:
    sent: list[bool] = []
    joined: list[str] = []

    class Hosts(ActionModule):  # type: ignore[misc] - has no types
        def _content_on_host(self, _name: str) -> Any:
            return image.contents["shop:1"] if sent else None

        def _send(self, _image: LocalImage, place: object, _address: str) -> bool:
            sent.append(place is not None)
            return place is not None

    class Line:
        def __init__(self, _directory: Path, host: str, _hosts: list[str], *, at_a_time: int) -> None:
            self.host, self.at_a_time = host, at_a_time

        def join(self, *, lacks: bool) -> str:
            assert lacks
            joined.append(self.host)
            return self.host

    path = archive(tmp_path / "a.tar", {"manifest.json": [{**ONE, "RepoTags": ["shop:1"]}], **CONFIGS})
    image = LocalImage(path, ".")
    monkeypatch.setattr(node_images, "RelayLine", Line)
    monkeypatch.setattr(node_images.context, "CLIARGS", CLIArgs({"forks": 5}))
    task = Task()
    task.args = {"images": [path], "base": ".", **asked}
    connection = SimpleNamespace(transport="ssh", _shell=SimpleNamespace(tmpdir=None))
    module = Hosts(task, connection, PlayContext(), None, None, None)
    hosts = ["w1", "w2"]
    result = module.run(None, {"inventory_hostname": "w1", "ansible_play_hosts": hosts, "ansible_play_batch": hosts})
    assert sent == in_line
    assert joined == (["w1"] if in_line == [True] else [])
    assert (result["sent"], result["relayed"]) == (["shop:1"], ["shop:1"] if in_line == [True] else [])


def test_an_image_by_digest_is_not_packed_because_an_archive_keeps_no_digest(tmp_path: Path) -> None:
    with pytest.raises(AnsibleActionFail, match="only a registry knows"):
        LocalImage(f"shop:1@sha256:{'ab' * 32}", str(tmp_path))
