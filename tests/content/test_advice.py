"""A message of ours with a command that destroys is made in one place, or reviewed here with the reason."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = re.compile(
    r"kubeadm reset|rm -r|(?<!\w)rm /|delete node|kubectl drain|apt(?:-get)? (?:remove|purge|autoremove)|dpkg -[rP]"
    r"|ip link del|umount|mkfs|wipefs|uninstall\.sh|k0s reset|snap remove|docker (?:system prune|rm |volume rm)"
    r"|etcdctl member remove|ctr .*delete|--force"
)
PLACE = "plugins/module_utils/advice.py"
# File, and what the sentence begins with; why it may stand.
REVIEWED = {
    ("plugins/module_utils/findings/rules_cluster.py", "One is a clone. On it: `rm /etc/machine-id "): (
        "an ID that two hosts share is worth nothing to either, and the next command makes a new one"
    ),
    ("plugins/module_utils/control_plane.py", "The cluster has a node named {} at {}, and this host is at {}."): (
        "last of three ways, for a machine that is gone for good; lost is the entry"
    ),
    ("plugins/module_utils/control_plane.py", "The cluster has a node at {} under the name {}, and this host is"): (
        "last of two ways, for a machine that is gone for good; lost is the entry"
    ),
    ("bootstrap/kubestrap/lab/image.py", "FROM debian"): "the recipe of a lab's image, no advice",
}
# Flags of ours and of programs we call, not advice.
ARGUMENTS = re.compile(r"--force(?:-\w+)*")


def texts(path: Path) -> Iterator[str]:
    """Strings of a file that a person may read: what is no docstring, the parts of one string together."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part for part in node.values if isinstance(part, ast.Constant)]
            inside |= {id(part) for part in parts}
            yield "{}".join(str(part.value) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings | inside:
            yield node.value


def destroying() -> Iterator[tuple[str, str]]:
    for directory in ("plugins", "bootstrap"):
        for path in sorted((ROOT / directory).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            for text in texts(path) if name != PLACE else ():
                if COMMANDS.search(ARGUMENTS.sub("", text)) and " " in text:
                    yield name, text


def test_every_message_that_destroys_is_made_in_one_place_or_reviewed() -> None:
    reviewed = set()
    for name, text in destroying():
        entry = next((one for one in REVIEWED if one[0] == name and text.startswith(one[1])), None)
        assert entry, f"make it with plugins/module_utils/advice.py, or review it here: {name}: {text}"
        reviewed.add(entry)
    assert REVIEWED.keys() == reviewed, "reviewed here, and not in the tree any more"


def test_playbooks_advise_nothing_that_destroys() -> None:
    for directory in ("roles", "playbooks"):
        for path in (ROOT / directory).rglob("*.yml"):
            for key in ("fail_msg", "success_msg", "msg"):
                for text in re.findall(rf"{key}:(?: >-?| \|)?\s*(.+?)\n\s*\w+:", path.read_text(), re.DOTALL):
                    assert not COMMANDS.search(text), f"{path}: {text}"


def test_the_search_finds_what_it_is_for(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text('"""rm -rf in a docstring."""\nx = f"Run `kubeadm reset` on {1}, " "then rm -rf /etc"\n')
    assert [text for text in texts(path) if COMMANDS.search(text)] == ["Run `kubeadm reset` on {}, then rm -rf /etc"]
