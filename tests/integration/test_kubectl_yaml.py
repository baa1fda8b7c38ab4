"""kubectl is the judge of how manifests are read: published ones, and the table of the unit tests."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubernetes_yaml import (
    YamlError,
    decode,
    dump,
    load_all,
    number,
)

from tests.conftest import ROOT
from tests.unit.plugins.module_utils.test_kubernetes_yaml import DOCUMENTS, KEYS, SCALARS, TEXTS
from tools.upstream import recipes
from tools.upstream.golang import Go

pytestmark = pytest.mark.proof

HEAD = "apiVersion: v1\nkind: Own\nmetadata: {name: a}\n"
MODULES = {
    "k8s.io/kubernetes": recipes.KUBERNETES,
    "go.universe.tf/metallb": recipes.METALLB,
    "sigs.k8s.io/metrics-server": recipes.METRICS_SERVER,
    "github.com/rancher/local-path-provisioner": recipes.LOCAL_PATH,
    "github.com/flannel-io/flannel": recipes.FLANNEL,
}
ENOUGH = 300
MARK = "kubestrap-judge"


@pytest.fixture(scope="session")
def kubectl() -> str:
    """A kubectl of the version that clusters get."""
    found = subprocess.run(
        [sys.executable, "-m", "tools.upstream", "kubectl"], cwd=ROOT, check=True, capture_output=True
    )
    return found.stdout.decode().strip()


def judged(kubectl: str, data: bytes) -> list[Any] | None:
    """What kubectl reads, without asking a cluster; None when it refuses."""
    command = [kubectl, "annotate", "--local", "-f", "-", "-o", "json", f"{MARK}=x"]
    done = subprocess.run(command, input=data, capture_output=True, check=False, timeout=60)
    if done.returncode:
        return None
    found, place, reader = [], 0, json.JSONDecoder()
    text = done.stdout.decode()
    while place < len(text):
        value, place = reader.raw_decode(text, place)
        place += 1
        # What the question itself has put there.
        metadata = value["metadata"]
        del metadata["annotations"][MARK]
        if not metadata["annotations"]:
            del metadata["annotations"]
        if not metadata:
            del value["metadata"]
        found.append(value)
    return found


def ours(data: bytes) -> list[Any] | None:
    """What we read, with the items of lists as objects, as kubectl prints them; None when we refuse."""
    try:
        values = [document.value for document in load_all(decode(data))]
    except YamlError:
        return None
    flat: list[Any] = []
    for value in values:
        flat += value["items"] if str(value.get("kind")).endswith("List") and "items" in value else [value]
    return flat


def twice(data: bytes) -> bool:
    """Tell whether we refuse it because a key is there twice."""
    try:
        load_all(decode(data))
    except YamlError as error:
        return "is there twice" in str(error)
    return False


def same(value: Any) -> Any:
    """What two readings are compared by: the numbers of JSON as Go has them, and no empty annotations."""
    if isinstance(value, dict):
        return {name: same(inside) for name, inside in value.items() if (name, inside) not in EMPTY}
    if isinstance(value, list):
        return [same(inside) for inside in value]
    return number(value)


EMPTY = [("annotations", {}), ("metadata", {}), ("metadata", None), ("annotations", None), ("creationTimestamp", None)]


def published() -> Iterator[Path]:
    """Manifests of public projects, as their Go modules have them."""
    go = Go()
    for module, version in MODULES.items():
        directory = go.module_file(module, version, ".")
        yield from sorted(
            path for path in directory.rglob("*.y*ml") if "/testdata/" not in str(path) and path.is_file()
        )


def test_published_manifests_are_read_as_kubectl_reads_them(kubectl: str) -> None:
    count, projects, differing = 0, set(), []
    for path in published():
        data = path.read_bytes()
        # What kubectl refuses is no manifest: templates, values, files of other programs.
        if (wanted := judged(kubectl, data)) is None:
            continue
        count += len(wanted)
        projects.add(str(path).partition("@")[0])
        found = ours(data)
        # Refused on purpose: kubectl takes the last one without a word.
        if found is None and twice(data):
            continue
        if found is None or same(found) != same(wanted):
            differing.append(str(path))
    assert differing == []
    assert count >= ENOUGH
    assert len(projects) >= 3


def test_the_table_is_what_kubectl_reads(kubectl: str) -> None:
    values = "".join(f"- {text}\n" for text in SCALARS if text)
    keys = "".join(f"- {{{key}: 1}}\n" for key in KEYS)
    documents = "\n---\n".join(f"{HEAD}{text}" for text in DOCUMENTS)
    data = f"{HEAD}values:\n{values}keys:\n{keys}\n---\n{documents}\n".encode()
    wanted = judged(kubectl, data)
    assert wanted is not None
    assert same(wanted[0]["values"]) == [same(value) for text, value in SCALARS.items() if text]
    assert same(ours(data)) == same(wanted)
    assert len(wanted) == len(DOCUMENTS) + 1


def test_what_is_written_is_what_kubectl_reads(kubectl: str) -> None:
    obj = {
        "apiVersion": "v1",
        "kind": "Own",
        "metadata": {"name": "a"},
        "texts": TEXTS,
        "keys": dict.fromkeys(TEXTS, 1),
    }
    assert same(judged(kubectl, dump(obj).encode())) == [same(obj)]
