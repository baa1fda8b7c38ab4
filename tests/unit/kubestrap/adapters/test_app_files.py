"""The images of an app, looked at on this machine before any host is."""

from pathlib import Path

from kubestrap.adapters.app_files import LocalAppFiles

DIGEST = f"sha256:{'ab' * 32}"


def test_an_image_by_digest_cannot_be_brought_and_is_not_asked_of_docker(tmp_path: Path) -> None:
    (problem,) = LocalAppFiles().image_problems([f"r.example:5000/shop:1@{DIGEST}"], {}, tmp_path)
    assert "only a registry knows" in problem
    assert "IfNotPresent" in problem
