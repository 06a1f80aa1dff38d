"""Scores: from squared errors of many runs to ratios with their intervals."""

from __future__ import annotations

import math

import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

MIN_READS = 3_000
MIN_DAYS = 5
LARGE = 10_000
RESAMPLES = 5_000
UNCERTAINTY = 0.05
FAR = 50.0**2

Array = NDArray[np.float64]


@define(eq=False)
class Sums:
    """What a policy did to one series, by day, in the mean over its runs.

    Attributes:
        squares: Squared errors in bp², by day.
        reads: Reads, by day.
        far: Reads that were off by more than 50 bp, by day.
        fetches: Fetches.
    """

    squares: Array
    reads: Array
    far: Array
    fetches: float = 0.0

    @classmethod
    def of(cls, days: int) -> Sums:
        """Nothing yet, for a series of so many *days*."""
        return cls(np.zeros(days), np.zeros(days), np.zeros(days))

    def add(self, days: NDArray[np.int64], squares: Array, fetches: int, weight: float) -> None:
        """One run over one segment, *weight* of all: *squares* of the reads of *days*."""
        count = len(self.squares)
        self.squares += weight * np.bincount(days, squares, count)
        self.reads += weight * np.bincount(days, minlength=count)
        self.far += weight * np.bincount(days, squares > FAR, count)
        self.fetches += weight * fetches

    @property
    def error(self) -> float:
        """The root mean squared error in bp."""
        return float(np.sqrt(self.squares.sum() / self.reads.sum()))

    @property
    def share(self) -> float:
        """Fetches per read."""
        return float(self.fetches / self.reads.sum())


@frozen
class Ratio:
    """A policy's error over that of the fixed time to live.

    Attributes:
        value: The ratio.
        low: Where its 95 % interval begins, or ``None`` for a series of one day, or one in which
            the fixed time to live was never wrong.
        high: Where it ends.
    """

    value: float
    low: float | None
    high: float | None


def over(policy: float, fixed: float) -> float:
    """Return one error over another; a price that never moved leaves both without any, as equals."""
    if fixed > 0.0:
        return policy / fixed
    return math.inf if policy > 0.0 else 1.0


def ratio_of(policy: Sums, fixed: Sums, seed: int = 1, *, comparisons: int = 1) -> Ratio:
    """Errors compared; the interval is a bootstrap over days, the same days for both.

    It is one of so many *comparisons*: with that, 95 % is the chance that all of them hold.
    """
    chance = np.random.default_rng(seed)
    value = over(policy.error, fixed.error)
    days = len(policy.squares)
    if days < 2:
        return Ratio(value, None, None)
    drawn = chance.integers(0, days, (RESAMPLES, days))
    mine = policy.squares[drawn].sum(1) / policy.reads[drawn].sum(1)
    theirs = fixed.squares[drawn].sum(1) / fixed.reads[drawn].sum(1)
    some = theirs > 0.0
    if not some.any():
        return Ratio(value, None, None)
    tail = UNCERTAINTY / comparisons / 2.0
    low, high = np.quantile(np.sqrt(mine[some] / theirs[some]), [tail, 1.0 - tail])
    return Ratio(value, round(float(low), 4), round(float(high), 4))


def is_scored(reads: int, days: int) -> bool:
    """Whether a series is long enough to be scored, not only shown."""
    return reads >= MIN_READS and days >= MIN_DAYS
