"""Versions of Kubernetes: which is which, and which follows which."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils import versions
from ansible_collections.kubestrap.cluster.plugins.module_utils.versions import in_steps, is_version


@pytest.mark.parametrize(
    ("present", "wanted", "words"),
    [
        ("1.36.4", "1.35.8", "older"),
        ("1.36.4", "1.36.3", "older"),
        ("1.36.4", "1.36.5", ""),
        ("1.36.4", "1.37.1", ""),
        ("1.35.8", "1.37.1", "leaves out 1.36"),
        ("1.36.4", "v1.38", "leaves out 1.37"),
        ("1.36.4", "newest", ""),
    ],
)
def test_what_a_change_of_version_would_be(present: str, wanted: str, words: str) -> None:
    assert words in in_steps(present, wanted)
    assert words or not in_steps(present, wanted)


def test_a_minor_is_any_of_its_patches() -> None:
    assert is_version("1.36.4", "1.36")
    assert is_version("1.36.4", "v1.36.4")
    assert not is_version("1.36.4", "1.3")


def test_a_minor_that_is_not_known_is_taken_for_the_nearest() -> None:
    assert versions.row(max(versions.MINORS) + 1) == versions.MINORS[max(versions.MINORS)]
    assert versions.row(min(versions.MINORS) - 1) == versions.MINORS[min(versions.MINORS)]
