#!/usr/bin/python
"""Ansible module app_answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_answers
short_description: Ask an app at its addresses
description:
  - Asks from the operator's machine, where people are, outside the cluster. What does not answer there is asked for on
    the host; when it answers to that, the app is fine and the verdict has a note, because a bastion or a firewall in
    between is somebody's decision. Changes nothing.
author: kubestrap contributors
options:
  app:
    description: What C(app_rollout) returned.
    type: dict
    required: true
  outside:
    description: Whether to ask from the operator's machine first, and on the host only what does not answer there.
    type: bool
    default: true
  timeout:
    description: Seconds until every address must have answered.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask the app
  kubestrap.cluster.app_answers:
    app: "{{ rollout.app }}"
"""

RETURN = r"""
app:
  description: The same, with the verdict.
  returned: always
  type: dict
"""

import http.client
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# The cluster's addresses are near; a proxy for the internet would not know them.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVER_ERROR = 500
TRY_SECONDS = 5


def problem(url: str) -> str:
    """Return why an address does not answer, empty when it does (even if it answers "not found" or no HTTP at all)."""
    try:
        with DIRECT.open(url, timeout=TRY_SECONDS) as answer:
            return "" if answer.status < SERVER_ERROR else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return "" if error.code < SERVER_ERROR else f"HTTP {error.code}"
    except http.client.HTTPException:
        return ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)


def silent(urls: list[str], timeout: float) -> dict[str, str]:
    """Ask until all addresses have answered or the time is over; return those that have not, and why."""
    deadline = time.monotonic() + timeout
    waiting = list(urls)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while True:
            found = {url: why for url, why in zip(waiting, pool.map(problem, waiting)) if why}
            if not found or time.monotonic() >= deadline:
                return found
            waiting = list(found)
            time.sleep(0.5)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "app": {"type": "dict", "required": True},
            "outside": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    app: dict[str, Any] = dict(module.params["app"])
    found = silent(app["urls"], module.params["timeout"])
    if found:
        app["ok"] = False
        app["evidence"] = [f"{url}: {why}" for url, why in found.items()]
        app["cause"] = (
            f"The app runs, but {len(found)} of {len(app['urls'])} addresses do not answer, not even when asked on a "
            "host of the cluster. Is a firewall between the nodes?"
        )
        module.fail_json(msg="\n".join([app["cause"], *app["evidence"]]), app=app)
    module.exit_json(changed=False, app=app)


if __name__ == "__main__":
    main()
