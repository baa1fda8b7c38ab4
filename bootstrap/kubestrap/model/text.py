"""Foreign text: what hosts and programs say, made harmless for a terminal."""

import re
from collections.abc import Mapping
from typing import Any

# ECMA-48: a control sequence; a string that ends with BEL or ST (a title, a clipboard); any other escape.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# C0 but for tab and line feed, DEL, C1, and what turns the direction of writing.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")

# With an error, ansible-core shows lines of the file, or the value, that it is about (2.19 and later).
_EXCERPT = re.compile(r"^(Origin: [^\n]*\n)\n(?:[^\n]+(?:\n|\Z))+", re.MULTILINE)


def without_excerpts(text: str) -> str:
    """Return what Ansible says without what it quotes of files and variables: there may be passwords in it.

    File, line and column stay.
    """
    return _EXCERPT.sub(r"\1", text)


def harmless(text: str) -> str:
    """Return a text without anything that steers a terminal; lines stay lines.

    Escape sequences go whole (ECMA-48, 5.4 and 5.6), so that no half of one is left as a riddle.
    """
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    text = _CONTROLS.sub("", text.replace("\r", "\n"))
    # What was no UTF-8 when it was read cannot be written either.
    return text.encode("utf-8", "replace").decode()


def harmless_value(value: Any) -> Any:
    """Return a value as JSON has it, with every text in it made harmless."""
    if isinstance(value, str):
        return harmless(value)
    if isinstance(value, Mapping):
        return {harmless(key) if isinstance(key, str) else key: harmless_value(item) for key, item in value.items()}
    return [harmless_value(item) for item in value] if isinstance(value, list | tuple) else value
