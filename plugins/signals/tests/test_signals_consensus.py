"""The consensus, as arithmetic."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import assume, given
from hypothesis import strategies as st

from argo_mw_signals import Consensus, Contribution, Missing
from argo_mw_signals import agree as agree_

THRESHOLD = 0.15
QUORUM = 0.25


def agree(said, lost, threshold: float, quorum: float = 0.0) -> Consensus:
    return agree_(said, lost, threshold=threshold, quorum=quorum)


unit = st.floats(0.0, 1.0)
score = st.floats(-1.0, 1.0)
weight = st.floats(0.01, 10.0)
contributions = st.lists(
    st.builds(
        Contribution,
        voice=st.sampled_from("abcdef"),
        score=score,
        confidence=unit,
        weight=weight,
        reason=st.just("r"),
    ),
    max_size=6,
)
missing = st.lists(st.builds(Missing, st.just("m"), weight, st.just("late")), max_size=3)


def voice(score: float, confidence: float = 1.0, weight: float = 1.0) -> Contribution:
    return Contribution("v", score, confidence, weight, "r")


@given(contributions, missing)
def test_confidence_and_lean_stay_in_range_and_the_action_fits_the_lean(said, lost) -> None:
    consensus = agree(said, lost, THRESHOLD)
    assert 0.0 <= consensus.confidence <= 1.0 + 1e-9
    assert -1.0 - 1e-9 <= consensus.lean <= 1.0 + 1e-9
    expected = (
        "HOLD" if abs(consensus.lean) < THRESHOLD else "BUY" if consensus.lean > 0 else "SELL"
    )
    assert consensus.action == expected


@given(contributions, missing, weight)
def test_one_more_missing_voice_lowers_the_confidence_and_changes_nothing_else(
    said, lost, more
) -> None:
    with_all = agree(said, lost, THRESHOLD)
    assume(with_all.confidence > 1e-6)
    without = agree(said, [*lost, Missing("m", more, "late")], THRESHOLD)
    assert without.confidence < with_all.confidence
    assert (without.action, without.lean) == (with_all.action, with_all.lean)


@given(contributions, missing)
def test_buying_and_selling_are_mirror_images(said, lost) -> None:
    mirrored = [evolve(one, score=-one.score) for one in said]
    there, back = agree(said, lost, THRESHOLD), agree(mirrored, lost, THRESHOLD)
    assert back.lean == pytest.approx(-there.lean)
    assert back.confidence == pytest.approx(there.confidence)
    assert {there.action, back.action} in ({"BUY", "SELL"}, {"HOLD"})


@given(contributions, missing, score)
def test_a_voice_that_is_sure_of_nothing_moves_no_lean(said, lost, any_score) -> None:
    silent = [*said, voice(any_score, confidence=0.0)]
    assert agree(silent, lost, THRESHOLD).lean == agree(said, lost, THRESHOLD).lean


def test_voices_that_agree_fully_are_fully_confident() -> None:
    consensus = agree([voice(1.0), voice(0.5)], [], THRESHOLD)
    assert (consensus.action, consensus.confidence, consensus.lean) == ("BUY", 1.0, 0.75)


def test_voices_that_cancel_out_hold_with_confidence() -> None:
    consensus = agree([voice(1.0), voice(-1.0)], [], THRESHOLD)
    assert (consensus.action, consensus.confidence, consensus.lean) == ("HOLD", 1.0, 0.0)


def test_without_any_voice_there_is_no_confidence() -> None:
    assert agree([], [Missing("m", 1.0, "late")], THRESHOLD).confidence == 0.0
    assert agree([], [], THRESHOLD).action == "HOLD"


@given(contributions, missing)
def test_without_a_quorum_nobody_acts(said, lost) -> None:
    consensus = agree(said, lost, THRESHOLD, QUORUM)
    heard = sum(one.weight * one.confidence for one in said)
    whole = sum(one.weight for one in said) + sum(one.weight for one in lost)
    if not heard or heard / whole < QUORUM:
        assert consensus.action == "HOLD"
    else:
        assert consensus == agree(said, lost, THRESHOLD)


def test_one_loud_voice_among_missing_ones_is_no_consensus() -> None:
    lost = [Missing(name, 1.0, "down") for name in ("trend", "momentum", "volume")]
    consensus = agree([voice(1.0, confidence=0.5)], lost, THRESHOLD, QUORUM)
    assert (consensus.action, consensus.confidence, consensus.lean) == ("HOLD", 0.0, 1.0)
