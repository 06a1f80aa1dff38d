"""Confidence sequences: intervals that hold at every look at once, however often one looks.

The one-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas,
"Time-uniform central limit theory and asymptotic confidence sequences" (2021). In units of the
standard error of the mean of *n* blocks, its bound is

    z(n) = sqrt(2 (n r + 1) / (n r) * ln(1 + sqrt(n r + 1) / (2 a)))

where *a* is the error probability and *r*, their rho squared, says where it is tightest.

The variance is taken around the value that is tested, not around the mean. Then differences whose
distribution is symmetric need not be normal (de la Peña, "A general class of exponential
inequalities for martingales and ratios", 1999), and differences of two arms of the same size are
symmetric where the layer does nothing. It also means that a few blocks are never enough: with
fewer than z squared of them no interval ends.
"""

from __future__ import annotations

from math import log

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

BEST_AT = 100.0
"""The number of blocks at which the sequences of this package are tightest."""


def mixing(alpha: Numbers | float, best_at: float = BEST_AT) -> Numbers:
    """Return rho squared, for which the one-sided sequence is tightest at *best_at* blocks.

    Args:
        alpha: The error probability, below one half.
        best_at: A number of blocks.
    """
    twice = -2.0 * np.log(2.0 * np.asarray(alpha))
    return np.asarray((twice + np.log(twice + 1.0)) / best_at)


def boundary(n: Numbers | float, alpha: Numbers | float, best_at: float = BEST_AT) -> Numbers:
    """Return how many standard errors the mean of *n* blocks may be off, at any look.

    Args:
        n: The number of blocks, above 0.
        alpha: The probability, for one side, that it ever is off by more.
        best_at: The number of blocks at which the bound shall be tightest.
    """
    mass = np.asarray(n) * mixing(alpha, best_at)
    inner = 1.0 + np.sqrt(mass + 1.0) / (2.0 * np.asarray(alpha))
    return np.asarray(np.sqrt(2.0 * (mass + 1.0) / mass * np.log(inner)))


def half_width(n: float, variance: float, alpha: float, best_at: float = BEST_AT) -> float:
    """Return the half-width of the sequence for a mean of *n* values with *variance* each."""
    return float(boundary(n, alpha, best_at) * np.sqrt(variance / n))


@frozen(eq=False)
class Sums:
    """What a weighted mean effect and its variance are computed from, by metric.

    A block contributes a pair: *x*, its weighted difference, and *w*, what *x* would be were the
    effect 1. The effect is the *m* for which the terms ``x - m w`` add up to zero.

    Attributes:
        x: The sum of *x*.
        w: The sum of *w*.
        xx: The sum of *x* squared.
        xw: The sum of the products.
        ww: The sum of *w* squared.
    """

    x: Numbers
    w: Numbers
    xx: Numbers
    xw: Numbers
    ww: Numbers

    def effect(self) -> Numbers:
        """Return the effect; NaN where nothing is known."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return self.x / self.w

    def variance(self, effect: Numbers) -> Numbers:
        """Return the variance of the sum of ``x - effect w``."""
        return np.asarray(np.maximum(self.xx - 2 * effect * self.xw + effect**2 * self.ww, 0.0))

    def size(self) -> Numbers:
        """Return the number of blocks of equal weight that would tell as much."""
        return np.divide(self.w**2, self.ww, out=np.zeros_like(self.w), where=self.ww > 0)


def interval(
    sums: Sums, alpha: Numbers | float, *, spread: Numbers | float = 1.0
) -> tuple[Numbers, Numbers]:
    """Return the effects that the blocks do not rule out: those whose sum is within its bound.

    Args:
        sums: Of the blocks.
        alpha: The probability, for each side, that the interval ever misses the effect.
        spread: How many times larger the variance is than the blocks show.

    Returns:
        The lower and the upper ends by metric, infinite where nothing is ruled out.
    """
    return within(sums, boundary(np.maximum(sums.size(), 1.0), alpha) ** 2 * spread)


def within(sums: Sums, bound: Numbers) -> tuple[Numbers, Numbers]:
    """Return the effects *m* for which the sum of ``x - m w`` is within its error.

    Args:
        sums: What sum and variance are computed from.
        bound: The square of how many standard errors it may be off.

    Returns:
        The lower and the upper ends by metric, infinite where nothing is ruled out.
    """
    # (x - m w)^2 <= bound * variance(m) is a quadratic inequality in m.
    square = sums.w**2 - bound * sums.ww
    linear = sums.x * sums.w - bound * sums.xw
    constant = sums.x**2 - bound * sums.xx
    root = np.sqrt(np.maximum(linear**2 - square * constant, 0.0))
    known = (square > 0) & (sums.w > 0)
    safe = np.where(known, square, 1.0)
    low = np.where(known, (linear - root) / safe, -np.inf)
    high = np.where(known, (linear + root) / safe, np.inf)
    return low, high


def log_threshold(alpha: float) -> float:
    """Return the logarithm that evidence against a hypothesis must reach to reject it."""
    return -log(alpha)
