"""Every finding is in the catalogue, and everything in the catalogue is found somewhere."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.catalogue import CATALOGUE
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import BLOCKER, WARNING

ROOT = Path(__file__).parents[2]
# The one place where an ID comes from somebody else.
SHAPES = {"plugins/module_utils/findings/finding.py", "bootstrap/kubestrap/model/events.py"}
KINDS = {"blocker": {BLOCKER}, "warning": {WARNING}, "Finding": {BLOCKER, WARNING}}


def calls(text: str) -> Iterator[tuple[str, set[str] | None]]:
    """Each construction of a finding: what it is called, and the IDs; None when they are not written there."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in KINDS:
                given = [*node.args[:1], *(word.value for word in node.keywords if word.arg in {"id", "name"})]
                yield name, written(given[0]) if given else None


def written(node: ast.expr) -> set[str] | None:
    """The texts an expression can be: a text, or one of two."""
    match node:
        case ast.Constant(value=str(text)):
            return {text}
        case ast.IfExp(body=ast.Constant(value=str(one)), orelse=ast.Constant(value=str(other))):
            return {one, other}
    return None


def constructed() -> Iterator[tuple[str, str, set[str] | None]]:
    for directory in ("plugins", "bootstrap"):
        for path in sorted((ROOT / directory).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            yield from ((name, kind, ids) for kind, ids in calls(path.read_text(encoding="utf-8")))


def test_every_finding_is_in_the_catalogue_and_the_other_way_round() -> None:
    found: dict[str, set[str]] = {}
    for path, kind, ids in constructed():
        assert ids is not None or path in SHAPES, f"{path}: write the ID where the finding is made"
        for one in ids or ():
            assert one in CATALOGUE, f"{path}: {one} is not in plugins/module_utils/findings/catalogue.py"
            found.setdefault(one, set()).update(KINDS[kind])
    assert sorted(CATALOGUE.keys() - found.keys()) == [], "in the catalogue, and found nowhere"
    wrong = {one: kinds for one, kinds in found.items() if not kinds & {*CATALOGUE[one].severity}}
    assert wrong == {}, "the catalogue gives them another severity"


def test_entries_are_sentences_and_name_variables_there_are() -> None:
    declared = (ROOT / "roles/cluster/meta/argument_specs.yml").read_text(encoding="utf-8")
    for one, entry in CATALOGUE.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", one)
        for text in (entry.title, entry.fix, *filter(None, [entry.page])):
            assert text.endswith("."), (one, text)
            for name in re.findall(r"`(cluster_\w+)", text):
                assert f"      {name}:\n" in declared, (one, name)


def test_the_search_finds_what_it_is_for() -> None:
    text = 'warning("a", x)\nf.blocker(name, x)\nFinding(id="c", severity=s)\nFinding("d" if x else "e", x)\nother("f")'
    assert [ids for _, ids in calls(text)] == [{"a"}, None, {"c"}, {"d", "e"}]


def test_every_finding_is_seen_by_a_unit_test() -> None:
    tests = [path for kind in ("py", "json") for path in (ROOT / "tests/unit").rglob(f"*.{kind}")]
    said = "\n".join(path.read_text(encoding="utf-8") for path in tests)
    assert [one for one in CATALOGUE if not re.search(rf"(?<![\w-]){one}(?![\w-])", said)] == []
