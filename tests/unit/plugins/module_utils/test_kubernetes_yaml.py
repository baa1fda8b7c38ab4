"""YAML as kubectl reads it; tests/integration/test_kubectl_yaml.py asks kubectl itself about the same table."""

import json
from typing import Any

import pytest
import yaml
from ansible_collections.kubestrap.cluster.plugins.module_utils.kubernetes_yaml import (
    YamlError,
    decode,
    dump,
    load,
    load_all,
)

# What kubectl reads a scalar as; one that it does not take is no key here.
SCALARS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "On", "TRUE", '!!bool "yes"'), True),
    **dict.fromkeys(("NO", "no", "n", "off", "False"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL", '!!null ""')),
    **{text: text for text in ("=", ".", "+", "tRue", "nULL", "1.2.3", "v1.2", "0o8", "0b2", "0x", "_1", "1e5x")},
    **{text: text for text in ("10:30", "18:45:10", "12:34:56", "2026-03-01", "2026-03-01T08:30:00Z", "<<")},
    **{text: text for text in ("1e400", ".1e400", "0x1.8", "0xFFFFFFFFFFFFFFFFFF", "2001-12-14 21:59:43.10 -5")},
    "0o644": 420, "0644": 420, "08": 8, "0x1F": 31, "-0X1f": -31, "+0o17": 15, "0b101": 5, "-0b1_1": -3,
    "00": 0, "0_7": 7,
    "1_000": 1000, "1__0": 10, "-_1": -1, "1_": 1, "1.0": 1, "1e3": 1000, "7e12345": "7e12345",
    "18371e12": 18371 * 10**12,
    "5.": 5, ".5": 0.5, "+.5": 0.5, ".5_0": 0.5, "1.10": 1.1, "1.5e-7": 1.5e-7, "-0.0": 0, "1_0.5_0": 10.5,
    "9223372036854775807": 2**63 - 1, "9223372036854775808": 2.0**63, "12345678901234567890": 12345678901234567890.0,
    "18446744073709551616": 2.0**64, "0777777777777777777777777": 777777777777777777777777.0, "1e21": 1e21,
    "9.223372036854775e18": 9223372036854775000,
    "'1'": "1", '"no"': "no", "!!str 1": "1", '!!int "3"': 3, "!!float 1": 1, "!!binary aGVsbG8=": "hello",
    "!foo 12": "12",
    "! 12": "12", "!!timestamp 2001-01-01": "2001-01-01",
}  # fmt: skip
REFUSED = (".inf", "-.Inf", ".nan", "!!int 3.5", "!!null x", "!!float x", "!!float 12345678901234567890", "!!binary x")
KEYS = {"on": "true", "1": "1", "0x1F": "31", "1.5": "1.5", "1e3": "1000", "1e20": "1e+20",
        "1234567.5": "1.2345675e+06",
        "1e-7": "1e-07", ".inf": ".inf", "10:30": "10:30", "2026-03-01": "2026-03-01"}  # fmt: skip
REFUSED_KEYS = ("null", "~", "18446744073709551615", "[1]", "{a: 1}")
# Documents, and what they hold below `x`.
DOCUMENTS: dict[str, Any] = {
    "x: {a: &a {p: 1, q: 2}, b: {<<: *a, p: 3}}": {"a": {"p": 1, "q": 2}, "b": {"p": 3, "q": 2}},
    # In Go a merge also wins over what stands above it.
    "x: {a: &a {p: 1}, b: {p: 3, <<: *a}}": {"a": {"p": 1}, "b": {"p": 1}},
    "x: {a: &a {p: 1}, b: {<<: [*a, {p: 9, r: 1}]}}": {"a": {"p": 1}, "b": {"p": 1, "r": 1}},
    "x: {'<<': {p: 1}}": {"<<": {"p": 1}},
    "x: |-\n  ---\n  y\n": "---\ny",
    "x:\r\n- a\r\n- 1\r\n": ["a", 1],
    "? x\n: [http://a:80, b::c]": ["http://a:80", "b::c"],
    "x: a b\n  c": "a b c",
    # An anchor may be given again.
    "x: [&a 1, *a, &a 2, *a]": [1, 1, 2, 2],
    "x: &a [&a {b: 1}, *a]": [{"b": 1}, {"b": 1}],
    # Of so many digits Go makes a text.
    f"x: {'1' * 5000}": "1" * 5000,
    f"x: -{'1' * 400}": f"-{'1' * 400}",
    # JSON knows neither, YAML reads a text.
    '{"x": [NaN, -Infinity]}': ["NaN", "-Infinity"],
    '{"x": "\\ud83d"}': "\ufffd",
    '{"x": "\\ud83d\\ude00"}': "\U0001f600",
}


@pytest.mark.parametrize("text", SCALARS)
def test_scalar_is_what_kubectl_reads(text: str) -> None:
    value = load(f"x: {text}\n")["x"]
    assert (value, type(value)) == (SCALARS[text], type(SCALARS[text]))


@pytest.mark.parametrize("text", KEYS)
def test_key_is_what_kubectl_reads(text: str) -> None:
    assert load(f"x: {{{text}: 1}}\n") == {"x": {KEYS[text]: 1}}


@pytest.mark.parametrize("text", DOCUMENTS)
def test_document_is_what_kubectl_reads(text: str) -> None:
    assert load(text) == {"x": DOCUMENTS[text]}


@pytest.mark.parametrize(
    "text",
    [
        *(f"x: {text}\n" for text in REFUSED),
        *(f"x:\n  ? {text}\n  : 1\n" for text in REFUSED_KEYS),
        "x: &a [*a]\n",
        "x: *a\n",
        "x: {<<: 1}\n",
        "x: {<<: [1]}\n",
        "x:\n\ta: 1\n",
        "x: 1\n...\ny: 1\n",
        "--- x: 1\n",
        "%YAML 1.2\n---\nx: 1\n",
        "x: a\x00\n",
        "[" * 5000,
    ],
)
def test_what_kubectl_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        load_all(text)


@pytest.mark.parametrize("digits", [400, 5000])
def test_a_number_of_json_that_nobody_can_read_is_refused(digits: int) -> None:
    with pytest.raises(YamlError, match="larger than any"):
        load(f'{{"x": {"1" * digits}}}')


def test_documents_are_parted_as_kubectl_does() -> None:
    found = load_all("---\n# nothing\n---\na: 1\n--- # next\n\nb: [1,\n 2]\n---\n")
    assert [one.value for one in found] == [{"a": 1}, {"b": [1, 2]}]
    assert found[1].lines() == {"": 7, "b": 7, "b[0]": 7, "b[1]": 8}
    assert found[1].lines("b", 1) == {"": 8}


def test_json_is_read_one_object_after_the_other() -> None:
    first, second = load_all('{"a": 1.0,\t"b": "\\ud83d\\ude00\\/"}\n{"c":\n 12345678901234567890}')
    assert first.value == {"a": 1, "b": "\N{GRINNING FACE}/"}
    assert isinstance(first.value["a"], int)
    assert isinstance(second.value["c"], float)
    assert second.lines()["c"] == 2


@pytest.mark.parametrize(
    ("text", "first", "second"),
    [
        ("# c\na: 1\nb: 2\na: 3\n", 2, 4),
        ('{\n"a": 1,\n\n"a": 2}', 2, 4),
        ("a: 1\n---\n\n---\ntrue: 1\non: 2\n", 5, 6),
    ],
)
def test_a_key_that_is_there_twice_is_told_with_both_lines(text: str, first: int, second: int) -> None:
    with pytest.raises(YamlError, match=rf"the key (a|true) is there twice, in lines {first} and {second}") as error:
        load_all(text)
    assert error.value.line == second


def test_encodings_are_read_by_their_mark() -> None:
    text = "x: \u00e9\n"
    assert decode(text.encode()) == decode(b"\xef\xbb\xbf" + text.encode()) == text
    assert decode(b"\xff\xfe" + text.encode("utf-16-le")) == decode(b"\xfe\xff" + text.encode("utf-16-be")) == text
    with pytest.raises(YamlError, match=r"no UTF-8 text \(byte 0xe9\).*iconv") as error:
        decode(b"a: 1\n" + text.encode("latin-1"))
    assert error.value.line == 2


def test_small_text_of_huge_value_is_refused() -> None:
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(YamlError, match="repeated by aliases"):
        load("\n".join(["a0: &a0 [x, x]", *levels]))


TEXTS = [
    *(text for text in SCALARS if "\n" not in text),
    *(
        "a: b",
        "a #b",
        "- a",
        "x\ny",
        "x\n",
        " lead",
        "trail ",
        "\ttab",
        "a\n\n  b \n",
        "&a",
        "*a",
        "!x",
        "%y",
        "@z",
        "`",
    ),
    *(
        "{a",
        "[b",
        "?",
        "a:",
        ":",
        "#",
        "'",
        '"',
        "08:30",
        "1:2",
        "\u2028",
        "\x07",
        "\x85",
        "\N{GRINNING FACE}",
        "7e12345",
    ),
    *("18371e12", "0o17", "1_000", "\ufeff"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_written_is_read_as_the_same_text_by_everybody(text: str) -> None:
    value = {"x": text, f"k{text}": [text, {"n": [text]}], text or "e": 1}
    written = dump(value)
    assert load(written) == value == yaml.safe_load(written)


def test_what_is_written_is_plain() -> None:
    shared = {"a": 1}
    assert dump({"x": shared, "z": [shared], "server": "https://10.0.0.1:6443"}) == (
        "x:\n  a: 1\nz:\n- a: 1\nserver: https://10.0.0.1:6443\n"
    )
    value = {"n": [1, -1, 2.5, 1e25, 10**18, True, None, {}, []]}
    assert json.dumps(load(dump(value))) == json.dumps(value)
