"""Opinions: what judges, verifies and checks, as it is configured."""

from __future__ import annotations

import random

from argo_mw.plugin import Context
from argo_mw_similarity.answers.answer_store import AnswerStore
from argo_mw_similarity.config import SimilarityConfig
from argo_mw_similarity.factory import JUDGED, VERIFIED
from argo_mw_similarity.opinions.agreement import Comparison
from argo_mw_similarity.opinions.checker import Checker
from argo_mw_similarity.opinions.judge import Judge
from argo_mw_similarity.opinions.second_opinion import Judging, MayServe, SecondOpinion
from argo_mw_similarity.opinions.verifier import Verifier
from argo_mw_similarity.stats import Stats

_LEAST_CHECKED = 0.01
"""The share of what the policy ``verified`` serves that is checked in any case."""


def opinions_of(
    config: SimilarityConfig,
    context: Context,
    stats: Stats,
    store: AnswerStore,
    may_serve: MayServe,
) -> tuple[SecondOpinion | None, Checker]:
    """Return the second opinion of the policy that *config* names, if it has one, and the checker.

    Args:
        config: The plugin's configuration.
        context: What the framework gives.
        stats: Where they count.
        store: Where what they learn is kept.
        may_serve: Whether an answer is fresh, and young enough for a call.
    """
    verifies = config.policy == VERIFIED
    share = max(config.check_share, _LEAST_CHECKED if verifies else 0.0)
    exact = config.compare == "exact"
    asks = config.policy == JUDGED or (share > 0 and not exact)
    judge = Judge(config, context, stats) if asks else None
    comparison = Comparison(None if exact else judge, exact)
    chance = random.Random()
    second: SecondOpinion | None = None
    if verifies:
        second = Verifier(config, context, stats, store, comparison, may_serve, chance)
    elif config.policy == JUDGED:
        assert judge is not None
        second = Judging(context, judge, store, may_serve, most=config.max_judged)
    checker = Checker(context, stats, store, comparison, second, share=share, chance=chance)
    return second, checker
