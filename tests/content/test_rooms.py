"""What differs between systems, runtimes and minors of Kubernetes is said in its room, and nowhere else."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Its hosts are Debian, made by us.
LAB = "bootstrap/kubestrap/lab/"


def lines(*outside: str) -> Iterator[tuple[str, str]]:
    """Yield what the program and the modules say, by file and line, outside these places."""
    for part in ("plugins", "bootstrap"):
        for path in sorted((ROOT / part).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith(outside):
                for number, line in enumerate(path.read_text().splitlines(), 1):
                    yield f"{name}:{number}", line


def test_package_managers_are_named_in_their_room() -> None:
    # An example for a host of which nothing is known yet.
    example = "such as `apt-get install python3`"
    found = [
        place
        for place, line in lines("plugins/module_utils/packages/", LAB)
        if re.search(r"\bapt\b|\bdpkg\b|/apt/", line.replace(example, ""))
    ]
    assert found == []
