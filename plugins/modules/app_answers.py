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
version_added: 0.1.0
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
attributes:
  check_mode: {description: Says what it would change and changes nothing., support: full}
  diff_mode: {description: Shows what it changes., support: none}
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
import socket
import ssl
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule

TRY_SECONDS = 5
NO_HTTP = "accepts connections on TCP, but speaks no HTTP"


class Answer(NamedTuple):
    """What an address said: why it is silent (empty when it is not), and what to know of an answer."""

    silent: str = ""
    remark: str = ""
    final: bool = True


class Answers(NamedTuple):
    """What all of them said, by address: those that are silent and why, and what to know of the others."""

    silent: dict[str, str]
    remarks: dict[str, str]

    def remark(self) -> str:
        """Return the remarks as one text; what all say is said once."""
        told: dict[str, list[str]] = {}
        for url, text in self.remarks.items():
            told.setdefault(text, []).append(url)
        return "; ".join(f"{', '.join(urls)} {text}" for text, urls in told.items())


def ask(url: str) -> Answer:
    """Ask an address once. Whoever takes the connection is there: any status is an answer, no HTTP at all as well.

    No proxy: the cluster's addresses are near. No redirect is followed, because it leads to a third place, and no
    certificate judged, because it is the app's own matter.
    """
    parts = urllib.parse.urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or {"http": http.client.HTTP_PORT, "https": http.client.HTTPS_PORT}[parts.scheme]
    try:
        taken = socket.create_connection((host, port), timeout=TRY_SECONDS)
    except OSError as error:
        return Answer(silent=str(error), final=False)
    connection = http.client.HTTPConnection(host, port, timeout=TRY_SECONDS)
    connection.sock = taken
    try:
        if parts.scheme == "https":
            context = ssl._create_unverified_context()  # noqa: S323, SLF001 - nothing is told to it or believed of it
            connection.sock = context.wrap_socket(taken, server_hostname=host)
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
    except (OSError, http.client.HTTPException):
        return Answer(remark=NO_HTTP)
    finally:
        connection.close()
    where = response.getheader("Location") or ""
    if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Answer(remark=f"answers with HTTP {response.status}: see the app's log", final=False)
    redirect = HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST and where
    return Answer(remark=f"answers with HTTP {response.status} → {where}" if redirect else "")


def ask_all(urls: list[str], timeout: float) -> Answers:
    """Ask until all addresses have answered without a server's error, or so many seconds are over."""
    deadline = time.monotonic() + timeout
    found: dict[str, Answer] = {}
    waiting = list(urls)
    with ThreadPoolExecutor(max_workers=8) as pool:
        while True:
            found.update(zip(waiting, pool.map(ask, waiting)))
            waiting = [url for url in urls if not found[url].final]
            if not waiting or time.monotonic() >= deadline:
                return Answers(
                    silent={url: found[url].silent for url in urls if found[url].silent},
                    remarks={url: found[url].remark for url in urls if found[url].remark},
                )
            time.sleep(0.5)


def with_remark(app: dict[str, Any], text: str) -> None:
    """Add something to know to what is known of an app."""
    app["note"] = "; ".join(filter(None, [app.get("note"), text]))


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
    answers = ask_all(app["urls"], module.params["timeout"])
    with_remark(app, answers.remark())
    if answers.silent:
        app["ok"] = False
        app["evidence"] = [f"{url}: {why}" for url, why in answers.silent.items()]
        app["cause"] = (
            f"The app runs, but {len(answers.silent)} of {len(app['urls'])} addresses take no connection, not even "
            "when asked on a host of the cluster. Is a firewall between the nodes?"
        )
        module.fail_json(msg="\n".join([app["cause"], *app["evidence"]]), app=app)
    module.exit_json(changed=False, app=app)


if __name__ == "__main__":
    main()
