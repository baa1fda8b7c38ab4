"""The command line: flags become values, errors become exit codes, and the adapters are made here."""

import argparse
import contextlib
import errno
import getpass
import io
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kubestrap import __version__, verbs
from kubestrap.adapters.signals import on_stop
from kubestrap.errors import KubestrapError, UsageError
from kubestrap.model.exit_code import ExitCode
from kubestrap.model.verb import Verb

if TYPE_CHECKING:
    from kubestrap.model.run import Request
    from kubestrap.ports import Tools

STATE = Path(".kubestrap")
_DEFAULT_INVENTORIES = ("inventory.yml", "inventory.ini", "inventory")
_PASSWORDS = (
    ("-K", "--ask-become-pass", "ansible_become_password", "sudo password of the hosts"),
    ("-k", "--ask-pass", "ansible_password", "SSH password of the hosts"),
)
_EXAMPLES = """\
from bare machines to your app:
  kubestrap init 203.0.113.10 203.0.113.11 --user admin   write inventory.yml; the first host is the control plane
  kubestrap check                                         is everything ready? changes nothing
  kubestrap up                                            make the cluster, deploy the app, print its address

a cluster on this machine, gone with one command:
  kubestrap lab up && kubestrap up -i .kubestrap/labs/demo/inventory.yml"""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    on_stop(_interrupt)
    for stream in (sys.stdout, sys.stderr):
        # A word that this terminal cannot show must not end a run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    flags = parser().parse_args(arguments)
    try:
        _look_around()
        return _do(flags)
    except KubestrapError as error:
        _fail(flags, error.exit_code, error.message, *error.details)
        return error.exit_code
    except subprocess.TimeoutExpired as error:
        program = str(error.cmd[0] if isinstance(error.cmd, list | tuple) else error.cmd)
        _fail(flags, ExitCode.STEP_FAILED, f"{program} did not end within {error.timeout:.0f} s on this machine")
        return ExitCode.STEP_FAILED
    except KeyboardInterrupt:
        _fail(flags, ExitCode.INTERRUPTED, "interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; Python must not complain about it at the end either.
        sys.stdout = None
        return ExitCode.BUG
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours
        return _unexpected(flags, error)


def _do(flags: argparse.Namespace) -> int:
    verb: Verb = flags.verb
    return _on_cluster(flags) if verb.run is None else verb.run(flags, lambda: _tools(flags))


def _unexpected(flags: argparse.Namespace, error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _FULL:
        # What is written to may be the very thing that is full.
        with contextlib.suppress(OSError):
            where = error.filename or "what this writes to"
            _fail(flags, ExitCode.STEP_FAILED, f"{where}: {error.strerror} on this machine; make room and run again")
        sys.stdout = None
        return ExitCode.STEP_FAILED
    traceback.print_exc()
    _fail(flags, ExitCode.BUG, f"this is a bug in kubestrap, please report it: {error}")
    return ExitCode.BUG


def _look_around() -> None:
    """Make sure that there is a place to be in and something to write to."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the directory that this is called in is gone; change to another one") from None
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            # Closed by who called this: then nobody reads.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    codes = "\n".join(f"  {code:3d} {code.sentence}" for code in ExitCode)
    top = _described(
        argparse.ArgumentParser,
        prog="kubestrap",
        description="Kubernetes on your machines.",
        epilog=f"{_EXAMPLES}\n\nexit codes:\n{codes}",
    )
    top.add_argument("--version", action="version", version=f"kubestrap {__version__}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {"": commands}
    for verb in verbs.ALL:
        group, _, word = verb.name.rpartition(" ")
        if group not in groups:
            below = commands.add_parser(group, help=verbs.GROUPS[group])
            groups[group] = below.add_subparsers(title="commands", metavar="COMMAND", required=True)
        command = _described(
            groups[group].add_parser, word, help=verb.help, description=f"{verb.help.capitalize()}.",
            epilog=verb.examples,
        )  # fmt: skip
        if verb.run is None:
            _add_cluster_arguments(command)
        if verb.arguments is not None:
            verb.arguments(command)
        command.set_defaults(verb=verb)
    return top


def _described(
    make: Callable[..., argparse.ArgumentParser], *arguments: str, epilog: str, **options: str
) -> argparse.ArgumentParser:
    return make(*arguments, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def _add_cluster_arguments(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("-i", "--inventory", type=Path, action="append", default=[], metavar="PATH",
                      help="repeatable (default: inventory.yml, inventory.ini or inventory/ here)")  # fmt: skip
    verb.add_argument("-e", "--extra-vars", action="append", default=[], metavar="VARS",
                      help="name=value, JSON, or @file; wins over the inventory; may be repeated")  # fmt: skip
    for short, long, variable, what in _PASSWORDS:
        verb.add_argument(short, long, dest=variable, action="store_true", help=f"ask for the {what} first")
    verb.add_argument("--vault-id", action="append", default=[], metavar="ID",
                      help="password of Ansible Vault: FILE, LABEL@FILE or LABEL@prompt; may be repeated")  # fmt: skip
    verb.add_argument("--limit", default="", metavar="HOSTS", help="only these: names, groups, globs, !not-this")
    verb.add_argument(
        "--output", choices=("text", "json"), default="text", help="json: one event a line (docs/output.md)"
    )
    verb.add_argument("-v", "--verbose", action="count", default=0, help="more in the log; -vvv: the connections too")


def _on_cluster(flags: argparse.Namespace) -> int:
    from kubestrap import session
    from kubestrap.adapters import vault

    tools = _tools(flags)
    with vault.passwords(flags.vault_id, STATE.absolute(), getpass.getpass):
        try:
            return session.run(flags.verb, _request(flags), tools)
        finally:
            tools.reporter.close()


def _request(flags: argparse.Namespace) -> "Request":
    from kubestrap.errors import InventoryError
    from kubestrap.model.run import Request

    inventories = flags.inventory or [Path(name) for name in _DEFAULT_INVENTORIES if Path(name).exists()][:1]
    if not inventories:
        raise InventoryError("there is no inventory here; `kubestrap init` writes one, -i names another")
    return Request(
        inventories=tuple(inventories),
        extra_vars=(*flags.extra_vars, *_passwords(flags)),
        limit=flags.limit,
        verbosity=flags.verbose,
        images=tuple(getattr(flags, "images", ())),
    )


def _passwords(flags: argparse.Namespace) -> list[str]:
    """Ask for passwords; as extra variables they reach Ansible in private files, and win over the inventory."""
    asked = {name: getpass.getpass(f"{what}: ".capitalize()) for _, _, name, what in _PASSWORDS if getattr(flags, name)}
    # Not a template, whatever is in it.
    return [json.dumps({name: {"__ansible_unsafe": text}}) for name, text in asked.items()]


def _tools(flags: argparse.Namespace) -> "Tools":
    from kubestrap.adapters import ansible, app_files, console, declaration, inventory, ssh, state, templates
    from kubestrap.ports import Tools

    directory, renderer = STATE.absolute(), templates.JinjaRenderer()
    return Tools(
        declaration=declaration.load_declaration(),
        inventories=inventory.AnsibleInventoryReader(directory),
        app_files=app_files.LocalAppFiles(),
        hosts=ssh.SSHProbe(directory),
        runner=ansible.AnsiblePlaybookRunner(directory),
        state=state.LocalState(directory, renderer),
        reporter=console.make_reporter(
            output=getattr(flags, "output", "text"), verbose=bool(getattr(flags, "verbose", False))
        ),
        renderer=renderer,
        terminal=console.PersonAtTerminal(),
        clock=time.monotonic,
    )


def _fail(flags: argparse.Namespace, code: ExitCode, message: str, *details: str) -> None:
    from kubestrap.model.text import harmless

    print(harmless("\n".join((f"kubestrap: {message}", *(f"  {line}" for line in details)))), file=sys.stderr)
    if getattr(flags, "output", "text") == "json":
        from kubestrap.model.summary import Summary

        errors = details or (message,)
        summary = Summary(verb=flags.verb, cluster="", exit_code=code, seconds=0.0, errors=errors)
        print(json.dumps(summary.as_data()))
