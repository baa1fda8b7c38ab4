"""A secret that must be nowhere: where everything that a run wrote is looked through for it."""

import base64
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import Hosts, Result

# Where a run may leave something on a host; what is a Secret's own place (etcd) is not among them.
PLACES = "/var/log /run/log /tmp /var/tmp /root /home /etc/kubernetes/manifests"
# What lets a host join, whatever it is this time: a token of ours, the key that control planes share theirs with.
JOINING = "kst[a-z0-9]{3}[.][a-z0-9]{16}|certificate[_-]?[Kk]ey[\"']?[:=] ?[\"']?[0-9a-f]{64}"


def forms(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and as base64, JSON and Python show it."""
    shown = (base64.b64encode(secret.encode()).decode(), json.dumps(secret)[1:-1], repr(secret)[1:-1])
    return tuple(dict.fromkeys((secret, *shown)))


def on_hosts(
    hosts: Hosts, names: Sequence[str], secret: str, *, places: str = PLACES, pattern: bool = False
) -> list[str]:
    """Return the places on hosts where a secret is: files, the journal with all its fields, command lines.

    Args:
        hosts: The lab.
        names: Those of its hosts.
        secret: What is looked for; an extended regular expression when it is a `pattern`.
        places: Files and directories.
        pattern: Whether it is one.
    """
    kind = "E" if pattern else "F"
    found = []
    for name in names:
        for form in [secret] if pattern else forms(secret):
            # The pattern comes over standard input: in an argument it would find itself.
            script = (
                "read -r pattern\nset +e\n"
                'printf "%s" "$pattern" >/run/canary\n'
                f"grep -rla{kind} -f /run/canary --exclude-dir=containers {places} 2>/dev/null\n"
                f"journalctl --all --output=export --no-pager 2>/dev/null | grep -a{kind} -m3 -f /run/canary"
                " | cut -c1-300 | sed 's/^/journal: /'\n"
                f"grep -la{kind} -f /run/canary /proc/[0-9]*/cmdline 2>/dev/null\n"
                "rm /run/canary\n"
            )
            said = subprocess.run(
                ["docker", "exec", "-i", hosts.host(name), "sh", "-c", script],
                input=f"{form}\n",
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=120,
            ).stdout
            found += [f"{name}: {line}" for line in said.splitlines()]
    return found


def here(directory: Path, secret: str, *, besides: Sequence[Path] = ()) -> list[str]:
    """Return the files of the operator that hold a secret, but for those in which the person wrote it."""
    return [str(path) for path in _files(directory) if path not in besides and _holds(path.read_bytes(), secret)]


def said(result: Result, secret: str) -> bool:
    """Tell whether a command has printed a secret."""
    return _holds((result.stdout + result.stderr).encode(), secret)


def _files(directory: Path) -> Iterator[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


def _holds(data: bytes, secret: str) -> bool:
    return any(form.encode() in data for form in forms(secret))
