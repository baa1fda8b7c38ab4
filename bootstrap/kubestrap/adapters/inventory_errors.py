"""Of what every inventory plugin has to say about a file, the sentence that helps, with the line it is about."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

_BLOCK = re.compile(
    r"^\[WARNING\]: Failed to parse inventory with '(?P<plugin>\S+)' plugin: (?P<reason>.*?)$"
    r"(?P<rest>.*?)(?=^\[(?:WARNING|ERROR)\]|\Z)",
    re.MULTILINE | re.DOTALL,
)
_ORIGIN = re.compile(r"^Origin: (?:<inventory plugin '\S+' with source ')?(.+?)'?>?(?::(\d+))?(?::\d+)?$", re.MULTILINE)
_FAILED = re.compile(r"^\[ERROR\]: Completely failed to parse inventory source (.+)$", re.MULTILINE)
_NOT_VAULT = ("no vault secrets", "Decryption failed", "decrypt")
_YAML = {".yml", ".yaml", ".json"}
_TAG = re.compile(r"constructor for the tag '(.+?)'")
_SAID_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Complaint:
    plugin: str
    reason: str
    rest: str

    @property
    def line(self) -> int:
        """The line the plugin names; 0 for none."""
        found = _ORIGIN.search(self.rest)
        return int(found[2]) if found and found[2] else 0


def parse_failure(errors: str, sources: Sequence[Path], extra_vars: Sequence[Path] = ()) -> tuple[Path, int, str]:
    """Return the file, the line (0 when it is not known) and what is wrong there.

    Args:
        errors: What ansible-inventory wrote to standard error.
        sources: What it was given.
        extra_vars: Files of variables that it was given beside them.
    """
    text = "\n".join(line.rstrip() for line in errors.splitlines())
    complaints = [
        _Complaint(plugin=found["plugin"], reason=found["reason"].removeprefix("Failed to parse inventory: "),
                   rest=found["rest"])
        for found in _BLOCK.finditer(text)
    ]  # fmt: skip
    for one in complaints:
        # It reads them once for each plugin, and blames the inventory.
        if (path := next((path for path in extra_vars if str(path) in one.rest), None)) is not None:
            return path, *_of_file(path, [one])
        if any(word in one.reason for word in _NOT_VAULT):
            for path in filter(_starts_with_vault, extra_vars):
                return path, 0, _vault(one.reason)
    failed = _FAILED.search(text)
    if failed is None:
        return _beside(text, sources)
    path = Path(failed[1])
    # Of a directory, complaints about another file come first.
    mine = [one for one in complaints if str(path) in one.rest] or complaints
    if path.is_dir() or not mine:
        return path, 0, "Ansible finds nothing there that it can read as an inventory"
    return path, *_of_file(path, mine)


def _of_file(path: Path, complaints: Sequence[_Complaint]) -> tuple[int, str]:
    if any(word in one.reason for one in complaints for word in _NOT_VAULT):
        return 0, _vault(next(one.reason for one in complaints if any(word in one.reason for word in _NOT_VAULT)))
    by_plugin = {one.plugin.removeprefix("ansible.builtin."): one for one in complaints}
    # Who speaks: what made the file what it is. The others only say that it is not theirs.
    for plugin, meant in (
        ("script", True),
        ("auto", "no root 'plugin' key" not in by_plugin["auto"].reason if "auto" in by_plugin else False),
        ("yaml", path.suffix in _YAML),
        ("ini", path.suffix not in _YAML),
        ("toml", path.suffix == ".toml"),
    ):
        if meant and plugin in by_plugin:
            return _in_words(path, by_plugin[plugin])
    return _in_words(path, complaints[0])


def _in_words(path: Path, said: _Complaint) -> tuple[int, str]:  # noqa: PLR0911 - one return a cause
    reason = said.reason
    if said.plugin == "script":
        own = said.rest.partition("Standard error from inventory script:")[2].split("\n\n")[0].strip().splitlines()
        return 0, "; ".join([f"the inventory script failed: {reason.rstrip('.')}", *own[-_SAID_LINES:]])
    if found := re.search(r"YAML parsing failed: (.+)", reason):
        return _yaml_line(path) or said.line, f"the inventory is not valid YAML: {_yaml_reason(found[1])}"
    if found := re.search(r"unknown plugin '(.+)'", reason):
        collection = ".".join(found[1].split(".")[:2])
        fix = f": `ansible-galaxy collection install {collection}`" if found[1].count(".") > 1 else ""
        return _first_line(path, r"^\s*plugin:"), f"there is no inventory plugin {found[1]} here; install it{fix}"
    if found := re.search(r'Invalid "(\w+)" entry for "(.+)" group, requires a dictionary, found "(.+)"', reason):
        key, group, kind = found.groups()
        example = "cp1: {}" if key == "hosts" else f"{'w1' if key == 'children' else 'name'}: ..."
        text = f"{key} of the group {group} is {_kind(kind)}, and must be a mapping, such as `{key}: {{{example}}}`"
        return _key_line(path, group, key), text
    if "should be a dictionary" in reason:
        kind = _kind(reason.rpartition(": ")[2])
        return 1, f"the file is {kind}, and must be a mapping of groups; is it a playbook, not an inventory?"
    if "expected dictionary and got" in reason:
        got = (said.rest.strip().splitlines() or [""])[0]
        line = _first_line(path, rf":\s*[\"']?{re.escape(got)}[\"']?\s*$")
        return line, f"a host, or a group, must be a mapping and not {got!r}; write `ansible_host: {got}` below it"
    if told := _without_the_line(path, reason):
        return told
    if line := _first_line(path, r"^\s*\[[^\]]*$") if said.plugin == "ini" else 0:
        return line, "the name of a section is not closed with ]"
    return said.line, f"Ansible cannot read the inventory (plugin {said.plugin}): {_plain(reason)}"


def _without_the_line(path: Path, reason: str) -> tuple[int, str] | None:
    """Return what is wrong in a line of INI; Ansible quotes it, and there may be a password in it."""
    for pattern, place, text in (
        (r"Error parsing host definition '(.*)': [^']+\Z", r"^\s*{}",
         "what stands behind the name of a host cannot be read; correct the quotes"),
        (r"Expected key=value, got: (.+)", r"^\s*{}", "a variable is written name=value, and there is no = here"),
        (r"Expected key=value host variable assignment, got: (.+)", r"(^|\s){}(\s|$)",
         "a host is followed by name=value, and one word there is neither; quote values with blanks"),
    ):  # fmt: skip
        if found := re.search(pattern, reason, re.DOTALL):
            return _first_line(path, place.format(re.escape(found[1]))), text
    return None


def _yaml_reason(reason: str) -> str:
    if _TAG.search(reason):
        # Not quoted: it may be a password that begins so.
        return "a value begins with !, which is for tags such as !vault; put it in quotes"
    return "it is no UTF-8 text; save it as UTF-8" if "surrogates not allowed" in reason else reason


def _tag_line(path: Path, reason: str) -> int:
    found = _TAG.search(reason)
    return _first_line(path, re.escape(found[1])) if found else 0


def _beside(text: str, sources: Sequence[Path]) -> tuple[Path, int, str]:
    """Name the file of variables beside an inventory that cannot be read: Ansible does not."""
    final = [line.removeprefix("[ERROR]: ") for line in text.splitlines() if line.startswith("[ERROR]: ")]
    reason = _plain(" ".join(final)) or text[-500:]
    for path in (path for source in sources for path in _variable_files(source)):
        if any(word in reason for word in _NOT_VAULT):
            if _starts_with_vault(path):
                return path, 0, _vault(reason)
        elif line := _yaml_line(path) or _tag_line(path, reason):
            said = _yaml_reason(reason.removeprefix("YAML parsing failed: "))
            return path, line, f"the file is not valid YAML: {said}"
    reason = _yaml_reason(reason)
    if any(word in reason for word in _NOT_VAULT):
        return sources[0], 0, _vault(reason)
    return sources[0], 0, f"Ansible cannot read the inventory: {reason}"


def _vault(reason: str) -> str:
    fix = "name a file with it: ANSIBLE_VAULT_PASSWORD_FILE, or --vault-id"
    if "no vault secrets" in reason:
        return f"is encrypted with Ansible Vault, and there is no password for it; {fix}"
    return f"is encrypted with Ansible Vault, and the password does not open it; {fix}"


def _variable_files(source: Path) -> Iterator[Path]:
    directory = source if source.is_dir() else source.parent
    for name in ("group_vars", "host_vars"):
        yield from sorted(path for path in (directory / name).rglob("*") if path.is_file())
    if source.is_dir():
        yield from sorted(path for path in source.iterdir() if path.is_file())


def _yaml_line(path: Path) -> int:
    """Return the line where a file stops to be YAML; 0 when it is."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return 1
    if path.suffix not in {*_YAML, ""} or text.startswith("$ANSIBLE_VAULT"):
        return 0
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return mark.line + 1 if mark else 1
    except yaml.YAMLError:
        return 1
    return 0


def _key_line(path: Path, group: str, key: str) -> int:
    """Return the line of a key of a group, wherever the group is."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return 0
    waiting = [root]
    while waiting:
        node = waiting.pop()
        for name, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if name.value == group and isinstance(value, yaml.MappingNode):
                for inner, _ in value.value:
                    if inner.value == key:
                        return int(inner.start_mark.line) + 1
            waiting.append(value)
    return 0


def _first_line(path: Path, pattern: str) -> int:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return 0
    return next((number for number, line in enumerate(lines, 1) if re.search(pattern, line)), 0)


def _starts_with_vault(path: Path) -> bool:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return "$ANSIBLE_VAULT" in text


def _kind(text: str) -> str:
    names = {"List": "a list", "Str": "a text", "Int": "a number", "Float": "a number", "Dict": "a mapping"}
    found = re.search(r"AnsibleTagged(\w+)", text)
    return names.get(found[1], "something else") if found else "something else"


def _plain(text: str) -> str:
    return re.sub(r"<class '[^']*'>", lambda found: _kind(found[0]), text)
