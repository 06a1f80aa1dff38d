"""Pairs made by program: the same words that ask something else, the same question in other words."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw_similarity import Guarded, Reading, read
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.language.lexicon import Lexicon
from tests.bench.similar_pairs.minimal import Pair, minimal_pairs
from tests.bench.similar_pairs.rephrased import rephrasings

HIGH = 0.97
"""A score that minimal pairs reach: their words are the same."""
PAIRS = minimal_pairs(kept_out=False)
PROMPTS = sorted({text for pair in PAIRS for text in (pair.a, pair.b)})


def _served(words: Lexicon, pairs: list[Pair]) -> list[Pair]:
    readings: dict[str, Reading] = {}
    for pair in pairs:
        for text in (pair.a, pair.b):
            readings.setdefault(text, read(text, words))
    policy = Guarded(words)
    return [p for p in pairs if policy.judge(readings[p.a], readings[p.b], HIGH).serve]


@pytest.mark.parametrize("kept_out", [False, True])
def test_no_two_prompts_of_the_same_words_and_other_parts_share_an_answer(
    words: Lexicon, kept_out: bool
) -> None:
    differ = [pair for pair in minimal_pairs(kept_out=kept_out) if not pair.same]
    assert len(differ) > 1000
    assert _served(words, differ) == []


def test_most_prompts_that_give_the_same_parts_otherwise_share_an_answer(words: Lexicon) -> None:
    same = [pair for pair in PAIRS if pair.same]
    assert len(_served(words, same)) >= 0.8 * len(same)


def test_most_rephrasings_of_every_kind_share_an_answer(words: Lexicon) -> None:
    pairs = [Pair(r.a, r.b, True, r.kind) for r in rephrasings()]
    served, asked = defaultdict(int), defaultdict(int)
    for pair in pairs:
        asked[pair.kind] += 1
    for pair in _served(words, pairs):
        served[pair.kind] += 1
    assert {
        kind: served[kind] / asked[kind] for kind in asked if served[kind] < 0.85 * asked[kind]
    } == {}


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PROMPTS), st.sampled_from(PROMPTS), st.floats(0.7, 1.0))
def test_a_verdict_is_the_same_in_either_order(one: str, other: str, score: float) -> None:
    words = lexicon.load()
    policy, a, b = Guarded(words), read(one, words), read(other, words)
    assert policy.judge(a, b, score) == policy.judge(b, a, score)
