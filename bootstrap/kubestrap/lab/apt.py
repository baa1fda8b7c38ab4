"""This machine's own way to Debian packages, for hosts of another Debian suite."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# What it takes to reach a mirror. Nothing of what apt does after that (hooks, indexes for desktops, pinning).
TRANSPORT = re.compile(
    r"^Acquire::(https?::(?!Proxy-Auto-Detect)|Check-Valid-Until|Check-Date|Retries|ForceIPv|Allow[A-Za-z]+Repositories)"
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One entry of an apt sources file.

    Attributes:
        uri: Address of the archive.
        suite: Such as `bookworm-updates`.
        components: Such as `main`.
        signed_by: Keyring, empty when apt's own are used.
        trusted: Whether apt takes it unsigned.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: bool = False


def parse(files: Mapping[str, str]) -> list[Source]:
    """Read sources files (text by path): deb822 for `.sources`, one line per entry for `.list`."""
    found = []
    for path, text in files.items():
        found += _parse_deb822(text) if path.endswith(".sources") else _parse_lines(text)
    return found


def rewrite(sources: list[Source], *, machine_suite: str, suite: str) -> list[Source]:
    """The entries of the Debian archive itself, for another suite. Other publishers' entries are left out."""
    rewritten = []
    for source in sources:
        base, dash, area = source.suite.replace("/updates", "-security").partition("-")
        debian = not source.signed_by or "debian-archive" in source.signed_by
        if base != machine_suite or area not in {"", "updates", "security"}:
            continue
        if not debian or "main" not in source.components or not re.match(r"https?://|mirror\+file:", source.uri):
            continue
        rewritten.append(
            Source(
                uri=source.uri,
                suite=f"{suite}{dash}{area}",
                components=source.components,
                signed_by=KEYRING,
                trusted=source.trusted,
            )
        )
    return list(dict.fromkeys(rewritten))


def render(sources: list[Source]) -> str:
    """The entries as a deb822 file."""
    stanzas = []
    for source in sources:
        lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {source.suite}"]
        lines += [f"Components: {' '.join(source.components)}", f"Signed-By: {source.signed_by or KEYRING}"]
        lines += ["Trusted: yes"] if source.trusted else []
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)


def transport_settings(dump: str) -> str:
    """The lines of `apt-config dump` that it takes to reach a mirror."""
    # The defaults that every apt has are no settings of this machine.
    lines = [line for line in dump.splitlines() if TRANSPORT.match(line) and not line.endswith(('""; ', '"";', '"0";'))]
    return "".join(f"{line}\n" for line in lines)


def _parse_deb822(text: str) -> list[Source]:
    found = []
    text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
    for stanza in re.split(r"\n\s*\n", text):
        # Values may go on in lines that start with a blank; an embedded key is kept out by its first line.
        fields = {
            key.lower(): " ".join(value.split())
            for key, value in re.findall(r"^([A-Za-z-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE)
        }
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {"no", "false"}:
            continue
        found += [
            Source(
                uri=uri.rstrip("/"),
                suite=suite,
                components=tuple(fields.get("components", "").split()),
                signed_by=fields.get("signed-by", ""),
                trusted=fields.get("trusted", "no").lower() in {"yes", "true"},
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def _parse_lines(text: str) -> list[Source]:
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*([^#]*)", line)
        if match is None:
            continue
        options = dict(word.partition("=")[::2] for word in (match[1] or "").split())
        found.append(
            Source(
                uri=match[2].rstrip("/"),
                suite=match[3],
                components=tuple(match[4].split()),
                signed_by=options.get("signed-by", ""),
                trusted=options.get("trusted", "no") == "yes",
            )
        )
    return found
