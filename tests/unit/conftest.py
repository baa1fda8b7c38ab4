"""Nothing of this machine is written by a unit test."""

from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import ledger


@pytest.fixture(autouse=True)
def _ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "PATH", f"{tmp_path}-ledger/made.jsonl")
