"""`kubestrap init`: an inventory to start from, and the host keys of its hosts."""

from collections.abc import Callable
from pathlib import Path

from kubestrap.errors import UsageError
from kubestrap.model.cluster import Host
from kubestrap.model.probe import HostKey
from kubestrap.model.variables import Declaration
from kubestrap.ports import HostProbe, Renderer, Terminal


def init(
    hosts: tuple[str, ...],
    control_plane: str,
    user: str,
    output: Path,
    *,
    accept_host_keys: bool,
    declaration: Declaration,
    renderer: Renderer,
    probe: HostProbe,
    terminal: Terminal,
    say: Callable[[str], None],
) -> int:
    """Write the inventory and make the hosts' keys known when the person agrees."""
    if output.exists():
        raise UsageError(f"{output} exists and is left as it is; name another file with -o, or edit it")
    named = tuple(dict.fromkeys((control_plane, *hosts) if control_plane else hosts))
    first, workers = (named[0], named[1:]) if named else ("", ())
    variables = declaration.variables.values()
    text = renderer.render("inventory.yml.j2", control_plane=first, workers=workers, user=user, variables=variables)
    output.write_text(text, encoding="utf-8")
    say(f"Wrote {output}: {'complete the addresses, then ' if not named else ''}`kubestrap check -i {output}`.")
    answers = probe.host_keys([Host(name=name, role="worker") for name in named])
    keys = [answer for answer in answers if isinstance(answer, HostKey)]
    for answer in answers:
        if isinstance(answer, HostKey):
            say(f"{answer.host}: host key {answer.type} {answer.fingerprint}{' (known)' if answer.known else ''}")
        else:
            say(f"{answer.host}: {answer.sentence}")
    new = [key for key in keys if not key.known]
    if not new:
        return 0
    if accept_host_keys or terminal.confirm("Are these the keys of your hosts? Add them to known_hosts"):
        say(f"Added to {probe.accept(new)}.")
    else:
        say("Not added: compare them with the hosts' own (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`), then")
        say("add these lines to ~/.ssh/known_hosts:")
        for key in new:
            say(f"  {key.line}")
    return 0
