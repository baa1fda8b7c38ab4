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

from kubestrap import __version__, examples
from kubestrap.adapters.signals import on_stop
from kubestrap.errors import KubestrapError, UsageError

if TYPE_CHECKING:
    from kubestrap.ports import Request, Tools

STATE = Path(".kubestrap")
_DEFAULT_INVENTORIES = ("inventory.yml", "inventory.ini", "inventory")
_PASSWORDS = (
    ("-K", "--ask-become-pass", "ansible_become_password", "sudo password of the hosts"),
    ("-k", "--ask-pass", "ansible_password", "SSH password of the hosts"),
)
_INTERRUPTED = 130
_STEP_FAILED = 5
_BUG = 1
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
        code: int = flags.handler(flags)
    except KubestrapError as error:
        _fail(flags, error.exit_code, error.message, *error.details)
        return error.exit_code
    except subprocess.TimeoutExpired as error:
        program = str(error.cmd[0] if isinstance(error.cmd, list | tuple) else error.cmd)
        _fail(flags, _STEP_FAILED, f"{program} did not end within {error.timeout:.0f} s on this machine")
        return _STEP_FAILED
    except KeyboardInterrupt:
        _fail(flags, _INTERRUPTED, "interrupted")
        return _INTERRUPTED
    except BrokenPipeError:
        # Nobody reads any more; Python must not complain about it at the end either.
        sys.stdout = None
        return _BUG
    except Exception as error:  # noqa: BLE001 - whatever it is, it is ours
        return _unexpected(flags, error)
    return code


def _unexpected(flags: argparse.Namespace, error: Exception) -> int:
    if isinstance(error, OSError) and error.errno in _FULL:
        # What is written to may be the very thing that is full.
        with contextlib.suppress(OSError):
            where = error.filename or "what this writes to"
            _fail(flags, _STEP_FAILED, f"{where}: {error.strerror} on this machine; make room and run again")
        sys.stdout = None
        return _STEP_FAILED
    traceback.print_exc()
    _fail(flags, _BUG, f"this is a bug in kubestrap, please report it: {error}")
    return _BUG


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
    top = _described(
        argparse.ArgumentParser, prog="kubestrap", description="Kubernetes on your machines.", epilog=examples.ALL
    )
    top.add_argument("--version", action="version", version=f"kubestrap {__version__}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    _add_init(verbs)
    _add_verb(
        verbs, "check", "say what stands in the way of `up`, on all hosts at once; changes nothing", examples.CHECK
    )
    _add_verb(verbs, "up", "make or complete the cluster and deploy the app; a second run changes nothing", examples.UP)
    _add_verb(verbs, "deploy", "deploy only the app and wait for its answer", examples.DEPLOY)
    images = verbs.add_parser("image", help="work with images that no registry holds").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    push = _add_verb(images, "push", "bring images of this machine to every node, without a registry", examples.PUSH)
    push.add_argument("images", nargs="*", metavar="IMAGE", help="name, or archive.tar (default: the app's)")
    push.set_defaults(command="image push")
    _add_verb(verbs, "status", "show nodes, versions and the app's address; changes nothing", examples.STATUS)
    minikube = verbs.add_parser("minikube", help="a cluster that minikube keeps on one machine").add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    for name, description in (
        ("up", "install and start minikube, deploy the app; a second run changes nothing"),
        ("down", "delete minikube's cluster; Docker, images and packages stay"),
    ):
        _add_verb(minikube, name, description, examples.MINIKUBE).set_defaults(command=f"minikube {name}")
    _add_lab(verbs)
    return top


def _described(
    make: Callable[..., argparse.ArgumentParser], *arguments: str, epilog: str, **options: str
) -> argparse.ArgumentParser:
    return make(*arguments, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def _add_verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, description: str, examples: str
) -> argparse.ArgumentParser:
    verb = _described(
        verbs.add_parser, name, help=description, description=description.capitalize() + ".", epilog=examples
    )
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
    verb.set_defaults(handler=_on_cluster, command=name, images=[])
    return verb


def _add_init(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    description = "write an inventory to start from, and learn the hosts' keys"
    verb = _described(
        verbs.add_parser, "init", help=description, description=description.capitalize() + ".", epilog=examples.INIT
    )
    verb.add_argument("hosts", nargs="*", metavar="HOST", help="names or addresses")
    verb.add_argument("--control-plane", default="", metavar="HOST", help="the control plane (default: the first host)")
    verb.add_argument("--user", default="", help="user to log in as")
    verb.add_argument("-o", "--output-file", type=Path, default=Path("inventory.yml"), metavar="FILE",
                      help="where to write (default: %(default)s); an existing file is left alone")  # fmt: skip
    verb.add_argument(
        "--accept-host-keys", action="store_true", help="trust the keys the hosts show now, without a question"
    )
    verb.set_defaults(handler=_init)


def _add_lab(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    lab = _described(verbs.add_parser, "lab", help="throw-away hosts on this machine", epilog=examples.LAB)
    commands = lab.add_subparsers(title="commands", metavar="COMMAND", required=True)
    up = _described(
        commands.add_parser, "up", help="make the hosts of a lab, or the ones it lacks", epilog=examples.LAB
    )
    up.add_argument("--control-planes", type=int, default=1, metavar="N", help="control planes (default: %(default)s)")
    up.add_argument("--workers", type=int, default=1, metavar="N", help="workers (default: %(default)s)")
    up.add_argument(
        "--cluster-network", action="store_true", help="a second network, in which the hosts are the cluster's nodes"
    )
    up.add_argument("--os", default="debian-13", help="operating system of the hosts (default: %(default)s)")
    up.add_argument("--vars", type=Path, action="append", default=[], metavar="FILE", help="YAML file of variables")
    commands.add_parser("list", help="list the labs of this machine").set_defaults(handler=_lab, lab="list")
    down = commands.add_parser("down", help="remove a lab; nothing of it is left")
    ssh = _described(
        commands.add_parser, "ssh", help="log in to a host of a lab, or run a command there", epilog=examples.LAB
    )
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument("words", nargs="*", metavar="COMMAND", help="after --; without it you get a shell")
    for name, command in (("up", up), ("down", down), ("ssh", ssh)):
        command.add_argument("--name", default="demo", help="name of the lab (default: %(default)s)")
        command.set_defaults(handler=_lab, lab=name)


def _on_cluster(flags: argparse.Namespace) -> int:
    from kubestrap.adapters import vault
    from kubestrap.commands import check, deploy, image, minikube, status, up

    verbs = {
        "check": check.check,
        "up": up.up,
        "deploy": deploy.deploy,
        "image push": image.push,
        "status": status.status,
        "minikube up": minikube.up,
        "minikube down": minikube.down,
    }
    tools = _tools(flags)
    with vault.passwords(flags.vault_id, STATE.absolute(), getpass.getpass):
        try:
            return verbs[flags.command](_request(flags), tools)
        finally:
            tools.reporter.close()


def _request(flags: argparse.Namespace) -> "Request":
    from kubestrap.errors import InventoryError
    from kubestrap.ports import Request

    inventories = flags.inventory or [Path(name) for name in _DEFAULT_INVENTORIES if Path(name).exists()][:1]
    if not inventories:
        raise InventoryError("there is no inventory here; `kubestrap init` writes one, -i names another")
    return Request(
        command=flags.command,
        inventories=tuple(inventories),
        extra_vars=(*flags.extra_vars, *_passwords(flags)),
        limit=flags.limit,
        verbosity=flags.verbose,
        images=tuple(flags.images),
    )


def _passwords(flags: argparse.Namespace) -> list[str]:
    """Ask for passwords; as extra variables they reach Ansible in private files, and win over the inventory."""
    asked = {name: getpass.getpass(f"{what}: ".capitalize()) for _, _, name, what in _PASSWORDS if getattr(flags, name)}
    # Not a template, whatever is in it.
    return [json.dumps({name: {"__ansible_unsafe": text}}) for name, text in asked.items()]


def _tools(flags: argparse.Namespace) -> "Tools":
    from kubestrap.adapters import ansible, app_files, console, declaration, inventory, ssh, state, templates
    from kubestrap.ports import Tools

    directory = STATE.absolute()
    return Tools(
        declaration=declaration.load_declaration(),
        inventories=inventory.AnsibleInventoryReader(directory),
        app_files=app_files.LocalAppFiles(),
        hosts=ssh.SSHProbe(directory),
        runner=ansible.AnsiblePlaybookRunner(directory),
        state=state.LocalState(directory, templates.JinjaRenderer()),
        reporter=console.make_reporter(output=flags.output, verbose=bool(flags.verbose)),
        clock=time.monotonic,
    )


def _init(flags: argparse.Namespace) -> int:
    from kubestrap.adapters import console, declaration, ssh, templates
    from kubestrap.commands import init

    return init.init(
        tuple(flags.hosts),
        flags.control_plane,
        flags.user,
        flags.output_file,
        accept_host_keys=flags.accept_host_keys,
        declaration=declaration.load_declaration(),
        renderer=templates.JinjaRenderer(),
        probe=ssh.SSHProbe(STATE.absolute()),
        terminal=console.PersonAtTerminal(),
        say=print,
    )


def _lab(flags: argparse.Namespace) -> int:
    from kubestrap.commands import lab

    match flags.lab:
        case "up":
            return lab.up(
                name=flags.name,
                control_planes=flags.control_planes,
                workers=flags.workers,
                cluster_network=flags.cluster_network,
                system=flags.os,
                variables=flags.vars,
            )
        case "down":
            return lab.down(name=flags.name)
        case "ssh":
            return lab.ssh(host=flags.host, name=flags.name, command=flags.words)
        case _:
            return lab.list_labs()


def _fail(flags: argparse.Namespace, code: int, message: str, *details: str) -> None:
    from kubestrap.model.text import harmless

    print(harmless("\n".join((f"kubestrap: {message}", *(f"  {line}" for line in details)))), file=sys.stderr)
    if getattr(flags, "output", "text") == "json":
        from kubestrap.model.summary import Summary

        errors = details or (message,)
        summary = Summary(command=flags.command, cluster="", exit_code=code, seconds=0.0, errors=errors)
        print(json.dumps(summary.as_data()))
