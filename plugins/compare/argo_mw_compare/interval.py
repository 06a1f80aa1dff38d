"""Intervals: how far a mean over few seeds may be from what many would give."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

from attrs import frozen

_T95: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""Student's t of 95 %, two-sided, for 1 to 9 degrees of freedom."""
_NORMAL95: Final = 1.96


@frozen
class Interval:
    """A mean, and what it may be with 95 % confidence.

    Attributes:
        mean: The mean.
        low: The least that it may be.
        high: The most that it may be.
    """

    mean: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


def interval(values: Sequence[float]) -> Interval:
    """Return the mean of *values* and its interval; without bounds where there is one value."""
    return _around(statistics.fmean(values), values)


def ratio_interval(after: Sequence[float], before: Sequence[float]) -> Interval | None:
    """Return the mean of *after* over the mean of *before*, by seed in pairs, and its interval.

    Means are compared, not each seed's ratio, since the ratio of a seed in which nearly nothing
    happened says little. ``None`` where there is nothing to compare with.
    """
    mean = statistics.fmean(before) if before else 0.0
    if not mean:
        return None
    ratio = statistics.fmean(after) / mean
    residuals = [(a - ratio * b) / mean for a, b in zip(after, before, strict=True)]
    return _around(ratio, residuals)


def _around(mean: float, values: Sequence[float]) -> Interval:
    count = len(values)
    if count < 2:
        return Interval(mean, -math.inf, math.inf)
    t = _T95[count - 2] if count - 2 < len(_T95) else _NORMAL95
    half = t * statistics.stdev(values) / math.sqrt(count)
    return Interval(mean, mean - half, mean + half)
