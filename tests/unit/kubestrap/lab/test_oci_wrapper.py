import json
from pathlib import Path
from typing import Any

import pytest
from kubestrap.lab.recipe import oci_wrapper


def process() -> dict[str, Any]:
    return {
        "args": ["sh"],
        "oomScoreAdj": -997,
        "capabilities": {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "ambient": None},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1048576, "soft": 1048576}],
    }


SOFT = {"args": ["sh"], "oomScoreAdj": 0, "capabilities": {"bounding": ["CAP_CHOWN"], "ambient": None}}


@pytest.mark.parametrize("words", [["--bundle", "{}"], ["-b", "{}"], ["--bundle={}"]])
def test_a_new_container_asks_for_nothing_it_cannot_have(tmp_path: Path, words: list[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": process(), "root": {"path": "rootfs"}}))
    oci_wrapper.edit(["--root", "/run/runc", "create", *(word.format(tmp_path) for word in words), "name"])
    assert json.loads(config.read_text()) == {"process": SOFT, "root": {"path": "rootfs"}}


def test_one_more_process_asks_for_nothing_it_cannot_have(tmp_path: Path) -> None:
    file = tmp_path / "process"
    file.write_text(json.dumps(process()))
    oci_wrapper.edit(["exec", "--process", str(file), "--detach", "name"])
    assert json.loads(file.read_text()) == SOFT


def test_an_ordinary_score_stays() -> None:
    ordinary = {"oomScoreAdj": 985}
    oci_wrapper.soften(ordinary)
    assert ordinary == {"oomScoreAdj": 985}


def test_other_calls_touch_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    oci_wrapper.edit(["kill", "name", "9"])
    assert list(tmp_path.iterdir()) == []
