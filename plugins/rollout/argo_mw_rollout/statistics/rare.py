"""Rare harm: answers that were checked and found wrong, judged without normal distributions.

Where one answer in a thousand is wrong, and two hundred were checked, no mean is normally
distributed. What can be said is how much likelier the number of wrong answers is if the layer does
harm than if it does none, averaged over several sizes of harm.

What share is wrong without the layer is not known; the control arm and the time before the ramp
say about how much. Both likelihoods are averaged over the shares that are left open by these, all
being equally likely at first. So the ratio is a Bayes factor: over all usual shares together, the
probability that it ever exceeds 1/a without harm is at most a (Ville's inequality), whenever one
looks. For a single one it may be somewhat more or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf, lgamma, log, log1p, pi, sqrt
from typing import Final

import numpy as np
from attrs import frozen

from argo_mw_rollout.statistics.sequence import Numbers, log_threshold

_HARMS = (0.01, 0.02, 0.05, 0.2, 0.8)
"""Sizes of harm that are looked for, as shares of wrong answers beyond the margin."""

LEAST_SUBJECTS = 3
"""Subjects that must have had wrong answers before that is certain harm."""

_ALWAYS_COUNT = 2

MOST_USUAL = 0.2
"""The share of wrong answers up to which more of them can be distinguished from the usual."""

_LEAST = 1e-9
_STEPS: Final[Numbers] = np.linspace(-12.0, 12.0, 241)
"""Places, in standard errors, at which shares that may be usual are looked at."""


@frozen
class Checked:
    """How many answers were checked, and how many of them were wrong.

    A subject counts once in a block of time, however often the same wrong answer was found there.

    Attributes:
        right: The right ones.
        wrong: The wrong ones.
    """

    right: float = 0.0
    wrong: float = 0.0

    @property
    def total(self) -> float:
        """How many were checked."""
        return self.right + self.wrong

    @property
    def share(self) -> float:
        """The share that was wrong, or 0 where none was checked."""
        return self.wrong / self.total if self.total else 0.0

    def plus(self, other: Checked) -> Checked:
        """Return both together."""
        return Checked(self.right + other.right, self.wrong + other.wrong)


def spread(wrong_of: Mapping[str, int]) -> float:
    """Return how many wrong answers count as harm, of those that each subject had.

    A fault of one subject shows in each of its answers. So no subject counts for more than the one
    with the third most wrong answers does, or than two.
    """
    numbers = sorted(wrong_of.values(), reverse=True)
    most = max([*numbers[LEAST_SUBJECTS - 1 : LEAST_SUBJECTS], _ALWAYS_COUNT])
    return float(sum(min(number, most) for number in numbers))


def evidence_of_harm(treatment: Checked, control: Checked, before: Checked, margin: float) -> float:
    """Return the logarithm of the evidence that treatment's share is beyond *margin*.

    Where more than :data:`MOST_USUAL` are wrong without the layer, there is none.
    """
    both = control.plus(before)
    if both.share > MOST_USUAL:
        return -inf
    harms = [margin + harm for harm in _HARMS]
    found = _ratio(treatment, _usual(both), harms, margin)
    if control.share > both.share:  # something makes answers wrong for everyone
        found = min(found, _ratio(treatment, _usual(control), harms, margin))
    return found


def evidence_of_safety(
    treatment: Checked, control: Checked, before: Checked, limit: float
) -> float:
    """Return the logarithm of the evidence that treatment's share is not beyond *limit*.

    If the usual share were overestimated, so would be *limit* above it, and harm would pass for
    safe. So a share counts as usual only once it was seen without the layer.
    """
    usual = _usual(control.plus(before), at_first=0.0)
    return _ratio(treatment, usual, [0.0, limit / 4, limit / 2], limit)


def _ratio(
    treatment: Checked, without: tuple[Numbers, Numbers], more: Sequence[float], than: float
) -> float:
    """Return how much likelier *treatment* is with *more* wrong answers than with *than* more.

    More than is usual *without* the layer: the ratio is of likelihoods that are averages over what
    that may be.
    """
    usual, weights = without
    rest = _log_sum(weights + _likelihood(treatment, usual + than))
    kinds = [_log_sum(weights + _likelihood(treatment, usual + one)) for one in more]
    return float(_log_sum(np.array(kinds)) - rest - log(len(more)))


def _usual(without: Checked, *, at_first: float = 1.0) -> tuple[Numbers, Numbers]:
    """Return shares that may be usual, and the logarithms of how likely they are.

    Args:
        without: The answers that were checked without the layer.
        at_first: How many wrong ones stand for what is likely before any is checked: with 1 all
            shares are equally likely, with 0 only that none is wrong.
    """
    right, wrong = without.right + 1.0, without.wrong + at_first
    if not wrong:
        return np.zeros(1), np.zeros(1)
    # Equally far apart as logits, in which what is likely has about the same width everywhere.
    width = sqrt(1.0 / wrong + 1.0 / right)
    shares = 1.0 / (1.0 + np.exp(-log(wrong / right) - width * _STEPS))
    weights = wrong * np.log(shares) + right * np.log1p(-shares)
    return shares, weights - _log_sum(weights)


def _likelihood(seen: Checked, shares: Numbers) -> Numbers:
    """Return the logarithm of how likely *seen* is where one of *shares* is wrong."""
    shares = np.clip(shares, _LEAST, 1.0 - _LEAST)
    return np.asarray(seen.wrong * np.log(shares) + seen.right * np.log1p(-shares))


def checks_needed(usual: float, limit: float, alpha: float) -> float:
    """Return about how many right answers in a row show that the share is not beyond *limit*."""
    return (log_threshold(alpha) + log(3.0)) / -log1p(-min(usual + limit, 0.99))


def _log_sum(logarithms: Numbers) -> float:
    """Return the logarithm of the sum of what *logarithms* are of."""
    top = float(logarithms.max())
    return top + log(float(np.exp(logarithms - top).sum()))


def bounds(seen: Checked, alpha: float) -> tuple[float, float]:
    """Return the shares that *seen* leaves open, at any look, with *alpha* for each side.

    They are those against which a beta mixture has not yet the evidence.
    """
    needed = log_threshold(alpha)
    if not seen.total:
        return 0.0, 1.0
    mixed = lgamma(seen.wrong + 0.5) + lgamma(seen.right + 0.5) - lgamma(seen.total + 1.0) - log(pi)

    def ruled_out(share: float) -> bool:
        likelihood = seen.wrong * log(share) + seen.right * log1p(-share)
        return mixed - likelihood >= needed

    def search(inside: float, outside: float) -> float:
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if ruled_out(middle) else (middle, outside)
        return inside

    likeliest = min(max(seen.share, _LEAST), 1.0 - _LEAST)
    low = 0.0 if not seen.wrong else search(likeliest, _LEAST)
    high = 1.0 if not seen.right else search(likeliest, 1.0 - _LEAST)
    return low, high
