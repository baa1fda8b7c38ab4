"""Nothing that a host says steers the terminal of the person who reads it."""

import pytest
from kubestrap.model.text import harmless, harmless_value


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain äöü 日本 ✓\ttab\nline", "plain äöü 日本 ✓\ttab\nline"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cm0gLXJm\x1b\\after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("\x9d0;title\x9cafter", "after"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1bcreset", "reset"),
        ("\x1b(0line", "line"),
        ("end\x1b", "end"),
        ("over\rwritten", "over\nwritten"),
        ("dos\r\nline", "dos\nline"),
        ("bell\x07 back\x08 null\x00 del\x7f", "bell back null del"),
        ("turned \u202etxt.exe", "turned txt.exe"),
        ("turned \u061c1", "turned 1"),
        ("broken \udc80 byte", "broken ? byte"),
        ("\x1b]0;title without an end\nnext", ""),
    ],
)
def test_text(said, shown):
    assert harmless(said) == shown


def test_values_of_any_shape():
    assert harmless_value({"\x1b[1ma": ["\x07b", {"c": 1}], "d": None}) == {"a": ["b", {"c": 1}], "d": None}
