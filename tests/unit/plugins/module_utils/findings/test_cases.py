"""Cases: a host as it was seen in, what is found out. Each file of cases/ is one."""

import json
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings import (
    rules_cluster,
    rules_machine,
    rules_network,
)
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.finding import as_json
from ansible_collections.kubestrap.cluster.plugins.module_utils.findings.look import View

from tests.unit.plugins.module_utils.findings.params import PARAMS

CASES = sorted((Path(__file__).parent / "cases").glob("*.json"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = json.loads(path.read_text(encoding="utf-8"))
    view, params = View(**case["view"]), {**PARAMS, **case.get("params", {})}
    judges = (rules_machine.judge, rules_network.judge, rules_cluster.judge)
    assert as_json(finding for judge in judges for finding in judge(view, params)) == case["findings"]


def test_there_are_cases() -> None:
    assert CASES
