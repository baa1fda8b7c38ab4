#!/usr/bin/python
"""Ansible module app_answers."""

from __future__ import annotations

DOCUMENTATION = r"""
module: app_answers
short_description: Ask an app at its addresses
description:
  - Runs where people are, outside the cluster. Changes nothing.
author: kubestrap contributors
options:
  app:
    description: What C(app_rollout) returned.
    type: dict
    required: true
  timeout:
    description: Seconds until every address must have answered.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Ask the app
  kubestrap.cluster.app_answers:
    app: "{{ rollout.app }}"
  delegate_to: localhost
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
from typing import Any

from ansible.module_utils.basic import AnsibleModule

# The cluster's addresses are near; a proxy for the internet would not know them.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
SERVER_ERROR = 500


def problem(url: str) -> str:
    """Return why an address does not answer, empty when it does (even if it answers "not found" or no HTTP at all)."""
    try:
        with DIRECT.open(url, timeout=5) as answer:
            return "" if answer.status < SERVER_ERROR else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        return "" if error.code < SERVER_ERROR else f"HTTP {error.code}"
    except http.client.HTTPException:
        return ""
    except urllib.error.URLError as error:
        return str(error.reason)
    except OSError as error:
        return str(error)


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={"app": {"type": "dict", "required": True}, "timeout": {"type": "int", "default": 60}},
        supports_check_mode=True,
    )
    app: dict[str, Any] = dict(module.params["app"])
    deadline = time.monotonic() + module.params["timeout"]
    silent = dict.fromkeys(app["urls"], "")
    while silent:
        silent = {url: why for url in silent if (why := problem(url))}
        if silent and time.monotonic() > deadline:
            app["ok"] = False
            app["evidence"] = [f"{url}: {why}" for url, why in silent.items()]
            app["cause"] = (
                f"The app runs, but {len(silent)} of {len(app['urls'])} addresses do not answer from this machine. "
                "Is a firewall between here and the nodes?"
            )
            module.fail_json(msg="\n".join([app["cause"], *app["evidence"]]), app=app)
        time.sleep(0.5 if silent else 0)
    module.exit_json(changed=False, app=app)


if __name__ == "__main__":
    main()
