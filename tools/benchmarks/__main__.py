"""The command: `python -m tools.benchmarks`."""

import argparse
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

from kubestrap.errors import KubestrapError

from tools.benchmarks.by_hand import by_hand
from tools.benchmarks.hosts import ROOT, Bench, BenchmarkError
from tools.benchmarks.page import merged, section
from tools.benchmarks.shapes import image_push, one_more_worker, three_hosts

_UPSTREAM = [sys.executable, "-m", "tools.upstream"]
MEASUREMENTS: dict[str, tuple[str, Callable[[Bench, int], list[str]]]] = {
    "by-hand": ("One host, against a script", by_hand),
    "three-hosts": ("Three hosts", three_hosts),
    "one-more-worker": ("One more worker", one_more_worker),
    "image-push": ("An image to many nodes", image_push),
}


def run(names: Sequence[str], rounds: int, page: pathlib.Path | None) -> None:
    """Measure, print, and write each result as soon as it is there."""
    subprocess.run([*_UPSTREAM, "up"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = subprocess.run([*_UPSTREAM, "variables"], cwd=ROOT, check=True, capture_output=True, text=True)
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        bench = Bench(pathlib.Path(directory), pathlib.Path(found.stdout.strip()))
        try:
            for name in names:
                title, measure = MEASUREMENTS[name]
                text = section(title, measure(bench, rounds))
                print(text, flush=True)
                if page:
                    page.write_text(merged(page.read_text(), title, text))
        finally:
            bench.remove()


def main() -> int:
    """Run the command line; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(MEASUREMENTS)} (default: all)")
    parser.add_argument("-n", "--rounds", type=int, default=2, help="how often each is run (default: %(default)s)")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE", help="put the results into this page as well")
    flags = parser.parse_args()
    if flags.rounds < 1:
        parser.error("--rounds: at least 1")
    if unknown := [name for name in flags.names if name not in MEASUREMENTS]:
        parser.error(f"there is no {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
    try:
        run(flags.names or list(MEASUREMENTS), flags.rounds, flags.write)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 5
    except subprocess.CalledProcessError as error:
        print(f"bench: {error.cmd} ended with exit code {error.returncode}; the lines above say why.", file=sys.stderr)
        return 5
    except KubestrapError as error:
        print("\n".join((f"bench: {error.message}", *error.details)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("bench: interrupted; its hosts are removed.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
