"""The command line: flags become values, errors become exit codes, and the adapters are made here."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from bootstrap import __version__
from bootstrap.errors import KubestrapError

EXIT_CODES = """\
exit codes:
  0 done · 2 bad inventory or usage · 3 check found blockers · 4 hosts unreachable · 5 a step failed
  6 done, but some workers are set aside · 7 the cluster is up, the app is not · 130 interrupted · 1 a bug in kubestrap"""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command and end the process with its exit code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit code."""
    flags = parser().parse_args(arguments)
    handler: Callable[[argparse.Namespace], int] = flags.handler
    try:
        return handler(flags)
    except KubestrapError as error:
        print("\n".join((f"kubestrap: {error.message}", *(f"  {line}" for line in error.details))), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("kubestrap: interrupted", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the whole command line."""
    top = argparse.ArgumentParser(
        prog="kubestrap", epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    top.add_argument("--version", action="version", version=f"kubestrap {__version__}")
    verbs = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_lab(verbs)
    return top


def _add_lab(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    lab = verbs.add_parser("lab", help="throw-away hosts on this machine").add_subparsers(
        metavar="COMMAND", required=True
    )
    up = lab.add_parser("up", help="make the hosts of a lab, or the ones it lacks")
    up.add_argument("--name", default="demo", help="name of the lab (default: %(default)s)")
    up.add_argument("--control-planes", type=int, default=1, metavar="N", help="control planes (default: %(default)s)")
    up.add_argument("--workers", type=int, default=1, metavar="N", help="workers (default: %(default)s)")
    up.add_argument("--os", default="debian-13", help="operating system of the hosts (default: %(default)s)")
    up.add_argument(
        "--vars",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="YAML file of variables for the inventory",
    )
    up.set_defaults(handler=_lab_up)
    lab.add_parser("list", help="list the labs of this directory").set_defaults(handler=_lab_list)
    down = lab.add_parser("down", help="remove a lab; nothing of it is left")
    down.add_argument("--name", default="demo", help="name of the lab (default: %(default)s)")
    down.set_defaults(handler=_lab_down)
    ssh = lab.add_parser("ssh", help="log in to a host of a lab, or run a command there")
    ssh.add_argument("host", metavar="HOST")
    ssh.add_argument("--name", default="demo", help="name of the lab (default: %(default)s)")
    ssh.add_argument("command", nargs="*", metavar="COMMAND", help="after --")
    ssh.set_defaults(handler=_lab_ssh)


def _lab_up(flags: argparse.Namespace) -> int:
    from bootstrap.commands import lab

    return lab.up(
        name=flags.name,
        control_planes=flags.control_planes,
        workers=flags.workers,
        system=flags.os,
        variables=flags.vars,
    )


def _lab_list(_: argparse.Namespace) -> int:
    from bootstrap.commands import lab

    return lab.list_labs()


def _lab_down(flags: argparse.Namespace) -> int:
    from bootstrap.commands import lab

    return lab.down(name=flags.name)


def _lab_ssh(flags: argparse.Namespace) -> int:
    from bootstrap.commands import lab

    return lab.ssh(host=flags.host, name=flags.name, command=flags.command)
