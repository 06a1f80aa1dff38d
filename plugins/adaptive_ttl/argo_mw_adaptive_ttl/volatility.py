"""Volatility: how far a price moves in a minute of trading, learned as the minutes pass by.

sigma² of a minute is a level times the time-of-day profile. The level blends three exponentially
weighted averages of squared log returns, each divided by the profile first. Squares are capped, so
that one jump does not dominate for days.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from attrs import define, field

from argo_mw_adaptive_ttl.daytime import BUCKETS

HALF_LIVES: Final = (8.0, 240.0, 2000.0)
"""Minutes of trading after which what was seen counts half: the hour, the day, the week."""

BLEND: Final = (0.4, 0.4, 0.2)
"""Their shares in sigma."""

_DECAYS: Final = tuple(0.5 ** (1.0 / half_life) for half_life in HALF_LIVES)
_CAP: Final = 60.0
_PROFILE_PRIOR: Final = 60.0
_SETTLED: Final = 300.0
_FLOOR: Final = 0.1
_TINY: Final = 1e-4
DAILY_SHARE: Final = 0.75
"""How much of a daily bar's variance falls into trading hours."""


@define
class Volatility:
    """What is known about one symbol's volatility, in basis points; of fixed size.

    Attributes:
        level: sigma² of a minute whose profile is 1, in bp²; 0 while nothing is known.
    """

    level: float = 0.0
    _sums: list[float] = field(factory=lambda: [0.0] * 3)
    _weights: list[float] = field(factory=lambda: [0.0] * 3)
    _profile_sums: list[float] = field(factory=lambda: [0.0] * BUCKETS)
    _profile_counts: list[float] = field(factory=lambda: [0.0] * BUCKETS)

    def profile(self, bucket: int, prior: float) -> float:
        """Return the variance of a minute in *bucket*, as a multiple of the day's average."""
        return (prior * _PROFILE_PRIOR + self._profile_sums[bucket]) / (
            _PROFILE_PRIOR + self._profile_counts[bucket]
        )

    def learn(self, move: float, bucket: int, prior: float) -> None:
        """Learn that a minute of trading in *bucket* has moved the price by *move* bp."""
        profile = self.profile(bucket, prior)
        square = move * move
        scaled = square / profile
        if self.level > 0.0:
            scaled = min(scaled, _CAP * self.level)
        sums, weights = self._sums, self._weights
        for i in (0, 1, 2):
            decay = _DECAYS[i]
            sums[i] = sums[i] * decay + scaled
            weights[i] = weights[i] * decay + 1.0
        if weights[2] > _SETTLED and sums[2] > 0.0:
            relative = square * weights[2] / sums[2]
            self._profile_sums[bucket] += min(relative, _CAP * profile)
            self._profile_counts[bucket] += 1.0

    def settle(self) -> None:
        """Compute the level from what was learned."""
        if self._weights[0] == 0.0:
            return
        slow = sqrt(self._sums[2] / self._weights[2])
        sigma = sum(
            share * sqrt(total / weight)
            for share, total, weight in zip(BLEND, self._sums, self._weights, strict=True)
        )
        self.level = max(sigma, _FLOOR * slow) ** 2 + _TINY

    def seed(self, level: float) -> None:
        """Begin with sigma² *level* of a minute, in bp², unless more is known already."""
        if self._weights[0] == 0.0 and level > 0.0:
            self.level = level
            self._sums = [level] * 3
            self._weights = [1.0] * 3

    def fits(self, buckets: int) -> bool:
        """Return whether it was learned with as many *buckets* and averages as there are."""
        averages = len(self._sums) == len(self._weights) == len(HALF_LIVES)
        return averages and len(self._profile_sums) == len(self._profile_counts) == buckets

    @property
    def trend(self) -> float:
        """Return sigma of the last minutes over sigma of the last days; 1 while it is unknown."""
        if self._weights[0] == 0.0 or self._sums[2] == 0.0:
            return 1.0
        return sqrt(self._sums[0] / self._weights[0] * self._weights[2] / self._sums[2])
