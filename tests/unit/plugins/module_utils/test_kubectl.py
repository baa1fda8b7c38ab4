"""What kubectl says, as people read it."""

import os
from pathlib import Path

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import kubectl


def test_an_error_is_told_without_logs_prefixes_and_the_hint_to_ignore_it() -> None:
    said = (
        'E1123 22:01:02.123 7 memcache.go:265] "Unhandled Error"\n'
        'error: error validating "STDIN": error validating data: unknown field "replicass"; '
        "if you choose to ignore these errors, turn validation off with --validate=false\n"
    )
    assert kubectl.without_noise(said) == 'unknown field "replicass"'


def test_a_node_is_described_with_its_role() -> None:
    node = {
        "metadata": {"name": "a", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.4", "containerRuntimeVersion": "docker://26.1.5"},
        },
    }
    assert kubectl.describe_node(node) == {
        "name": "a",
        "ready": True,
        "roles": ["control-plane"],
        "version": "1.36.4",
        "runtime": "docker://26.1.5",
        "address": "10.0.0.1",
    }
    assert kubectl.describe_node({"metadata": {"name": "b"}})["ready"] is False


def test_preferences_of_root_for_kubectl_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With `delete` set to ask first, kubectl reads no answer, deletes nothing and ends well.
    program = tmp_path / "kubectl"
    program.write_text('#!/bin/sh\nread -r line; echo "$KUBERC/$line"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("KUBERC", raising=False)
    reading, writing = os.pipe()
    os.write(writing, b"not for kubectl\n")
    os.close(writing)
    standard = os.dup(0)
    os.dup2(reading, 0)
    try:
        assert kubectl.Kubectl().run("delete", "x") == "off/\n"
    finally:
        os.dup2(standard, 0)
