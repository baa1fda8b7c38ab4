"""Which Kubernetes versions are supported."""

import re

SUPPORTED_MINORS = (35, 36, 37)
_VERSION = re.compile(r"v?1\.([0-9]{1,4})(?:\.([0-9]{1,4}))?")


def version_problem(text: str) -> str | None:
    """Say what is wrong with a Kubernetes version; None when nothing is."""
    supported = f"1.{SUPPORTED_MINORS[0]} to 1.{SUPPORTED_MINORS[-1]}"
    match = _VERSION.fullmatch(text)
    if match is None:
        return f"is {text!r}, which is no Kubernetes version; write one such as 1.36.4, or a minor such as 1.36"
    if int(match[1]) not in SUPPORTED_MINORS:
        return f"is {text}, but Kubernetes {supported} are supported; choose one of these minors"
    return None
