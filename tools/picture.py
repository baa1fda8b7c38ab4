"""Draws what a command printed, for the README: `kubestrap up ... | python -m tools.picture docs/up.svg`."""

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

WIDTH = 120

# Rich's own form names fonts on a server; the reader's own will do.
FORM = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, Menlo, Consolas, monospace; font-size: {char_height}px; }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g></svg>
"""


def picture(text: str, title: str) -> str:
    """Return the picture of a terminal with this text, as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), highlight=False)
    console.print(text.rstrip(), markup=False)
    return console.export_svg(title=title, theme=MONOKAI, code_format=FORM, unique_id="kubestrap")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(picture(sys.stdin.read(), "kubestrap up"), encoding="utf-8")
