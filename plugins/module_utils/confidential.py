"""Secrets among a module's parameters: shown neither in the host's log nor in what the module returns.

Ansible writes parameters into the host's log ("Invoked with ...") and looks for the values of `no_log` in that text as
they are. What is a part of a list or mapping is there as Python writes it, so a backslash of a password is there twice
and is not found. So the types of such parameters write themselves otherwise.
Runs on the hosts: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ansible.module_utils.common.validation import check_type_dict, check_type_str

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible.module_utils.basic import AnsibleModule

HIDDEN = "********"
# Names of settings that hold secrets, such as `splunk-token` and `gelf-password`.
_NAME = re.compile(
    r"^auth$|pass(word|wd|phrase)?$|secret|token$|credentials?$|api-?key|access-?key|private-?key", re.IGNORECASE
)
_LOGIN = re.compile(r"://(?P<login>[^/@]*?:(?P<password>[^/]*))@")
# A shorter one would be found in every other word.
_SHORTEST = 4


class Text(str):
    """A text that is not seen in what it is a part of."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show nothing."""
        return repr(HIDDEN)


class Settings(dict[str, Any]):
    """A mapping that may hold secrets anywhere."""

    def __repr__(self) -> str:
        """Show the names alone."""
        return repr(dict.fromkeys(self, HIDDEN))

    __str__ = __repr__


def text(value: Any) -> Text:
    """Return a secret that is a part of a parameter; the type of such an option, which is `no_log` as well.

    Raises:
        TypeError: It is no text.
    """
    return Text(check_type_str(value))


def settings(value: Any) -> Settings:
    """Return settings of another program, which may hold secrets; the type of a parameter.

    Raises:
        TypeError: They are no mapping.
    """
    return Settings(check_type_dict(value))


def keep(module: AnsibleModule, *values: Any) -> bool:
    """Hide the secrets in settings in all that the module returns from now on; tell whether there are any."""
    found = {secret for value in values for secret in _found(value)}
    module.no_log_values.update(found)
    return bool(found)


def _found(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _found(inside, str(key))
    elif isinstance(value, (list, tuple)):
        for inside in value:
            yield from _found(inside, name)
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        whole = str(value)
        secrets = [whole] if _NAME.search(name) else []
        for login in _LOGIN.finditer(whole):
            secrets += [login["login"], login["password"], unquote(login["password"])]
        for secret in secrets:
            if len(secret) >= _SHORTEST:
                # Files hold it as JSON writes it.
                yield from {secret, json.dumps(secret)[1:-1]}
