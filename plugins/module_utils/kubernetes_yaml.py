"""YAML as kubectl and the programs of Kubernetes read and write it.

That is sigs.k8s.io/yaml, which turns YAML into JSON by the rules of go.yaml.in/yaml/v2: `yes` and `on` are booleans,
`0644` and `0o644` are octal, and there is no base 60, no `=` and no time of day. PyYAML's own loaders differ in each.

Runs on the operator's machine, in Ansible and in the program: standard library and PyYAML, Python 3.9.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import json
import math
import re
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
from yaml.composer import Composer

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG = "tag:yaml.org,2002:"
# What a scalar without quotes and without a tag is called until it is looked at.
PLAIN = "plain"
WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
# \Z and not $: a value may end with a line break.
INTEGER = re.compile(r"([-+]?)(0[bB][01]+|0[oO][0-7]+|0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]{0,19})\Z")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
# Go takes underscores in a number that begins with its point, one at a time.
POINT = re.compile(r"\.[0-9](_?[0-9])*([eE][-+]?[0-9](_?[0-9])*)?\Z")
DIGITS_AND_COLONS = re.compile(r"[-+0-9][-+0-9:._]*\Z")
DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?\Z")
SURROGATE = re.compile("[\ud800-\udfff]")
# Below these numbers aliases may repeat what they like.
FEW_REPEATED, FEW_NODES = 100, 1000
INT64 = 1 << 63
# Above this Go writes a float with an exponent.
MANY_DIGITS = 1e21
BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


class YamlError(Exception):
    """A text is not what kubectl could read. The text says why.

    Attributes:
        line: Where, counted from 1.
    """

    def __init__(self, text: str, line: int = 1) -> None:
        """Say what is wrong in which line."""
        super().__init__(text)
        self.line = line


class Document(NamedTuple):
    """One document of a file."""

    value: Any
    node: Any
    """What `lines` looks at; None when places are not known."""
    above: int
    """Lines of the file above the document."""

    def lines(self, *path: Any) -> dict[str, int]:
        """Return the line of every field by its path, such as `spec.ports[0].port`; of the whole by the empty path.

        Args:
            path: Keys and numbers that lead to the part asked for; without, the whole document.
        """
        node, line = self.node, self.above + 1
        for step in path:
            node, line = _inside(node, step, line - self.above)
            line += self.above
        if not path and node is not None:
            line = node.start_mark.line + 1 + self.above
        found = {"": line}
        found.update((name, number + self.above) for name, number in _lines(node, "", set()))
        return found


def decode(data: bytes) -> str:
    """Return the text of a file: UTF-8, or UTF-16 that says so by a byte order mark.

    Raises:
        YamlError: when it is in another encoding.
    """
    mark, encoding = next((one for one in BOMS if data.startswith(one[0])), (b"", "utf-8"))
    try:
        return data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise YamlError(
            f"this is no {encoding.upper()} text (byte 0x{error.object[error.start]:02x}); save the file as UTF-8, or "
            "convert it: `iconv -f LATIN1 -t UTF-8`",
            line,
        ) from None


def load_all(text: str) -> list[Document]:
    """Return the documents of a text; those that hold nothing are left out.

    Raises:
        YamlError: when kubectl could not read it, would read a part of it only, or a key is there twice.
    """
    if text.lstrip().startswith("{") and (found := _json(text)) is not None:
        return found
    return [document for part, above in _parts(text) for document in _document(part, above)]


def load(text: str) -> Any:
    """Return what a text of one document holds, None when it holds nothing.

    Raises:
        YamlError: as with `load_all`, and when there are several documents.
    """
    documents = load_all(text)
    if len(documents) > 1:
        raise YamlError("only the first document of this file would be read; remove the others", documents[1].above)
    return documents[0].value if documents else None


def dump(value: Any) -> str:
    """Return a value as text that is read as the same value by kubectl, and by readers of YAML 1.1 and 1.2."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1 << 16)
    return text


def scalar(text: str) -> Any:
    """Return the value of a scalar that stands there without quotes and without a tag.

    Source: resolve.go of go.yaml.in/yaml/v2; times of day and dates stay the text they are, as they do in its decoder.
    """
    if text in WORDS:
        return WORDS[text]
    plain = text.replace("_", "")
    if text[0] in "+-0123456789":
        if (number := _integer(plain)) is not None:
            return number
        shape = FLOAT
    elif text[0] == ".":
        plain, shape = text, POINT
    else:
        return text
    if shape.match(plain):
        found = float(plain)
        # Go calls it an error when a number does not fit, and takes the text instead.
        return text if math.isinf(found) else found
    return text


def _integer(text: str) -> int | None:
    matched = INTEGER.match(text)
    if not matched:
        return None
    sign, digits = matched.groups()
    octal = digits[0] == "0" and digits[1:2].isdigit()
    number = int(digits, 8) if octal else int(digits, 0)
    if sign == "-":
        number = -number
    # One that fits only without a sign may have none.
    return number if -INT64 <= number < INT64 or (not sign and number < INT64 * 2) else None


class _Resolver:
    """Leaves open what a plain scalar is."""

    def resolve(self, kind: Any, _value: Any, implicit: Any) -> str:
        if kind is not yaml.ScalarNode:
            return ""
        return PLAIN if implicit[0] else f"{TAG}str"

    def descend_resolver(self, _parent: Any, _index: Any) -> None:
        """Take no notice of the path."""

    def ascend_resolver(self) -> None:
        """Take no notice of the path."""


class _Composer(Composer):
    """Takes an anchor that is given again, as Go does; PyYAML's own composers do not."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[attr-defined]
        if not isinstance(event, yaml.AliasEvent):
            self.anchors.pop(event.anchor, None)
        return super().compose_node(parent, index)


if hasattr(yaml, "CSafeLoader"):
    from yaml.cyaml import CParser  # type: ignore[attr-defined]

    class _Loader(_Resolver, CParser):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)

    class _Slowly(_Resolver, _Composer, CParser):
        def __init__(self, text: str) -> None:
            CParser.__init__(self, text)
            _Composer.__init__(self)
else:
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Loader(_Resolver, Reader, Scanner, Parser, _Composer):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            _Composer.__init__(self)

    _Slowly = _Loader  # type: ignore[misc, assignment]


def _parts(text: str) -> Iterator[tuple[str, int]]:
    """Give the documents as text, each with the number of lines above it: what kubectl parts a file by is `---`."""
    lines = text.split("\n")
    start = 0
    for number, line in enumerate(lines):
        if not line.startswith("---"):
            continue
        rest = line[3:].strip()
        if rest and not rest.startswith("#"):
            raise YamlError(f"behind --- stands '{rest[:20]}'; begin a new line there", number + 1)
        if number > start:
            yield "\n".join(lines[start:number]) + "\n", start
        start = number + 1
    yield "\n".join(lines[start:]), start


def _document(text: str, above: int) -> Iterator[Document]:
    try:
        try:
            node = _only_node(_Loader(text))
        except yaml.composer.ComposerError as error:
            if error.problem != "second occurrence":
                raise
            node = _only_node(_Slowly(text))
        if node is None:
            return
        value = _Reading(text, above).value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(str(error.problem), (mark.line if mark else 0) + 1 + above) from error
    except yaml.reader.ReaderError as error:
        before = text.encode()[: error.position] if isinstance(error.position, int) else b""
        raise YamlError(f"{error.reason} (0x{error.character:02x})", before.count(b"\n") + 1 + above) from error
    except YamlError as error:
        raise YamlError(str(error), error.line + above) from error
    except RecursionError:
        raise YamlError("the values are too deep inside each other", above + 1) from None
    if value is not None:
        yield Document(value, node, above)


def _only_node(loader: Any) -> Any:
    try:
        if not loader.check_node():
            return None
        node = loader.get_node()
        if loader.check_node():
            line = loader.get_node().start_mark.line + 1
            raise YamlError("a second document begins here without a line --- above it", line)
        return node
    finally:
        if hasattr(loader, "dispose"):
            loader.dispose()


class _Reading:
    """One document on its way from nodes to values."""

    def __init__(self, text: str, above: int) -> None:
        self.text = text
        self.above = above
        self.open: set[int] = set()
        self.seen: set[int] = set()
        self.count = self.again = self.repeated = 0

    def value(self, node: Any) -> Any:
        """Return what a node says, as JSON could say it."""
        if node.id == "scalar":
            self.weigh(node)
            return number(self.scalar(node), node)
        if id(node) in self.open:
            raise YamlError("an anchor's value contains itself", node.start_mark.line + 1)
        repeated = id(node) in self.seen
        self.repeated += repeated
        self.weigh(node)
        self.open.add(id(node))
        self.seen.add(id(node))
        try:
            return [self.value(item) for item in node.value] if node.id == "sequence" else self.mapping(node)
        finally:
            self.open.discard(id(node))
            self.repeated -= repeated

    def weigh(self, node: Any) -> None:
        """Refuse a small text that stands for a huge value; source: decode.go, allowedAliasRatio."""
        self.count += 1
        self.again += self.repeated > 0
        allowed = min(0.99, max(0.1, 0.99 - 0.89 * (self.count - 400_000) / 3_600_000))
        if self.again > FEW_REPEATED and self.count > FEW_NODES and self.again / self.count > allowed:
            raise YamlError("too much of this document is repeated by aliases", node.start_mark.line + 1)

    def mapping(self, node: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.id == "scalar" and key.value == "<<" and key.tag in (PLAIN, f"{TAG}merge"):
                found.update(self.merged(value))
                continue
            if key.id != "scalar":
                raise YamlError("a key cannot be a list or a mapping; put it in quotes", line)
            name = key_text(self.scalar(key), line)
            if name in lines:
                both = f"lines {lines[name] + self.above} and {line + self.above}"
                raise YamlError(f"the key {name} is there twice, in {both}", line)
            lines[name] = line
            found[name] = self.value(value)
        return found

    def merged(self, node: Any) -> dict[str, Any]:
        # Of several, the earlier ones count.
        sources = list(reversed(node.value)) if node.id == "sequence" else [node]
        found: dict[str, Any] = {}
        for source in sources:
            if source.id != "mapping":
                raise YamlError("what << brings in must be a mapping, or a list of them", node.start_mark.line + 1)
            found.update(self.value(source))
        return found

    def scalar(self, node: Any) -> Any:
        tag, text = node.tag, node.value
        if tag == PLAIN:
            # A lone ! in front, which libyaml drops, makes it a text.
            return text if self.text[node.start_mark.index :][:1] == "!" else scalar(text)
        kind = tag[len(TAG) :] if tag.startswith(TAG) else ""
        if kind == "binary":
            try:
                return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True).decode(
                    errors="replace"
                )
            except binascii.Error:
                raise YamlError("what is tagged !!binary is no base64", node.start_mark.line + 1) from None
        if kind not in ("bool", "int", "float", "null", "timestamp"):
            return text
        found = scalar(text)
        if kind == "float" and isinstance(found, int) and not isinstance(found, bool) and found < INT64:
            found = float(found)
        types = {bool: "bool", int: "int", float: "float", type(None): "null"}
        is_kind = types.get(type(found), "timestamp" if DATE.match(text) else "str")
        if is_kind != kind:
            raise YamlError(f"'{text[:20]}' is tagged !!{kind}, which it is not", node.start_mark.line + 1)
        return found


def number(value: Any, node: Any = None) -> Any:
    """Return a number as it is after Go has written it as JSON and read it as an object."""
    if isinstance(value, float):
        if not math.isfinite(value):
            line = node.start_mark.line + 1 if node is not None else 1
            raise YamlError("JSON knows no such number; put it in quotes if it is a text", line)
        if value.is_integer() and abs(value) < MANY_DIGITS:
            exact = int(Decimal(repr(value)))
            return exact if -INT64 <= exact < INT64 else value
        return value
    if isinstance(value, int) and not isinstance(value, bool) and not -INT64 <= value < INT64:
        return float(value)
    return value


def key_text(value: Any, line: int) -> str:
    """Return the text that a key becomes.

    Raises:
        YamlError: when Go has none for it.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value < INT64:
        return str(value)
    if isinstance(value, float):
        return _short(value)
    raise YamlError(f"a key cannot be {'null' if value is None else value}; put it in quotes", line)


def _short(value: float) -> str:
    """Return a float with the digits that tell it from others of 32 bits, as Go's strconv does with 'g' and -1."""
    if math.isnan(value):
        return ".nan"
    try:
        single = struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        single = math.copysign(math.inf, value)
    if math.isinf(single):
        return ".inf" if single > 0 else "-.inf"
    digits = next(p for p in range(1, 18) if struct.pack("f", float(f"{single:.{p}g}")) == struct.pack("f", single))
    sign, figures, exponent = Decimal(f"{single:.{digits}g}").normalize().as_tuple()
    mantissa = "".join(map(str, figures))
    power = len(mantissa) - 1 + int(exponent)
    if single and power not in range(-4, 6):
        mantissa = f"{mantissa[0]}.{mantissa[1:]}" if len(mantissa) > 1 else mantissa
        return f"{'-' if sign else ''}{mantissa}e{power:+03d}"
    return f"{Decimal(f'{single:.{digits}g}'):f}"


def _json(text: str) -> list[Document] | None:
    """Return the values of JSON, one after the other; None when it is no JSON from its beginning to its end."""
    found = []
    place = 0
    reader = json.JSONDecoder(object_pairs_hook=_object, parse_int=_whole, parse_constant=_no_json)
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        above = text.count("\n", 0, place)
        try:
            value, end = reader.raw_decode(text, place)
        except (json.JSONDecodeError, RecursionError):
            return None
        except YamlError as error:
            # JSON's reader knows no lines; the reader of YAML does, and refuses the same.
            list(_document(text[place:], above))
            raise YamlError(str(error), above + 1) from error
        try:
            node = _compose(text[place:end])
        except yaml.YAMLError:
            node = None
        found.append(Document(_values(value), node, above))
        place = end
    return found


def _compose(text: str) -> Any:
    return _Loader(text).get_single_node()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise YamlError(f"the key {next(name for name in names if names.count(name) > 1)} is there twice")
    return found


def _whole(text: str) -> int:
    try:
        found = int(text)
        float(found)
    except (ValueError, OverflowError):
        raise YamlError("a number is larger than any that can be read; put it in quotes if it is a text") from None
    return found


def _no_json(word: str) -> None:
    # In YAML it is a text.
    raise json.JSONDecodeError("no JSON", word, 0)


def _values(value: Any) -> Any:
    if isinstance(value, dict):
        return {_values(name): _values(inside) for name, inside in value.items()}
    if isinstance(value, list):
        return [_values(inside) for inside in value]
    # Half of a character that takes two is none; Go says so with the sign for that.
    return SURROGATE.sub("\ufffd", value) if isinstance(value, str) else number(value)


def _inside(node: Any, step: Any, line: int) -> tuple[Any, int]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == step:
                return value, value.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark.line + 1
    return None, line


def _lines(node: Any, path: str, around: set[int]) -> Iterator[tuple[str, int]]:
    if node is None or id(node) in around:
        return
    within = {*around, id(node)}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "<<" and key.tag == PLAIN:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    yield from _lines(source, path, within)
                continue
            inside = f"{path}.{key.value}" if path else str(key.value)
            yield inside, key.start_mark.line + 1
            yield from _lines(value, inside, within)
    elif isinstance(node, yaml.SequenceNode):
        for count, value in enumerate(node.value):
            inside = f"{path}[{count}]"
            yield inside, value.start_mark.line + 1
            yield from _lines(value, inside, within)


class _Dumper(yaml.SafeDumper):
    """Writes without anchors, and puts into quotes what any reader could take for something else than a text."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        usual = super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]
        if kind is not yaml.ScalarNode or not implicit[0] or usual != f"{TAG}str":
            return usual
        # The exact name does not matter: it is not the text's, so the text is put into quotes.
        return usual if isinstance(scalar(value), str) and not DIGITS_AND_COLONS.match(value) else PLAIN


def _text(dumper: Any, value: Any) -> Any:
    # Strings of Ansible carry more than their text.
    style = "|" if "\n" in value else None
    # PyYAML would write these as breaks of a line.
    style = '"' if any(mark in value for mark in "\x85\u2028\u2029") else style
    return dumper.represent_scalar(f"{TAG}str", str(value), style=style)


_Dumper.add_multi_representer(str, _text)
_Dumper.add_representer(str, _text)
_Dumper.add_multi_representer(dict, lambda dumper, value: dumper.represent_dict(dict(value)))
_Dumper.add_multi_representer(list, lambda dumper, value: dumper.represent_list(list(value)))
