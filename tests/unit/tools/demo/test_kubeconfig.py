"""The demo takes its context out of a kubeconfig again, and nobody else's."""

import json
import shutil
from pathlib import Path

import pytest

from tools.demo.kubeconfig import options, remove

MARK = [{"name": "kubestrap", "extension": {"host": "0123"}}]
with_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs a kubectl")


def entries(name: str, **cluster: object) -> dict[str, list[dict[str, object]]]:
    return {
        "clusters": [{"name": name, "cluster": {"server": "https://192.0.2.1:6443", **cluster}}],
        "users": [{"name": f"{name}-admin", "user": {"token": "t"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": f"{name}-admin"}}],
    }


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("kubectl --context demo", ["--context", "demo"]),
        ("sudo kubectl --kubeconfig '/my file' --context demo", ["--kubeconfig", "/my file", "--context", "demo"]),
    ],
)
def test_words_of_a_summary(command: str, words: list[str]) -> None:
    assert options(command) == words


@with_kubectl
def test_only_what_kubestrap_made_goes(tmp_path: Path) -> None:
    path = tmp_path / "config"
    ours, theirs = entries("demo", extensions=MARK), entries("demo-of-mine")
    both = {kind: ours[kind] + theirs[kind] for kind in ours}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "demo", **both}))
    assert remove(f"kubectl --kubeconfig {path} --context demo-of-mine", "kubectl") == ""
    assert remove(f"kubectl --kubeconfig {path} --context demo", "kubectl") == "demo"
    assert "demo-of-mine" in path.read_text()
    assert "demo\n" not in path.read_text()
    assert "current-context" not in path.read_text() or 'current-context: ""' in path.read_text()
    assert remove(f"kubectl --kubeconfig {path} --context demo", "kubectl") == ""
