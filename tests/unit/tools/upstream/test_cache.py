"""What was made is kept, what was not finished is not."""

import pathlib
import re
import subprocess
import sys

import pytest

from tools.upstream.cache import Cache


def test_product_is_made_once_per_recipe(tmp_path: pathlib.Path) -> None:
    cache = Cache(tmp_path)
    made: list[pathlib.Path] = []
    first = cache.product("a thing", {"version": 1}, made.append)
    assert cache.product("a thing", {"version": 1}, made.append) == first
    assert cache.product("a thing", {"version": 2}, made.append) != first
    assert len(made) == 2


def test_interrupted_product_is_made_again_from_nothing(tmp_path: pathlib.Path) -> None:
    cache = Cache(tmp_path)

    def interrupted(place: pathlib.Path) -> None:
        (place / "half").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.product("thing", {}, interrupted)
    place = cache.product("thing", {}, lambda place: (place / "whole").touch())
    assert [file.name for file in place.iterdir()] == ["whole"]


def test_second_time_tells_how_long_the_first_took(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    cache = Cache(tmp_path)
    cache.product("thing", 1, lambda _: None)
    assert "last time" not in capsys.readouterr().err
    cache.product("thing", 2, lambda _: None)
    # On a busy machine nothing takes its tenth of a second, too.
    assert re.search(r"last time it took \d+\.\d s", capsys.readouterr().err)


def test_lock_keeps_another_process_out(tmp_path: pathlib.Path) -> None:
    code = f"""
import pathlib
from tools.upstream.cache import Cache
with Cache(pathlib.Path({str(tmp_path)!r})).lock():
    print(pathlib.Path({str(tmp_path / "word")!r}).read_text())
"""
    with Cache(tmp_path).lock():
        other = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert other.stderr is not None
        assert "waiting for another run" in other.stderr.readline()
        (tmp_path / "word").write_text("written before the lock was given up")
    assert other.communicate()[0].strip() == "written before the lock was given up"


def test_place_follows_the_xdg_base_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert Cache.of_user().root == pathlib.Path("/elsewhere/kubestrap")
