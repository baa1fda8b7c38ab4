"""docs/proof.md: what ran where, when, and how long it took. Written by the e2e tests, never by hand."""

import itertools
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

# From this heading on the page is written by hand: what `time` said of commands that take whole machines.
BY_HAND = "## Whole runs"
# Cells somebody may ask about. One that no test filled says so.
SYSTEMS = ("Debian 13", "Debian 12", "Ubuntu 24.04", "Ubuntu 22.04")
RUNTIMES = ("docker", "containerd")
TOPOLOGIES = ("1 control plane", "1 control plane + 1 worker")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cluster that was made."""

    system: str
    runtime: str
    topology: str
    kubernetes: str
    seconds: float
    second_run_seconds: float | None = None


def render(cells: Iterable[Cell], tests: Mapping[str, float], *, root: Path, before: str = "") -> str:
    """Return the page; `tests` maps the name of every e2e test that passed to its seconds, `before` is the old page."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False
    ).stdout.strip()
    made = {(cell.system, cell.runtime, cell.topology): cell for cell in cells}
    lines = [
        "# Proof",
        "",
        "Written by `make proof`: every cell is a cluster that was made, on hosts that were bare before.",
        "",
        f"Run of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC at commit `{commit or 'unknown'}`, on one machine that also",
        "builds and serves everything the hosts download.",
        "",
        "| hosts | runtime | topology | Kubernetes | `up`, s | second `up`, s |",
        "|---|---|---|---|---|---|",
    ]
    asked = itertools.product(SYSTEMS, RUNTIMES, TOPOLOGIES)
    # Shapes that no row was foreseen for come last.
    for key in dict.fromkeys([*asked, *made]):
        cell = made.get(key)
        what = " | ".join(key)
        if cell is None:
            lines.append(f"| {what} | | not proved | |")
        else:
            again = "" if cell.second_run_seconds is None else f"{cell.second_run_seconds:.0f}"
            lines.append(f"| {what} | {cell.kubernetes} | {cell.seconds:.0f} | {again} |")
    lines += ["", "## Tests that passed", "", "| test | s |", "|---|---|"]
    lines += [f"| {name} | {seconds:.0f} |" for name, seconds in sorted(tests.items())]
    _, heading, by_hand = before.partition(BY_HAND)
    return "\n".join(lines) + "\n" + (f"\n{heading}{by_hand}" if heading else "")
