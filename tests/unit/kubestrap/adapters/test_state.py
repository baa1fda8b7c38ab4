"""The record of a run: what is in its files when it is over."""

import json

import pytest
from kubestrap.adapters.state import RunDirectory
from kubestrap.adapters.templates import JinjaRenderer
from kubestrap.model.cluster import Cluster, Host
from kubestrap.model.events import TaskFinished
from kubestrap.model.summary import summarize
from kubestrap.verbs import ALL


@pytest.mark.parametrize("verb", ALL, ids=[verb.name for verb in ALL])
def test_every_verb_leaves_a_summary_and_a_timeline(tmp_path, verb):
    cluster = Cluster(name="shop", hosts=(Host(name="cp", role="control_plane"),))
    events = [TaskFinished(host="cp", stage="docker", task="Do", outcome="ok", started=1.0, ended=2.0)]
    summary = summarize(verb, cluster, events, seconds=3, targets=cluster.hosts, ansible_code=0)
    record = RunDirectory(tmp_path / "run", JinjaRenderer())
    record.finish(summary, events)
    assert json.loads((record.directory / "summary.json").read_text())["command"] == verb.name
    page = (record.directory / "timeline.html").read_text()
    assert f"<h1>kubestrap {verb.name}: shop</h1>" in page
    assert "docker: 1.0 s" in page
