"""Who is asked, and what is told about an app that does not answer to everybody."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.kubestrap.cluster.plugins.action import app_answers as action
from ansible_collections.kubestrap.cluster.plugins.modules import app_answers

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def server() -> Iterator[str]:
    """A server that knows no page, but one that fails."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response({"/broken": 503, "/login": 302}.get(self.path, 404))
            if self.path == "/login":
                self.send_header("Location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{one.server_port}"
        one.shutdown()


@pytest.fixture
def quiet() -> Iterator[str]:
    """A server that takes connections and says nothing, as a queue or a database does."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield f"127.0.0.1:{one.getsockname()[1]}"


def test_silent_addresses_and_why(server: str) -> None:
    found = app_answers.ask_all([server, NOBODY], 0)
    assert set(found.silent) == {NOBODY}
    assert "refused" in found.silent[NOBODY]
    assert found.remarks == {}


def test_error_of_the_app_is_an_answer_and_is_told(server: str) -> None:
    found = app_answers.ask_all([f"{server}/broken"], 0)
    assert found.silent == {}
    assert "HTTP 503" in found.remark()


def test_redirect_to_a_third_place_is_an_answer_and_not_followed(server: str) -> None:
    found = app_answers.ask_all([f"{server}/login"], 0)
    assert found.silent == {}
    assert "answers with HTTP 302 → http://127.0.0.1:1/elsewhere" in found.remark()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_accepts_and_says_nothing(monkeypatch: pytest.MonkeyPatch, quiet: str, scheme: str) -> None:
    monkeypatch.setattr(app_answers, "TRY_SECONDS", 0.3)
    found = app_answers.ask_all([f"{scheme}://{quiet}"], 0)
    assert (found.silent, found.remark()) == ({}, f"{scheme}://{quiet} {app_answers.NO_HTTP}")


def test_what_all_say_is_said_once() -> None:
    answers = app_answers.Answers(silent={}, remarks={"http://a": "is slow", "http://b": "is slow"})
    assert answers.remark() == "http://a, http://b is slow"


def run(
    monkeypatch: pytest.MonkeyPatch, urls: list[str], on_host: bool, **arguments: Any
) -> tuple[dict[str, Any], int]:
    asked = []

    def execute(module_args: dict[str, Any], task_vars: Any) -> dict[str, Any]:
        asked.append(task_vars)
        return {"changed": False, "failed": not on_host, "app": {**module_args["app"], "ok": on_host}}

    monkeypatch.setattr(action, "HERE_SECONDS", 0)
    plugin = action.ActionModule.__new__(action.ActionModule)
    app = {"ok": True, "urls": urls}
    plugin._task = SimpleNamespace(args={"app": app, **arguments})  # type: ignore[assignment]
    monkeypatch.setattr(action.ActionBase, "run", lambda *_: {})
    monkeypatch.setattr(plugin, "_execute_module", execute, raising=False)
    return plugin.run(task_vars={"inventory_hostname": "cp1"}), len(asked)


def test_an_app_that_answers_here_is_not_asked_for_elsewhere(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    result, asked = run(monkeypatch, [server], on_host=False)
    assert result["app"]["ok"]
    assert asked == 0


def test_an_app_behind_a_bastion_is_fine_and_that_is_said(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    result, asked = run(monkeypatch, [server, NOBODY], on_host=True)
    assert not result["failed"]
    assert "answers when asked on cp1, but 1 of 2 addresses do not answer to this machine" in result["app"]["note"]
    assert asked == 1


def test_an_app_that_answers_nowhere_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, [NOBODY], on_host=False)[0]["failed"]


def test_addresses_that_only_the_host_has_are_asked_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    result, asked = run(monkeypatch, [NOBODY], on_host=True, outside=False)
    assert "note" not in result["app"]
    assert asked == 1
