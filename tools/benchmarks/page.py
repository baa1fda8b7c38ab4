"""docs/benchmarks.md: an introduction by hand, then one section for each measurement."""

import os
from datetime import UTC, datetime

MARK = "<!-- written by `make bench` from here on -->\n"


def section(title: str, lines: list[str]) -> str:
    """Return what was measured, as Markdown."""
    when = f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} processors; hosts are Debian 13 with Docker."
    return "\n".join([f"## {title}", "", when, "", *lines, ""])


def merged(page: str, title: str, text: str) -> str:
    """Put a section in the place of the one with its title; the others stay."""
    introduction, _, written = page.partition(MARK)
    sections: dict[str, str] = {}
    for part in f"\n{written}".split("\n## ")[1:]:
        sections[part.partition("\n")[0]] = f"## {part.strip()}\n"
    sections[title] = text
    return introduction + MARK + "\n" + "\n".join(sections.values())
