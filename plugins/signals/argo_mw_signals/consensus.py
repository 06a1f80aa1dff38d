"""The consensus: an action and a confidence from the votes of voices."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from argo_mw_signals.signal import Action, Contribution, Missing


@frozen
class Consensus:
    """The result of the voices' votes.

    Attributes:
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: From 0 to 1.
        lean: The weighted mean of the scores, from -1 to 1.
    """

    action: Action
    confidence: float
    lean: float


def agree(
    contributions: Sequence[Contribution],
    missing: Sequence[Missing],
    *,
    threshold: float,
    quorum: float,
) -> Consensus:
    """Return the consensus of *contributions*.

    A voice counts by its weight times its own confidence. The lean is the mean of the scores by
    these counts; from *threshold* on it is an action, whose confidence is the share that the
    counts on its side have of all weights. Below it is ``HOLD``, the surer the nearer the lean
    is to zero. The weights of the missing are among all weights, so they lower any confidence.
    Where the counts are less than *quorum* of all weights, one loud voice is no consensus: it is
    ``HOLD`` then, whatever the lean.

    Args:
        contributions: The votes of the voices.
        missing: The voices that were not heard.
        threshold: The lean, from 0 to 1, from which a signal acts.
        quorum: The share of all weights, from 0 to 1, that must be heard for it to act.
    """
    weights = [one.weight for one in contributions] + [one.weight for one in missing]
    counts = [one.weight * one.confidence for one in contributions]
    heard = sum(counts)
    if heard <= 0:
        return Consensus("HOLD", 0.0, 0.0)
    lean = sum(n * one.score for n, one in zip(counts, contributions, strict=True)) / heard
    share = heard / sum(weights)
    if abs(lean) < threshold or share < quorum:
        return Consensus("HOLD", share * max(0.0, 1.0 - abs(lean) / threshold), lean)
    side = 1.0 if lean > 0 else -1.0
    agreed = sum(n for n, one in zip(counts, contributions, strict=True) if one.score * side > 0)
    return Consensus("BUY" if lean > 0 else "SELL", agreed / sum(weights), lean)
