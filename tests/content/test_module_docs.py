"""The documentation of a module says what the module takes, and every module and action has one."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml

PLUGINS = Path(__file__).parents[2] / "plugins"
# What is compared, and what it is where nothing is said.
USUAL = {"type": "str", "elements": None, "default": None, "choices": None, "required": False}
MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
PACKAGE = "ansible_collections.kubestrap.cluster.plugins"


class Specified(BaseException):
    """What a module takes, at the moment it says so."""

    def __init__(self, specification: dict[str, Any]) -> None:
        self.specification = specification


def documented(name: str) -> dict[str, Any]:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    page: dict[str, Any] = yaml.safe_load(module.DOCUMENTATION)
    fragments = page.get("extends_documentation_fragment", [])
    for fragment in [fragments] if isinstance(fragments, str) else fragments:
        more = importlib.import_module(f"{PACKAGE}.doc_fragments.{fragment.rpartition('.')[2]}")
        page["options"] |= yaml.safe_load(more.ModuleDocFragment.DOCUMENTATION)["options"]
    return page


def differences(options: dict[str, Any], specification: dict[str, Any], where: str = "") -> list[str]:
    found = [f"{where}{name} is only in one of them" for name in options.keys() ^ specification.keys()]
    for name in sorted(options.keys() & specification.keys()):
        page, spec = options[name], specification[name]
        for key, usual in USUAL.items():
            said, meant = page.get(key, usual), spec.get(key, usual)
            # Ansible puts the defaults of what is in it into the specification itself, once a module has run.
            if said != meant and not callable(meant) and not (key == "default" and "options" in spec):
                found.append(f"{where}{name}: {key} is documented as {said!r}, and is {meant!r}")
        found += differences(page.get("suboptions") or {}, spec.get("options") or {}, f"{where}{name}.")
    return found


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_the_specification(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"{PACKAGE}.modules.{name}")
    options = documented(name).get("options") or {}
    if not hasattr(module, "main"):
        # It is an action: it says what it takes where it is.
        return

    def specified(*, argument_spec: dict[str, Any], **_: Any) -> None:
        raise Specified(argument_spec)

    monkeypatch.setattr(module, "AnsibleModule", specified)
    with pytest.raises(Specified) as caught:
        module.main()
    assert differences(options, caught.value.specification) == []


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_complete(name: str) -> None:
    page = documented(name)
    assert page["module"] == name
    assert {"short_description", "description", "version_added", "author", "attributes"} <= page.keys()
    assert {"check_mode", "diff_mode"} <= page["attributes"].keys()


def test_every_action_has_its_page() -> None:
    assert {path.stem for path in (PLUGINS / "action").glob("*.py")} <= set(MODULES)
