"""`kubestrap init`: an inventory to start from, and the host keys of its hosts."""

import argparse
from collections.abc import Callable
from pathlib import Path

from kubestrap.errors import UsageError
from kubestrap.model.cluster import Host
from kubestrap.model.probe import HostKey
from kubestrap.model.verb import Verb
from kubestrap.ports import Tools


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("hosts", nargs="*", metavar="HOST", help="names or addresses")
    parser.add_argument(
        "--control-plane", default="", metavar="HOST", help="the control plane (default: the first host)"
    )
    parser.add_argument("--user", default="", help="user to log in as")
    parser.add_argument("-o", "--output-file", type=Path, default=Path("inventory.yml"), metavar="FILE",
                        help="where to write (default: %(default)s); an existing file is left alone")  # fmt: skip
    parser.add_argument(
        "--accept-host-keys", action="store_true", help="trust the keys the hosts show now, without a question"
    )


def init(flags: argparse.Namespace, make_tools: Callable[[], Tools]) -> int:
    """Write the inventory and make the hosts' keys known when the person agrees."""
    output, control_plane, hosts = flags.output_file, flags.control_plane, tuple(flags.hosts)
    if output.exists():
        raise UsageError(f"{output} exists and is left as it is; name another file with -o, or edit it")
    tools = make_tools()
    say = tools.terminal.say
    named = tuple(dict.fromkeys((control_plane, *hosts) if control_plane else hosts))
    first, workers = (named[0], named[1:]) if named else ("", ())
    variables = tools.declaration.variables.values()
    text = tools.renderer.render(
        "inventory.yml.j2", control_plane=first, workers=workers, user=flags.user, variables=variables
    )
    output.write_text(text, encoding="utf-8")
    say(f"Wrote {output}: {'complete the addresses, then ' if not named else ''}`kubestrap check -i {output}`.")
    answers = tools.hosts.host_keys([Host(name=name, role="worker") for name in named])
    keys = [answer for answer in answers if isinstance(answer, HostKey)]
    for answer in answers:
        if isinstance(answer, HostKey):
            say(f"{answer.host}: host key {answer.type} {answer.fingerprint}{' (known)' if answer.known else ''}")
        else:
            say(f"{answer.host}: {answer.sentence}")
    new = [key for key in keys if not key.known]
    if not new:
        return 0
    if flags.accept_host_keys or tools.terminal.confirm("Are these the keys of your hosts? Add them to known_hosts"):
        say(f"Added to {tools.hosts.accept(new)}.")
    else:
        say("Not added: compare them with the hosts' own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), then")
        say("add these lines to ~/.ssh/known_hosts:")
        for key in new:
            say(f"  {key.line}")
    return 0


VERB = Verb(
    name="init",
    help="write an inventory to start from, and learn the hosts' keys",
    examples="""\
examples:
  kubestrap init                                  three documentation addresses to replace
  kubestrap init 203.0.113.10 203.0.113.11        the first is the control plane, the others are workers
  kubestrap init --control-plane cp worker1 worker2 --user admin -o prod.yml""",
    arguments=_arguments,
    run=init,
)
