"""docs/security.md: every promise names a test, and every test it names is in the tree."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/security.md"
# A test, or a file of which every test shows it.
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
PROMISES = ("Secrets", "What is verified by what", "What happens in doubt", "What is never deleted")
NOBODYS = "no test of ours"


@cache
def known(path: Path) -> frozenset[str]:
    """Names of the tests in a file; none when there is no such file."""
    if not path.is_file():
        return frozenset()
    functions = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))
    return frozenset(node.name for node in functions if node.name.startswith("test_"))


def missing(text: str) -> list[str]:
    """Tests that a text names and that are not in the tree."""
    return [
        found[0]
        for found in NAMED.finditer(text)
        if not (found[2] in known(ROOT / found[1]) if found[2] else known(ROOT / found[1]))
    ]


def promises(section: str) -> list[str]:
    """Rows of the tables of a section, without their heads, and the points of its lists."""
    rows = re.findall(r"^\|(?! ?-)(?!.*\n\|-).*$", section, re.MULTILINE)
    return [*rows, *re.findall(r"^- .*(?:\n  .*)*", section, re.MULTILINE)]


def sections(text: str) -> dict[str, str]:
    """Text of each section of a page, by its heading."""
    return dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", text, re.MULTILINE))


def test_every_test_that_is_named_exists() -> None:
    assert missing(PAGE.read_text()) == []


@pytest.mark.parametrize("heading", PROMISES)
def test_every_promise_names_its_test(heading: str) -> None:
    found = promises(sections(PAGE.read_text())[heading])
    assert len(found) > 2
    assert [one for one in found if not NAMED.search(one) and NOBODYS not in one] == []


def test_no_name_is_written_so_that_it_is_not_looked_for() -> None:
    text = PAGE.read_text()
    assert text.count("::") == sum(bool(found[2]) for found in NAMED.finditer(text))


def test_the_search_finds_what_it_is_for() -> None:
    here = "tests/content/test_security_page.py"
    assert missing(f"`{here}`, `{here}::test_every_test_that_is_named_exists`") == []
    assert missing(f"`{here}::test_gone`, `tests/content/test_gone.py`") == [
        f"`{here}::test_gone`",
        "`tests/content/test_gone.py`",
    ]
    page = "## A\n\n| x | y |\n|---|---|\n| a | b |\n\n- one\n  and more\n- two\n\n## B\n- three\n"
    assert promises(sections(page)["A"]) == ["| a | b |", "- one\n  and more", "- two"]
