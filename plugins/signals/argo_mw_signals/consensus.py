"""The consensus: from what voices say to an action and a confidence."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from argo_mw_signals.signal import Action, Contribution, Missing


@frozen
class Verdict:
    """What the voices agree on.

    Attributes:
        action: ``BUY``, ``SELL`` or ``HOLD``.
        confidence: From 0 to 1.
        lean: The weighted mean, from -1 to 1.
    """

    action: Action
    confidence: float
    lean: float


def agree(
    contributions: Sequence[Contribution], missing: Sequence[Missing], threshold: float
) -> Verdict:
    """The consensus of *contributions*.

    The lean is the mean of the scores, weighted by each voice's weight and confidence: a voice
    that is sure of nothing moves nothing. Beyond *threshold* it is an action, whose confidence
    is the share of the weight on its side, by how sure that is; below, it is ``HOLD``, the surer
    the nearer to zero. Both are then cut by the share of the weight that was heard at all.

    Args:
        contributions: What the voices said.
        missing: Who was not heard.
        threshold: The lean, from 0 to 1, from which a signal acts.
    """
    heard = sum(one.weight for one in contributions)
    whole = heard + sum(one.weight for one in missing)
    if heard <= 0 or whole <= 0:
        return Verdict("HOLD", 0.0, 0.0)
    pull = [one.weight * one.confidence * one.score for one in contributions]
    lean = sum(pull) / heard
    coverage = heard / whole
    if abs(lean) < threshold:
        return Verdict("HOLD", coverage * (1.0 - abs(lean) / threshold), lean)
    side = 1.0 if lean > 0 else -1.0
    with_it = sum(one.weight * one.confidence for one in contributions if one.score * side > 0)
    return Verdict("BUY" if lean > 0 else "SELL", coverage * with_it / heard, lean)
