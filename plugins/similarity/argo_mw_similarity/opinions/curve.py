"""A logistic curve of how likely an answer serves, by the similarity of the prompts.

As in vCache (arXiv 2502.03771), what is known are pairs of similarity and correctness, and two more
to begin with: prompts with nothing in common are different, equal ones the same. The curve is the
most likely one under a wide prior, which keeps it finite where all pairs agree; how uncertain it is
comes from its curvature there (Laplace's approximation).
"""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CENTRE, _UNIT = 0.85, 0.1
"""The middle of the scores that matter, and the step for which the slope is stated."""
_MEAN = np.array([0.0, 1.0])
_SPREAD = np.array([5.0, 3.0])
_SEEDS = ((0.0, 0.0, 1.0), (1.0, 1.0, 0.0))
"""Score, right and wrong of the two pairs that are known before any."""
_STEPS = 100
_MOST_SHIFT = 30.0
_SMALL = 1e-10


@frozen(eq=False)
class Curve:
    """The chance that an answer serves, by the score.

    Attributes:
        weights: Log-odds in the middle of the scores, and what 0.1 of the score adds to them.
        covariance: How uncertain these are.
    """

    weights: Floats
    covariance: Floats

    def chance(self, score: float, shift: float = 0.0) -> float:
        """Return the likely chance at *score*, where an entry's own log-odds differ by *shift*."""
        return sigmoid(self.log_odds(score) + shift)

    def least(self, score: float, deviations: float, shift: float = 0.0) -> float:
        """Return the chance at *score* that is so many standard *deviations* below the likely."""
        x = _design(np.array([score]))[0]
        spread = math.sqrt(max(0.0, float(x @ self.covariance @ x)))
        return sigmoid(self.log_odds(score) + shift - deviations * spread)

    def log_odds(self, score: float) -> float:
        """Return the likely log-odds at *score*."""
        return float(_design(np.array([score]))[0] @ self.weights)


def fit(scores: Floats, right: Floats, wrong: Floats, *, prior: float = 1.0) -> Curve:
    """Return the curve through *right* and *wrong* pairs at *scores*, and the two seeds.

    Args:
        scores: The scores.
        right: How many pairs of each score were right; need not be whole.
        wrong: How many were wrong.
        prior: What prior and seeds weigh; 0 leaves them out, and needs pairs that do not agree.
    """
    seeds = np.array(_SEEDS)
    x = _design(np.concatenate([scores, seeds[:, 0]]))
    yes = np.concatenate([right, prior * seeds[:, 1]])
    no = np.concatenate([wrong, prior * seeds[:, 2]])
    precision = prior / _SPREAD**2
    weights = _MEAN * (prior > 0)
    for _ in range(_STEPS):
        gradient, curvature = _derivatives(weights, x, yes, no, precision)
        step: Floats = np.asarray(np.linalg.solve(curvature, gradient), np.float64)
        weights = _improved(weights, step, x, yes, no, precision)
        if float(np.abs(step).max()) < _SMALL:
            break
    _, curvature = _derivatives(weights, x, yes, no, precision)
    return Curve(weights, np.asarray(np.linalg.inv(curvature), np.float64))


def shift_of(curve: Curve, own: list[tuple[float, bool]], spread: float) -> float:
    """Return by how much the log-odds of one entry differ from *curve*, by its *own* pairs.

    Args:
        curve: The curve of all entries.
        own: Scores of the entry's pairs, and whether they were right.
        spread: The standard deviation of such differences between entries.
    """
    low, high = -_MOST_SHIFT, _MOST_SHIFT
    while own and high - low > _SMALL:
        shift = (low + high) / 2
        off = sum(right - curve.chance(score, shift) for score, right in own)
        # What is more likely than the prior falls with the shift, so there is one best.
        low, high = (shift, high) if off > shift / spread**2 else (low, shift)
    return (low + high) / 2


def sigmoid(log_odds: float) -> float:
    """Return the chance of *log_odds*."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    odds = math.exp(max(log_odds, -700.0))
    return odds / (1.0 + odds)


def _design(scores: Floats) -> Floats:
    return np.stack([np.ones_like(scores), (scores - _CENTRE) / _UNIT], axis=1)


def _derivatives(
    weights: Floats, x: Floats, yes: Floats, no: Floats, precision: Floats
) -> tuple[Floats, Floats]:
    """Return the gradient of the log-posterior, and its curvature with the sign turned."""
    chance = _chances(x @ weights)
    gradient = x.T @ (yes - (yes + no) * chance) - precision * (weights - _MEAN)
    curvature = (x.T * ((yes + no) * chance * (1 - chance))) @ x + np.diag(precision)
    return gradient, curvature


def _improved(
    weights: Floats, step: Floats, x: Floats, yes: Floats, no: Floats, precision: Floats
) -> Floats:
    """Return *weights* moved by *step*, or by the part of it that makes them more likely."""
    before = _log_posterior(weights, x, yes, no, precision)
    for _ in range(_STEPS):
        moved: Floats = weights + step
        if _log_posterior(moved, x, yes, no, precision) >= before - 1e-12 * abs(before):
            return moved
        step = step / 2
    return weights


def _log_posterior(weights: Floats, x: Floats, yes: Floats, no: Floats, precision: Floats) -> float:
    z = x @ weights
    likelihood = -(yes * np.logaddexp(0.0, -z) + no * np.logaddexp(0.0, z)).sum()
    return float(likelihood - (precision * (weights - _MEAN) ** 2).sum() / 2)


def _chances(z: Floats) -> Floats:
    chances: Floats = np.exp(-np.logaddexp(0.0, -z))
    return chances
