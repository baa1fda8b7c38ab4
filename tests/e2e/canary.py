"""A secret that must be nowhere: where everything that a run wrote is looked through for it."""

import base64
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import Hosts, Result

# Where a run may leave something on a host; what is a Secret's own place (etcd) is not among them.
PLACES = "/var/log /run/log /tmp /var/tmp /root /home /etc/kubernetes/manifests"


def forms(secret: str) -> tuple[str, ...]:
    """Return a secret as it is, and as base64 shows it."""
    return secret, base64.b64encode(secret.encode()).decode()


def on_hosts(hosts: Hosts, names: Sequence[str], secret: str) -> list[str]:
    """Return the places on hosts where a secret is: files, the journal with all its fields, command lines."""
    found = []
    for name in names:
        for form in forms(secret):
            # The pattern comes over standard input: in an argument it would find itself.
            script = (
                "read -r pattern\nset +e\n"
                'printf "%s" "$pattern" >/run/canary\n'
                f"grep -rlaF -f /run/canary --exclude-dir=containers {PLACES} 2>/dev/null\n"
                "journalctl --all --output=export --no-pager 2>/dev/null | grep -aF -m3 -f /run/canary"
                " | cut -c1-300 | sed 's/^/journal: /'\n"
                "grep -laF -f /run/canary /proc/[0-9]*/cmdline 2>/dev/null\n"
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
