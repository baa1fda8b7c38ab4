"""Passwords of Ansible Vault that are named on the command line."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kubestrap.adapters.environment import write_private
from kubestrap.adapters.private import private_directory
from kubestrap.errors import UsageError

_VARIABLE = "ANSIBLE_VAULT_IDENTITY_LIST"


@contextlib.contextmanager
def passwords(identities: Sequence[str], state: Path, ask: Callable[[str], str]) -> Iterator[None]:
    """Let Ansible know them for as long as the block lasts, besides those the environment names.

    Args:
        identities: `FILE`, `LABEL@FILE` or `LABEL@prompt`, as Ansible takes them.
        state: Where a password that is typed lies meanwhile, in a file only its owner can read.
        ask: Asks for a password.

    Raises:
        UsageError: When a file is not there.
    """
    if not identities:
        yield
        return
    before = os.environ.get(_VARIABLE)
    with private_directory(state, "run-") as directory:
        known = [_known(text, directory / f"vault-{number}", ask) for number, text in enumerate(identities)]
        os.environ[_VARIABLE] = ",".join([*([before] if before else []), *known])
        try:
            yield
        finally:
            os.environ.pop(_VARIABLE)
            if before is not None:
                os.environ[_VARIABLE] = before


def _known(identity: str, typed: Path, ask: Callable[[str], str]) -> str:
    label, _, place = identity.rpartition("@")
    if place in {"prompt", "prompt_ask_vault_pass"}:
        write_private(typed, ask(f"Vault password{f' ({label})' if label else ''}: ") + "\n")
        return f"{label or 'default'}@{typed}"
    path = Path(place).expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"--vault-id {identity}: there is no file {path}; correct the path")
    return f"{label or 'default'}@{path}"
