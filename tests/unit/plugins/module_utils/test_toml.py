"""TOML: what is read is what Python's own reader reads, and what is written means the same."""

import datetime as dt
import tomllib
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import toml

GOOD = {
    "comments": "# one\nkey = 1 # two\n[table] # three # four\n# five",
    "names": 'a.\'b.c\'."d\\u0065" = 1\n1234 = true\n"" = 0\n"a]b" . c-d_e = 2\n[ x . \'y z\' ]\n',
    "strings": 'a = "\\t\\"\\\\ \\u00e9 \\U0001F600 # no ] comment"\nb = \'C:\\dir\'\nc = ""\nd = \'x "y\'\n',
    "long strings": 'a = """\nfirst\n  "two" and ""\\\n\n   third"""\nc = """d"""""\n',
    "long literal strings": "b = '''\nraw\\n''quotes'''''\n",
    "integers": "a = +1_000\nb = 0xdead_BEEF\nc = 0o755\nd = 0b1101\ne = -0\n",
    "floats": "f = 6.02e+23\ng = -1.5\nh = inf\ni = 5e-2\n",
    "times": "a = 1979-05-27T07:32:00Z\nb = 1979-05-27 07:32:00.999\nc = 1979-05-27\nd = 07:32:00\n",
    "arrays": "a = [1, [2, 'x],'], # one\n  {b = [], c.d = 1},\n]\ne = []\nf = [ [ ] , [[]] ]\n",
    "tables": "[a]\n[a.b.c]\nd = 1\n[a.b]\ne = 2\n[f]\ng.h = 1\ng.i = 2\n[f.g.j]\nk = 3\n",
    "arrays of tables": "[[a]]\nb = 1\n[[a.c]]\nd = 1\n[[a.c]]\n[a.e]\nf = 2\n[[a]]\n[[a.c]]\ng = 3\n",
    "inline tables": "a = {}\nb = { c = { d = 'e' }, f.g = 1 }\n",
    "lines that end as on Windows": "a = 1\r\n[b]\r\nc = '''x\r\ny'''\r\n# d\r\n",
}
BAD = {
    "a key twice": "a = 1\na = 2\n",
    "a table twice": "[a]\n[b]\n[a]\n",
    "a table and a key": "a = 1\n[a]\n",
    "an array and a table": "[[a]]\n[a]\n",
    "a table added to by dots": "[a.b]\nc = 1\n[a]\nb.d = 2\n",
    "an inline table added to": "a = {b = 1}\n[a.c]\n",
    "an inline table over lines": "a = {\nb = 1}\n",
    "an inline table with a comma at its end": "a = {b = 1,}\n",
    "an array of values added to": "a = [{}]\n[[a]]\n",
    "no value": "a =\n",
    "no name": " = 1\n",
    "two on a line": "a = 1 b = 2\n",
    "a text without quotes": "a = yes\n",
    "a string without its end": 'a = "b\n',
    "a long string without its end": 'a = """b\n',
    "an escape that is none": 'a = "\\d"\n',
    "half a character": 'a = "\\ud800"\n',
    "an array without its end": "a = [1, 2\n",
    "an array without commas": "a = [1 2]\n",
    "a number with a zero before it": "a = 007\n",
    "a dot that ends a number": "a = 1.\n",
    "a header without its end": "[a\n",
    "a header of nothing": "[]\n",
    "a control character": "a = '\x01'\n",
    "a control character in a comment": "# \x07\n",
}


def plain(value: Any) -> Any:
    """Times are only compared by being some."""
    if isinstance(value, toml.Time | dt.date | dt.time):
        return "time"
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_is_read_is_what_pythons_own_reader_reads(text: str) -> None:
    assert plain(toml.loads(text)) == plain(tomllib.loads(text))


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD.keys())
def test_what_is_written_means_what_was_read(text: str) -> None:
    written = toml.dumps(toml.loads(text))
    assert plain(tomllib.loads(written)) == plain(tomllib.loads(text))
    assert toml.dumps(toml.loads(written)) == written


@pytest.mark.parametrize("text", BAD.values(), ids=BAD.keys())
def test_what_is_no_toml_is_told_with_its_line(text: str) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    with pytest.raises(toml.TomlError, match=r"line \d"):
        toml.loads(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5000])
def test_what_nobody_can_read_is_no_toml(text: str) -> None:
    with pytest.raises(toml.TomlError):
        toml.loads(text)


def test_the_line_of_a_mistake() -> None:
    with pytest.raises(toml.TomlError, match="line 3: yes is no value; a text needs quotes"):
        toml.loads("[a]\n\nb = yes\n")


def test_a_byte_order_mark_is_skipped() -> None:
    assert toml.loads("\ufeffa = 1") == {"a": 1}


def test_names_are_quoted_where_they_have_to_be() -> None:
    place = ("plugins", "io.containerd.grpc.v1.cri", 'a"b')
    assert toml.dotted(place) == 'plugins."io.containerd.grpc.v1.cri"."a\\"b"'
