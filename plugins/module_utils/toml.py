"""TOML 1.0, read and written as the data it means; comments are not kept.

Hosts have Python 3.9, and a reader is in the standard library from 3.11 on only; there is no writer in any.
Source of the rules: the specification of TOML 1.0 (toml.io).

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Dict, List, Optional

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t]|\r?\n|#[^\n]*)*")
_INTEGER = re.compile(
    r"[+-]?(?:0|[1-9](?:_?[0-9])*)|0x[0-9A-Fa-f](?:_?[0-9A-Fa-f])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*"
)
# 64 binary digits, with underscores between them.
_LONGEST_INTEGER = 129
_FLOAT = re.compile(r"[+-]?(?:inf|nan|(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?)")
_TIME = re.compile(
    r"\d{4}-\d{2}-\d{2}(?:[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})?)?|\d{2}:\d{2}:\d{2}(?:\.\d+)?"
)
_WORD = re.compile(r"[A-Za-z0-9+._-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
# A backslash at the end of a line takes away what is blank up to the next word.
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([ \t]*\n[ \t\n]*)|(.))", re.DOTALL)
# How a table came to be decides whether it may be added to.
_BY_HEADER, _ON_THE_WAY, _DOTTED, _INLINE = "header", "on the way", "dotted", "inline"


class TomlError(ValueError):
    """A text is no TOML; says in which line and why."""


class Time(str):
    """A date or a time, as it was written."""

    __slots__ = ()


class _Tables(List[Dict[str, Any]]):
    """An array of tables, made by [[headers]]."""


def loads(text: str) -> dict[str, Any]:
    """Return what a text means: tables as dict, dates and times as Time.

    Raises:
        TomlError: It is no TOML.
    """
    try:
        return _Reader(text.removeprefix("\ufeff")).document()
    except RecursionError:
        raise TomlError("the values are too deep inside each other") from None


def dumps(data: dict[str, Any]) -> str:
    """Return a text that means this; a table per header, a value per line, in the order of the data."""
    lines: list[str] = []
    _write(lines, data, ())
    return "\n".join(lines).strip("\n") + "\n"


def dotted(path: tuple[str, ...]) -> str:
    """Return the name of a table or a value as TOML writes it, such as `plugins."io.containerd.grpc.v1.cri".cni`."""
    return ".".join(name if _BARE.fullmatch(name) else _quoted(name) for name in path)


class _Reader:
    """One pass over a text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.kinds: dict[int, str] = {}
        self.root: dict[str, Any] = {}

    def document(self) -> dict[str, Any]:
        table = self.root
        while True:
            self._skip(_BETWEEN)
            if self.at >= len(self.text):
                return self.root
            if self._take("[["):
                table = self._array_of_tables(self._header("]]"))
            elif self._take("["):
                table = self._table(self._header("]"))
            else:
                self._pair(table)
            self._end_of_line()

    def error(self, why: str) -> TomlError:
        return TomlError(f"line {self.text.count(chr(10), 0, self.at) + 1}: {why}")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        assert found is not None  # noqa: S101 - these patterns match nothing at least
        if "#" in found[0] and _CONTROL.search(found[0].replace("\r\n", "\n")):
            raise self.error("a control character in a comment")
        self.at = found.end()

    def _take(self, word: str) -> bool:
        if self.text.startswith(word, self.at):
            self.at += len(word)
            return True
        return False

    def _end_of_line(self) -> None:
        self._skip(_BLANK)
        if self.at < len(self.text) and not self.text.startswith(("#", "\n", "\r\n"), self.at):
            raise self.error("something follows that does not belong there")

    def _header(self, end: str) -> tuple[str, ...]:
        path = self._key()
        if not self._take(end):
            raise self.error(f"the name of a table without its {end}")
        return path

    def _key(self) -> tuple[str, ...]:
        names = []
        while True:
            self._skip(_BLANK)
            if self.text.startswith(('"', "'"), self.at):
                if self.text.startswith(('"""', "'''"), self.at):
                    raise self.error("a name over several lines")
                names.append(self._string())
            else:
                found = _BARE.match(self.text, self.at)
                if not found:
                    raise self.error("a name was expected")
                names.append(found[0])
                self.at = found.end()
            self._skip(_BLANK)
            if not self._take("."):
                return tuple(names)

    def _enter(self, table: dict[str, Any], name: str) -> dict[str, Any]:
        if name not in table:
            table[name] = self._new(_ON_THE_WAY)
        inner = table[name]
        if isinstance(inner, _Tables):
            inner = inner[-1]
        if not isinstance(inner, dict) or self.kinds[id(inner)] == _INLINE:
            raise self.error(f"{name} has a value already, and is no table to add to")
        return inner

    def _new(self, kind: str) -> dict[str, Any]:
        table: dict[str, Any] = {}
        self.kinds[id(table)] = kind
        return table

    def _table(self, path: tuple[str, ...]) -> dict[str, Any]:
        outer = self.root
        for name in path[:-1]:
            outer = self._enter(outer, name)
        if path[-1] not in outer:
            made: dict[str, Any] = self._new(_BY_HEADER)
            outer[path[-1]] = made
            return made
        table = outer[path[-1]]
        if not isinstance(table, dict) or self.kinds[id(table)] != _ON_THE_WAY:
            raise self.error(f"{dotted(path)} is there already")
        self.kinds[id(table)] = _BY_HEADER
        return table

    def _array_of_tables(self, path: tuple[str, ...]) -> dict[str, Any]:
        outer = self.root
        for name in path[:-1]:
            outer = self._enter(outer, name)
        tables = outer.setdefault(path[-1], _Tables())
        if not isinstance(tables, _Tables):
            raise self.error(f"{dotted(path)} is there already, and is no array of tables")
        table: dict[str, Any] = self._new(_BY_HEADER)
        tables.append(table)
        return table

    def _pair(self, table: dict[str, Any]) -> None:
        path = self._key()
        for name in path[:-1]:
            if name not in table:
                table[name] = self._new(_DOTTED)
            inner = table[name]
            if not isinstance(inner, dict) or self.kinds[id(inner)] != _DOTTED:
                raise self.error(f"{name} is there already")
            table = inner
        if path[-1] in table:
            raise self.error(f"{path[-1]} is there already")
        if not self._take("="):
            raise self.error(f"{dotted(path)} has no value")
        self._skip(_BLANK)
        table[path[-1]] = self._value()

    def _value(self) -> Any:
        if self.text.startswith(('"', "'"), self.at):
            return self._string()
        if self._take("["):
            return self._array()
        if self._take("{"):
            return self._inline_table()
        return self._scalar()

    def _scalar(self) -> Any:
        if found := _TIME.match(self.text, self.at):
            self.at = found.end()
            return Time(found[0])
        found = _WORD.match(self.text, self.at)
        word = found[0] if found else ""
        if word in {"true", "false"}:
            value: Any = word == "true"
        elif _INTEGER.fullmatch(word):
            if len(word) > _LONGEST_INTEGER:
                raise self.error("a number of more than 64 bits")
            value = int(word, 0) if word[:2] in {"0x", "0o", "0b"} else int(word)
        elif _FLOAT.fullmatch(word):
            value = float(word)
        else:
            raise self.error(f"{word} is no value; a text needs quotes" if word else "a value was expected")
        self.at += len(word)
        return value

    def _array(self) -> list[Any]:
        values: list[Any] = []
        while True:
            self._skip(_BETWEEN)
            if self._take("]"):
                return values
            values.append(self._value())
            self._skip(_BETWEEN)
            if not self._take(",") and not self.text.startswith("]", self.at):
                raise self.error("an array without its ]")

    def _inline_table(self) -> dict[str, Any]:
        table = self._new(_INLINE)
        self._skip(_BLANK)
        while not self._take("}"):
            if table and not self._take(","):
                raise self.error("an inline table without its }")
            self._pair(table)
            self._skip(_BLANK)
        self._close(table)
        return table

    def _close(self, table: dict[str, Any]) -> None:
        self.kinds[id(table)] = _INLINE
        for inner in table.values():
            if isinstance(inner, dict):
                self._close(inner)

    def _string(self) -> str:
        quote = self.text[self.at]
        long = self.text.startswith(quote * 3, self.at)
        start = self.at + (3 if long else 1)
        end = self._closing(start, quote, long=long)
        raw = self.text[start:end]
        plain = raw.replace("\r\n", "\n")
        if _CONTROL.search(plain) or (not long and "\n" in plain):
            raise self.error("a string that does not end in its line" if "\n" in plain else "a control character")
        if long:
            plain = plain.removeprefix("\n")
        value = plain if quote == "'" else self._unescaped(plain)
        self.at = end + (3 if long else 1)
        return value

    def _closing(self, start: int, quote: str, *, long: bool) -> int:
        at = start
        while at < len(self.text):
            if quote == '"' and self.text[at] == "\\":
                at += 2
            elif not long and self.text[at] in (quote, "\n"):
                break
            elif long and self.text.startswith(quote * 3, at):
                # Up to two more belong to the text.
                more = 0
                while more < 2 and self.text.startswith(quote * 4, at + more):  # noqa: PLR2004
                    more += 1
                return at + more
            else:
                at += 1
        if at >= len(self.text) or self.text[at] != quote:
            raise self.error(f"a string without its {quote * 3 if long else quote}")
        return at

    def _unescaped(self, text: str) -> str:
        def meant(found: re.Match[str]) -> str:
            number = found[1] or found[2]
            if number:
                code = int(number, 16)
                if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004
                    raise self.error(f"{found[0]} is no character")
                return chr(code)
            if found[3]:
                return ""
            if found[4] not in _ESCAPES:
                raise self.error(f"{found[0]} means nothing in a text; for a backslash write two")
            return _ESCAPES[found[4]]

        return _ESCAPE.sub(meant, text)


def _write(lines: list[str], table: dict[str, Any], path: tuple[str, ...]) -> None:
    inner = {name: value for name, value in table.items() if isinstance(value, dict) or _are_tables(value)}
    indent = "  " * max(len(path) - 1, 0)
    lines += [f"{indent}{dotted((name,))} = {_literal(value)}" for name, value in table.items() if name not in inner]
    for name, value in inner.items():
        below = (*path, name)
        indent = "  " * len(path)
        for one in value if isinstance(value, list) else [value]:
            header = f"[[{dotted(below)}]]" if isinstance(value, list) else f"[{dotted(below)}]"
            lines += ["", f"{indent}{header}"]
            _write(lines, one, below)


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


def _literal(value: Any) -> str:
    text: Optional[str] = None
    if isinstance(value, Time):
        text = str(value)
    elif isinstance(value, str):
        text = _quoted(value)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, list):
        text = "[" + ", ".join(map(_literal, value)) + "]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{dotted((name,))} = {_literal(one)}" for name, one in value.items()) + "}"
    elif isinstance(value, float) and math.isnan(value):
        text = "nan"
    else:
        text = repr(value)
    return text


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
