"""One bare host to DNS Ready: the script a person would write, against `kubestrap up`."""

import pathlib
import shlex
import subprocess
import time

import yaml
from kubestrap.lab import labs

from tools.benchmarks.hosts import ROOT, Bench, BenchmarkError, Run, busy, times
from tools.upstream.tools import say

_SCRIPT = pathlib.Path(__file__).with_name("by_hand.sh")


def by_hand(bench: Bench, rounds: int) -> list[str]:
    """One host by hand and by `kubestrap up`, in turn."""
    hand: list[Run] = []
    own: list[Run] = []
    again: list[Run] = []
    for number in range(1, rounds + 1):
        # Whoever comes second finds the servers' files in memory, so they take turns at that, too.
        for way in ("by hand", "kubestrap") if number % 2 else ("kubestrap", "by hand"):
            lab = bench.fresh(workers=0)
            if way == "by hand":
                hand.append(_script(bench, lab))
                say(f"run {number} of {rounds}: by hand {hand[-1].seconds:.1f} s")
            else:
                own.append(bench.kubestrap("up"))
                again.append(bench.kubestrap("up"))
                say(f"run {number} of {rounds}: kubestrap up {own[-1].seconds:.1f} s")
    tasks = own[-1].tasks
    return [
        times(own, hand, "the by-hand script"),
        "",
        "| run | by hand, s (busy before) | `kubestrap up`, s (busy before) | ratio | second `up`, s | changed |",
        "|---|---|---|---|---|---|",
        *(
            f"| {number} | {one} | {other} | {other.seconds / one.seconds:.2f} "
            f"| {second.seconds:.1f} | {second.summary['changed']} |"
            for number, (one, other, second) in enumerate(zip(hand, own, again, strict=True), start=1)
        ),
        "",
        f"Tasks on the control plane: {len(tasks)}; skipped: {tasks.count('skipped') / len(tasks):.0%}.",
        "",
        *_stages("by hand", hand),
        "",
        *_stages("`kubestrap up`", own),
    ]


def _script(bench: Bench, lab: labs.Lab) -> Run:
    files = lab.inventory.parent
    options = ["-i", str(files / "key"), *shlex.split(labs.ssh_arguments(files))]
    used, started = busy(), time.monotonic()
    done = subprocess.run(
        ["ssh", *options, f"root@{lab.hosts[0].address}", "bash", "-s"],
        input=exports(bench.variables) + _SCRIPT.read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    if done.returncode:
        last = "\n".join(done.stderr.splitlines()[-5:])
        raise BenchmarkError(f"The by-hand script ended with exit code {done.returncode}:\n{last}")
    ends = {
        words[1].replace("_", " "): float(words[2])
        for words in map(str.split, done.stdout.splitlines())
        if words[:1] == ["stage"]
    }
    stages = [{"name": name, "seconds": taken} for name, taken in _differences(ends).items()]
    return Run(seconds=seconds, busy=used, summary={"stages": stages}, tasks=[])


def exports(path: pathlib.Path) -> str:
    """Where things come from, in the words of the by-hand script: exactly what `kubestrap up` is told."""
    declared = yaml.safe_load((ROOT / "roles/cluster/defaults/main.yml").read_text())
    said = {**declared, **yaml.safe_load(path.read_text())}
    version = said["cluster_kubernetes_version"]
    minor = "v" + ".".join(version.split(".")[:2])
    registry = said["cluster_image_registry"]
    values = {
        "KUBERNETES_VERSION": version,
        "REPOSITORY": said["cluster_kubernetes_repository"].replace("{minor}", minor),
        "FINGERPRINT": said["cluster_kubernetes_repository_key_fingerprint"],
        "IMAGE_REGISTRY": registry,
        "REGISTRY_CA": said["cluster_registry_ca_certificates"][registry.partition("/")[0]],
        "CRI_DOCKERD_URL": said["cluster_cri_dockerd_url"].replace("{arch}", "amd64"),
        "CRI_DOCKERD_SHA256": said["cluster_cri_dockerd_sha256"]["amd64"],
        "FLANNEL_REGISTRY": said["cluster_flannel_image_registry"],
        "FLANNEL_URL": said["cluster_flannel_manifest_url"],
        "FLANNEL_SHA256": said["cluster_flannel_manifest_sha256"],
    }
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def _differences(ends: dict[str, float]) -> dict[str, float]:
    """Seconds of each stage from the seconds at which each ended."""
    starts = [0.0, *ends.values()]
    return {name: end - start for (name, end), start in zip(ends.items(), starts, strict=False)}


def _stages(title: str, runs: list[Run]) -> list[str]:
    taken = [{stage["name"]: stage["seconds"] for stage in run.summary["stages"]} for run in runs]
    names = list(dict.fromkeys(name for stages in taken for name in stages))
    return [
        "| " + " | ".join([f"stages of {title}, s", *(f"run {number}" for number in range(1, len(runs) + 1))]) + " |",
        "|" + "---|" * (len(runs) + 1),
        *(
            "| " + " | ".join([name, *(f"{stages[name]:.1f}" if name in stages else "" for stages in taken)]) + " |"
            for name in names
        ),
    ]
