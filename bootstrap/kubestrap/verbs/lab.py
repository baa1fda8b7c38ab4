"""`kubestrap lab`: throw-away hosts on this machine."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from kubestrap.model.verb import Verb
from kubestrap.ports import Tools

_EXAMPLES = """\
examples:
  kubestrap lab up --workers 2
  kubestrap lab ssh demo-cp1 -- uname -a
  kubestrap lab down"""


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _named(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="demo", help="name of the lab (default: %(default)s)")


def _up_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--control-planes", type=int, default=1, metavar="N", help="control planes (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="workers (default: %(default)s)")
    parser.add_argument(
        "--cluster-network", action="store_true", help="a second network, in which the hosts are the cluster's nodes"
    )
    parser.add_argument("--os", default="debian-13", help="operating system of the hosts (default: %(default)s)")
    parser.add_argument("--vars", type=Path, action="append", default=[], metavar="FILE", help="YAML file of variables")
    _named(parser)


def _ssh_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="after --; without it you get a shell")
    _named(parser)


def _up(flags: argparse.Namespace, _: Callable[[], Tools]) -> int:
    """Make the lab, or what it lacks; its files go to `.kubestrap/labs/NAME` here."""
    from kubestrap.lab import labs

    shape = labs.Shape(
        control_planes=flags.control_planes, workers=flags.workers, cluster_network=flags.cluster_network
    )
    here = Path.cwd()
    lab = labs.up(name=flags.name, shape=shape, system=flags.os, variables=flags.vars, directory=here, report=_say)
    inventory = lab.inventory.relative_to(here) if lab.inventory.is_relative_to(here) else lab.inventory
    _say("")
    _say("Go on with:")
    _say(f"  kubestrap up -i {inventory}")
    _say(f"  kubestrap lab ssh {lab.hosts[0].name} --name {lab.name}")
    _say(f"  kubestrap lab down --name {lab.name}")
    return 0


def _list(_flags: argparse.Namespace, _: Callable[[], Tools]) -> int:
    """Say which labs this machine has, their hosts and the inventory of each."""
    from kubestrap.lab import labs

    for line in labs.describe():
        _say(line)
    return 0


def _down(flags: argparse.Namespace, _: Callable[[], Tools]) -> int:
    """Remove the lab: hosts, volumes, network, firewall rules, files."""
    from kubestrap.lab import labs

    labs.down(name=flags.name, directory=Path.cwd(), report=_say)
    return 0


def _ssh(flags: argparse.Namespace, _: Callable[[], Tools]) -> int:
    """Log in to a host, or run a command there; return its exit code."""
    from kubestrap.lab import labs

    return labs.ssh(name=flags.name, host=flags.host, command=flags.words)


VERBS = (
    Verb(
        name="lab up",
        help="make the hosts of a lab, or the ones it lacks",
        examples=_EXAMPLES,
        arguments=_up_arguments,
        run=_up,
    ),
    Verb(name="lab list", help="list the labs of this machine", examples="", run=_list),
    Verb(name="lab down", help="remove a lab; nothing of it is left", examples="", arguments=_named, run=_down),
    Verb(
        name="lab ssh",
        help="log in to a host of a lab, or run a command there",
        examples=_EXAMPLES,
        arguments=_ssh_arguments,
        run=_ssh,
    ),
)
