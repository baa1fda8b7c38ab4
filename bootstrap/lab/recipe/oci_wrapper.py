#!/usr/bin/python3
"""`runc` for hosts without CAP_SYS_RESOURCE: first on the PATH, takes out what needs it, then runs the real one.

The real runc fails as soon as it is asked for a capability outside the bounding set, a negative OOM score or a limit
above the host's own. Kubernetes asks for all three.
"""

import json
import os
import sys

REAL = ("/usr/sbin/runc", "/usr/bin/runc")


def soften(process):
    """Take out of an OCI process, in place, what needs CAP_SYS_RESOURCE."""
    if process.get("oomScoreAdj", 0) < 0:
        process["oomScoreAdj"] = 0
    for names in (process.get("capabilities") or {}).values():
        if names and "CAP_SYS_RESOURCE" in names:
            names.remove("CAP_SYS_RESOURCE")
    process.pop("rlimits", None)


def option(arguments, *names):
    """Return the value of the first of these options, None when there is none."""
    for index, word in enumerate(arguments):
        if word in names:
            return arguments[index + 1]
        for name in names:
            if word.startswith(name + "="):
                return word.split("=", 1)[1]
    return None


def main():
    """Soften what this call starts, and become the real runc."""
    arguments = sys.argv[1:]
    if "create" in arguments or "run" in arguments:
        edit(os.path.join(option(arguments, "--bundle", "-b") or ".", "config.json"), lambda spec: spec["process"])
    elif "exec" in arguments and option(arguments, "--process", "-p"):
        edit(option(arguments, "--process", "-p"), lambda process: process)
    real = next(path for path in REAL if os.path.exists(path))
    os.execv(real, ["runc", *arguments])


def edit(path, process_of):
    """Soften the process in a JSON file."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    soften(process_of(document))
    with open(path, "w", encoding="utf-8") as file:
        json.dump(document, file)


if __name__ == "__main__":
    main()
