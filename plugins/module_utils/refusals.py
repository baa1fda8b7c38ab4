"""What the API server says against an object, told with the field and the line in the file it was read from.

Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.kubestrap.cluster.plugins.module_utils.quantities import QUANTITY

if TYPE_CHECKING:
    from collections.abc import Iterator

# `spec.containers[0].image: ...`, `.spec.containers[name="web"].image: ...`
FIELD = re.compile(r"\.?(?P<path>[A-Za-z_][\w-]*(?:\[[^\]]*\]|\.[\w/-]+)*): (?P<text>.*)", re.DOTALL)
# A shorter one would be found in every other word.
SHORTEST_HIDDEN = 4
STEP = re.compile(r"\[(?P<index>[^\]]*)\]|(?P<name>[^.\[\]]+)")
# What a refusal begins with before it comes to the point.
OPENINGS = (
    r"failed to (create typed patch object|convert new object) \(.*?Kind=\w+\)( to proper version)?: ",
    r'(The )?\S+ "[^"]*" is invalid: ?',
    r"error: ",
    r'resource mapping not found for name: "[^"]*" namespace: "[^"]*" from "STDIN": ',
    r"errors:",
    r"\* ",
)
# How the API server says that something is as it is for good (validation.go of the kinds, 1.28 to 1.36).
FOR_GOOD = re.compile(
    r"immutable|may not change once set|fields other than .* (is|are) forbidden|may not change fields other than|"
    r"cannot change roleRef|updates to \w+ are forbidden|can ?not be less than"
)
# `core.PodTemplateSpec{...}`, `{"metadata":...}`: as long as the object.
STRUCTURE = re.compile(r"Invalid value: (?:[\w.*&\[\]]*\{.*\}|\[.*\]|null): ", re.DOTALL)
LONGEST = 400


def explain(said: str, obj: dict[str, Any], source: dict[str, Any], namespace: str = "") -> list[str]:
    """Return the mistakes in an object in the order of its file, each as `file:line: field: what is wrong`.

    Args:
        said: What kubectl printed when the object was tried alone.
        obj: The object as it was read.
        source: Its `file`, and the `lines` of its fields by their paths; may be empty.
        namespace: Where an object is that names no namespace.
    """
    found = []
    for text in _sentences(said):
        path, what = _field(text, obj)
        line = _line(path, source.get("lines") or {})
        place = f"{source['file']}:{line}: " if source.get("file") else ""
        told = _for_good(path, obj, namespace) if FOR_GOOD.search(what) else _plain(what, obj)
        told = told if len(told) <= LONGEST else f"{told[:LONGEST]} ..."
        found.append((line, f"{place}{path}: {told}" if path else f"{place}{told}"))
    # The API server names them in another order each time.
    return list(dict.fromkeys(text for _, text in sorted(found, key=lambda mistake: mistake[0])))


def hidden(text: str, objects: list[dict[str, Any]]) -> str:
    """Return a text without what the Secrets among some objects hold, in whatever form."""
    values = set()
    for obj in objects:
        if obj.get("kind") == "Secret":
            for name in ("data", "stringData"):
                for value in (obj.get(name) or {}).values() if isinstance(obj.get(name), dict) else ():
                    values |= _forms(str(value))
    # The longest first: one may be a part of another.
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= SHORTEST_HIDDEN:
            text = text.replace(value, "(secret)")
    return text


def _forms(value: str) -> set[str]:
    found = {value, *value.splitlines(), base64.b64encode(value.encode(errors="replace")).decode()}
    try:
        plain = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return {*found, json.dumps(value)[1:-1]}
    return {*found, plain, *plain.splitlines(), json.dumps(plain)[1:-1]}


def _sentences(said: str) -> Iterator[str]:
    in_structures = False
    for line in said.splitlines():
        # Go's own comparison of two structures follows on its lines.
        if in_structures and not line.startswith(("* ", "The ")):
            continue
        in_structures = "Forbidden: " in line and FOR_GOOD.search(line) is not None
        text = line.strip()
        for opening in OPENINGS:
            text = re.sub(f"^{opening}", "", text).strip()
        if text and text != "ensure CRDs are installed first":
            yield text


def _field(text: str, obj: dict[str, Any]) -> tuple[str, str]:
    """Return the path of the field a sentence is about, empty when it names none, and what is wrong with it."""
    matched = FIELD.fullmatch(text)
    if matched:
        return _with_numbers(matched["path"], obj), matched["text"]
    if text.startswith("no matches for kind"):
        return "kind", text
    if "quantities must match" in text or "unable to parse quantity" in text:
        return next(_bad_quantities(obj, ""), ""), "this is no quantity; write one such as 500m, 2, 512Mi or 1.5Gi"
    return "", text


def _with_numbers(path: str, obj: dict[str, Any]) -> str:
    """Return a path in which every element of a list is named by its number, as in files."""
    value: Any = obj
    steps = []
    for step in STEP.finditer(path):
        name, index = step["name"], step["index"]
        if name is not None:
            steps.append(f".{name}")
            value = value.get(name) if isinstance(value, dict) else None
            continue
        number = int(index) if index.isdigit() else _position(value, index)
        if number is None:
            break
        steps.append(f"[{number}]")
        value = value[number] if isinstance(value, list) and number < len(value) else None
    return "".join(steps).lstrip(".")


def _position(items: Any, keys: str) -> int | None:
    """Return which item of a list has the keys the API server names it by, such as `name="web"`."""
    wanted = {}
    for name, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|[^,]+)', keys):
        wanted[name] = json.loads(value)
    for number, item in enumerate(items if isinstance(items, list) else []):
        # Keys with a default, such as a port's protocol, may not be in the file.
        if isinstance(item, dict) and all(item.get(name, value) == value for name, value in wanted.items()):
            return number
    return None


def _bad_quantities(value: Any, path: str) -> Iterator[str]:
    for name, inside in value.items() if isinstance(value, dict) else ():
        here = f"{path}.{name}" if path else name
        if name in ("requests", "limits", "capacity", "hard") and isinstance(inside, dict):
            for what, quantity in inside.items():
                if not QUANTITY.fullmatch(str(quantity)):
                    yield f"{here}.{what}"
        else:
            yield from _bad_quantities(inside, here)
    for number, inside in enumerate(value if isinstance(value, list) else []):
        yield from _bad_quantities(inside, f"{path}[{number}]")


def _line(path: str, lines: dict[str, int]) -> int:
    """Return the line of a field; of what it would be in when it is not there."""
    while path and path not in lines:
        path = re.sub(r"(^|\.)[^.\[\]]+$|\[[^\]]*\]$", "", path)
    return lines.get(path, 1)


def _for_good(path: str, obj: dict[str, Any], namespace: str) -> str:
    """Return what to do about a field that cannot be changed, in words; what to write differs by kind."""
    kind, meta = str(obj.get("kind", "object")), obj.get("metadata") or {}
    field = path.removeprefix("spec.") or "content"
    space = meta.get("namespace") or namespace
    delete = f"kubectl delete {kind.lower()} {meta.get('name', 'NAME')}{f' -n {space}' if space else ''}"
    ways = (
        (
            kind == "Job",
            f"a Job's {field} cannot be changed: give it another name, or delete it (`{delete}`)",
        ),
        (
            kind == "StatefulSet" and field == "spec",
            (
                "of a StatefulSet, selector, serviceName, volumeClaimTemplates and podManagementPolicy cannot be "
                f"changed: put them back, or delete it without its pods (`{delete} --cascade=orphan`) and run again; "
                "volumes that are there stay as they are"
            ),
        ),
        (
            kind in ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet") and field.startswith("selector"),
            (
                f"a {kind}'s selector cannot be changed: put it back, or give the {kind} another name. Or delete it "
                f"(`{delete}`): its pods go with it, and come again with the next run"
            ),
        ),
        (
            kind == "PersistentVolumeClaim",
            (
                "a claim can only ask for more storage (spec.resources.requests.storage), nothing else of it can be "
                "changed: put it back, or give the claim another name. Who deletes a claim may delete its data"
            ),
        ),
        (
            kind == "Service" and field.startswith("clusterIP"),
            (
                "a Service's clusterIP cannot be changed: take the field out, or delete the Service "
                f"(`{delete}`); it is not reached until the next run"
            ),
        ),
        (
            kind in ("ConfigMap", "Secret") and path != "type",
            (
                f"this {kind} is on the cluster with `immutable: true`, and cannot be changed: give it another name, "
                "and write that name where it is used"
            ),
        ),
        (
            kind == "Pod" and field == "spec",
            (
                f"of a Pod that is there, only images and little else can be changed: delete it (`{delete}`), or let a "
                "Deployment make it"
            ),
        ),
        (
            field == "roleRef",
            f"a {kind}'s roleRef cannot be changed: give it another name, or delete it (`{delete}`)",
        ),
    )
    usual = f"a {kind}'s {field} cannot be changed: put back what was there, or give the {kind} another name"
    return next((told for fits, told in ways if fits), usual)


def _plain(text: str, obj: dict[str, Any]) -> str:
    """Return a sentence without the API server's own types, and without what a Secret holds."""
    text = STRUCTURE.sub("", text)
    text = re.sub(r"&value\.valueUnstructured\{Value:(.*)\}", r"\1", text)
    if obj.get("kind") == "Secret":
        return re.sub(r"(got|Invalid value:) .*", r"\1 something else", text)
    if re.fullmatch(r"expected string, got (true|false|[-+.\d]+(e[-+]?\d+)?)", text):
        return f"{text}; write it in quotes"
    return text.replace("field not declared in schema", "there is no such field")
