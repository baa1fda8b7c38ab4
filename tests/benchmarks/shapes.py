"""More hosts: what they cost, and what they must not cost."""

import subprocess
from collections.abc import Sequence

from tests.benchmarks.hosts import Bench, Run, times
from tests.upstream.tools import say

_FEW, _MANY = 1, 8
_IMAGE = "kubestrap-bench:300mb"
_IMAGE_MB = 300
_NODES = 5


def three_hosts(bench: Bench, rounds: int) -> list[str]:
    """`kubestrap up` on one host and on three, in turn; then again on the three."""
    one: list[Run] = []
    three: list[Run] = []
    again: list[Run] = []
    for number in range(1, rounds + 1):
        for workers in (0, 2) if number % 2 else (2, 0):
            bench.fresh(workers=workers)
            run = bench.kubestrap("up")
            say(f"run {number} of {rounds}: {workers + 1} host(s) {run.seconds:.1f} s")
            (three if workers else one).append(run)
            if workers:
                again.append(bench.kubestrap("up"))
    return [
        times(three, one, "one host"),
        "",
        "| run | one host, s (load before) | three hosts, s (load before) | ratio | again, s | changed |",
        "|---|---|---|---|---|---|",
        *(
            f"| {number} | {few} | {many} | {many.seconds / few.seconds:.2f} | {second} | {second.summary['changed']} |"
            for number, (few, many, second) in enumerate(zip(one, three, again, strict=True), start=1)
        ),
    ]


def one_more_worker(bench: Bench, rounds: int) -> list[str]:
    """A worker is added to a small cluster and to a big one: by `up --limit`, and by `up`."""
    rows = []
    for number in range(1, rounds + 1):
        bench.fresh(workers=_FEW)
        bench.kubestrap("up")
        few = _add_two(bench, _FEW)
        bench.grow(workers=_MANY)
        bench.kubestrap("up")
        many = _add_two(bench, _MANY)
        for way, small, big in zip(("`up --limit NEW`", "`up`"), few, many, strict=True):
            say(f"run {number} of {rounds}: {way} {small.seconds:.1f} s, {big.seconds:.1f} s")
            rows.append(
                f"| {number} | {way} | {small} | {big} | {big.seconds / small.seconds:.2f} "
                f"| {len(small.tasks)} | {len(big.tasks)} |"
            )
    return [
        f"| run | one more by | at {_FEW}, s (load) | at {_MANY}, s (load) | ratio | tasks at {_FEW} | at {_MANY} |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"By `up` it is the next one: at {_FEW + 1} and at {_MANY + 1} workers. All hosts share the processors of this",
        "machine, so what `up` looks at on the hosts that are there counts in full here; machines of their own look at",
        "themselves side by side.",
    ]


def _add_two(bench: Bench, workers: int) -> Sequence[Run]:
    new = bench.grow(workers=workers + 1).hosts[-1].name
    limited = bench.kubestrap("up", "--limit", new)
    bench.grow(workers=workers + 2)
    return limited, bench.kubestrap("up")


def image_push(bench: Bench, rounds: int) -> list[str]:
    """An image goes to one node and to five, in turn."""
    lab = bench.fresh(workers=_NODES - 1)
    names = [host.name for host in lab.hosts]
    bench.kubestrap("up")
    _make_image()
    runs: dict[int, list[Run]] = {1: [], _NODES: []}
    try:
        for number in range(1, rounds + 1):
            for nodes in (1, _NODES) if number % 2 else (_NODES, 1):
                for name in names:
                    subprocess.run(
                        ["docker", "exec", name, "docker", "rmi", "-f", _IMAGE], capture_output=True, check=True
                    )
                run = bench.kubestrap("image", "push", _IMAGE, "--limit", ",".join(names[-nodes:]))
                say(f"run {number} of {rounds}: to {nodes} node(s) {run.seconds:.1f} s")
                runs[nodes].append(run)
    finally:
        subprocess.run(["docker", "rmi", "-f", _IMAGE], capture_output=True, check=True)
    one, all_nodes = runs[1], runs[_NODES]
    return [
        times(all_nodes, one, f"one node, for {_NODES} nodes and {_IMAGE_MB} MB"),
        "",
        f"| run | to one node, s (load before) | to {_NODES} nodes, s (load before) | ratio |",
        "|---|---|---|---|",
        *(
            f"| {number} | {few} | {many} | {many.seconds / few.seconds:.2f} |"
            for number, (few, many) in enumerate(zip(one, all_nodes, strict=True), start=1)
        ),
        "",
        f"Sending and `docker load` on all {_NODES} hosts share the processors of this machine; packing happens once.",
    ]


def _make_image() -> None:
    """Make an image of bytes that nothing compresses."""
    script = f"head -c {_IMAGE_MB}000000 /dev/urandom >data && tar -c data | docker import - {_IMAGE}"
    subprocess.run(
        ["sh", "-ec", f'cd "$(mktemp -d)"; trap \'rm -r "$PWD"\' EXIT; {script}'], capture_output=True, check=True
    )
