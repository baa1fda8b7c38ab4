#!/usr/bin/python3
"""`runc` for hosts without CAP_SYS_RESOURCE: first on the PATH, takes out what needs it, then becomes the real one.

The real runc fails as soon as it is asked for a capability outside the bounding set, a negative OOM score or a limit
above the host's own. Kubernetes asks for all three.
"""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REAL = ("/usr/sbin/runc", "/usr/bin/runc")


def soften(process: dict[str, Any]) -> None:
    """Take out of an OCI process, in place, what needs CAP_SYS_RESOURCE."""
    if process.get("oomScoreAdj", 0) < 0:
        process["oomScoreAdj"] = 0
    for names in (process.get("capabilities") or {}).values():
        if names and "CAP_SYS_RESOURCE" in names:
            names.remove("CAP_SYS_RESOURCE")
    process.pop("rlimits", None)


def option(arguments: Sequence[str], *names: str) -> str | None:
    """Return the value of the first of these options, None when there is none."""
    for index, word in enumerate(arguments):
        if word in names:
            return arguments[index + 1]
        for name in names:
            if word.startswith(f"{name}="):
                return word.removeprefix(f"{name}=")
    return None


def edit(arguments: Sequence[str]) -> None:
    """Soften what this call of runc starts: a container, or one more process in it."""
    process_file = option(arguments, "--process", "-p") if "exec" in arguments else None
    if "create" in arguments or "run" in arguments:
        path = Path(option(arguments, "--bundle", "-b") or ".", "config.json")
    elif process_file:
        path = Path(process_file)
    else:
        return
    document = json.loads(path.read_text())
    soften(document if process_file else document["process"])
    path.write_text(json.dumps(document))


if __name__ == "__main__":
    edit(sys.argv[1:])
    os.execv(next(path for path in REAL if Path(path).exists()), ["runc", *sys.argv[1:]])  # noqa: S606
