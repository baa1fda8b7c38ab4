"""More hosts: what they cost, and what they must not cost."""

import subprocess
from collections.abc import Sequence

from tools.benchmarks.hosts import Bench, Run, times
from tools.upstream.tools import say

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
        "| run | one host, s (busy before) | three hosts, s (busy before) | ratio | again, s | changed |",
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
        f"| run | one more by | at {_FEW}, s (busy) | at {_MANY}, s (busy) | ratio | tasks at {_FEW} | at {_MANY} |",
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
    spent: dict[int, list[float]] = {1: [], _NODES: []}
    try:
        for number in range(1, rounds + 1):
            for nodes in (1, _NODES) if number % 2 else (_NODES, 1):
                for name in names:
                    subprocess.run(
                        ["docker", "exec", name, "docker", "rmi", "-f", _IMAGE], capture_output=True, check=True
                    )
                before = _processor_seconds(names)
                run = bench.kubestrap("image", "push", _IMAGE, "--limit", ",".join(names[-nodes:]))
                say(f"run {number} of {rounds}: to {nodes} node(s) {run.seconds:.1f} s")
                runs[nodes].append(run)
                spent[nodes].append(_processor_seconds(names) - before)
    finally:
        subprocess.run(["docker", "rmi", "-f", _IMAGE], capture_output=True, check=True)
    one, all_nodes = runs[1], runs[_NODES]
    return [
        times(all_nodes, one, f"one node, for {_NODES} nodes and {_IMAGE_MB} MB"),
        "",
        f"| run | to one node, s (busy) | to {_NODES}, s (busy) | ratio | hosts' part, s | of {_NODES} |",
        "|---|---|---|---|---|---|",
        *(
            f"| {number} | {few} | {many} | {many.seconds / few.seconds:.2f} | {low:.1f} | {high:.1f} |"
            for number, (few, many, low, high) in enumerate(
                zip(one, all_nodes, spent[1], spent[_NODES], strict=True), start=1
            )
        ),
        "",
        "The image is packed and leaves the operator once; hosts give it on. Their part is processor seconds (TLS,",
        "`docker load`). Machines of their own spend them side by side; here they share the processors of this one, so",
        "that part alone grows with their number.",
    ]


def _processor_seconds(hosts: Sequence[str]) -> float:
    """Processor seconds that hosts have used since they were made."""
    script = (
        "awk '/usage_usec/ {print $2 / 1e6}' /sys/fs/cgroup/cpu.stat 2>/dev/null"
        " || awk '{print $1 / 1e9}' /sys/fs/cgroup/cpuacct/cpuacct.usage"
    )
    read = [["docker", "exec", name, "sh", "-c", script] for name in hosts]
    return sum(float(subprocess.run(one, capture_output=True, text=True, check=True).stdout) for one in read)


def _make_image() -> None:
    """Make an image of bytes that nothing compresses."""
    script = f"head -c {_IMAGE_MB}000000 /dev/urandom >data && tar -c data | docker import - {_IMAGE}"
    subprocess.run(
        ["sh", "-ec", f'cd "$(mktemp -d)"; trap \'rm -r "$PWD"\' EXIT; {script}'], capture_output=True, check=True
    )
