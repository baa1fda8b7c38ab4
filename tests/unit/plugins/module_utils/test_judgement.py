"""Four answers, of which two lead to action."""

import pytest
from ansible_collections.kubestrap.cluster.plugins.module_utils.judgement import (
    COULD_NOT_LOOK,
    DOES_NOT,
    HOLDS,
    NOT_YET,
    Judgement,
    UndecidedError,
    watch,
)


def test_only_yes_and_no_are_decided() -> None:
    assert Judgement(HOLDS).decided() is True
    assert Judgement(DOES_NOT).decided() is False
    for answer in (NOT_YET, COULD_NOT_LOOK):
        with pytest.raises(UndecidedError, match="why not"):
            Judgement(answer, "why not").decided()


def test_a_judgement_is_no_boolean() -> None:
    with pytest.raises(TypeError):
        bool(Judgement(HOLDS))


def test_what_is_on_its_way_is_watched_until_it_holds_or_nobody_can_look() -> None:
    answers = iter([NOT_YET, DOES_NOT, HOLDS, DOES_NOT])
    assert watch(lambda: Judgement(next(answers)), 60, pause=0).answer == HOLDS
    answers = iter([NOT_YET, COULD_NOT_LOOK, HOLDS])
    assert watch(lambda: Judgement(next(answers)), 60, pause=0).answer == COULD_NOT_LOOK
    assert watch(lambda: Judgement(NOT_YET, "seen"), 0, pause=0).why == "seen"
    assert watch(lambda: Judgement(DOES_NOT), 60, pause=0, hopeless=lambda: True).answer == DOES_NOT
