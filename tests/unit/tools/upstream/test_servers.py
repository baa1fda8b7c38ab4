"""Servers outlive the command, are found again, leave taken ports alone and end when told."""

import pathlib
import socket
import subprocess
import sys

import pytest

from tools.upstream import servers, tools
from tools.upstream.cache import Cache


@pytest.fixture
def cache(tmp_path: pathlib.Path) -> Cache:
    return Cache(tmp_path / "cache")


def test_file_server_starts_is_found_again_and_ends(cache: Cache, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("text")
    server = servers.Server(cache, "files")
    try:
        endpoint = servers.ensure_files(cache, tmp_path, "/file", "127.0.0.1")
        assert servers.ensure_files(cache, tmp_path, "/file", "127.0.0.1") == endpoint
        assert server.endpoint == endpoint
    finally:
        assert server.stop()
    assert server.endpoint is None
    assert not server.stop()


def test_a_command_that_leaves_a_server_running_ends_without_a_word(cache: Cache, tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").write_text("text")
    script = (
        "import pathlib, sys; from tools.upstream import cache, servers; here = pathlib.Path(sys.argv[1]); "
        'servers.ensure_files(cache.Cache(here / "cache"), here, "/file", "127.0.0.1")'
    )
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", script, tmp_path], capture_output=True, text=True, check=True
        )
    finally:
        assert servers.Server(cache, "files").stop()
    assert "ResourceWarning" not in done.stderr


def test_taken_port_is_left_to_its_owner(cache: Cache, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("text")
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        taken = owner.getsockname()[1]
        monkeypatch.setattr(servers, "_FILES_PORT", taken)
        try:
            assert servers.ensure_files(cache, tmp_path, "/file", "127.0.0.1") != f"127.0.0.1:{taken}"
        finally:
            servers.Server(cache, "files").stop()


def test_server_that_does_not_start_is_reported_with_its_log(cache: Cache) -> None:
    with pytest.raises(tools.UpstreamError, match="no such luck"):
        servers.Server(cache, "thing").ensure(
            {}, "127.0.0.1", 45000, lambda _: ["sh", "-c", "echo no such luck; exit 1"], lambda _: False
        )


def test_number_of_an_ended_process_is_not_trusted(cache: Cache) -> None:
    # Process 1 runs, but it was not started by us.
    (cache.directory("servers") / "files.json").write_text(
        '{"pid": 1, "started": -1, "endpoint": "127.0.0.1:1", "recipe": []}'
    )
    assert servers.Server(cache, "files").endpoint is None
    assert not servers.Server(cache, "files").stop()


def test_failure_tells_no_host_of_a_mirror() -> None:
    with pytest.raises(tools.UpstreamError) as caught:
        tools.run("sh", "-c", "echo cannot fetch http://mirror.example/debian/x >&2; exit 3")
    assert "mirror.example" not in str(caught.value)
    assert "exit code 3" in str(caught.value)


def test_passwords_of_the_registry_have_the_one_form_it_takes() -> None:
    hashed = servers._bcrypt("secret")
    assert len(hashed) == 60
    assert hashed.startswith("$2b$05$")
    assert hashed != servers._bcrypt("secret")
