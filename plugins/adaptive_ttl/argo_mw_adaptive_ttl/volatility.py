"""Volatility: how far a price moves in a minute of trading, learned as the minutes pass by.

sigma² of a minute is a level times the time-of-day profile. The level blends three exponentially
weighted averages of squared log returns, each divided by the profile first. Squares are capped, so
that one jump does not dominate for days.

How much an average is trusted follows from the number of trades in it, since a minute without one
says little: for a thin symbol a few minutes prove nothing, and the slower average holds.
"""

from __future__ import annotations

from math import sqrt
from typing import Final

from attrs import define, field

from argo_mw_adaptive_ttl.daytime import BUCKETS, Shape

HALF_LIVES: Final = (8.0, 240.0, 2000.0)
"""Minutes of trading after which what was seen counts half: the hour, the day, the week."""

_BELIEF: Final = (1.0, 0.7)
"""How far the hour departs from the day, and the day from the week, with trades without number.
With a trade each minute the three have the shares 0.54, 0.31 and 0.15 in sigma."""

_BELIEVED: Final = 10.0
"""The number of trades with which an average is half believed: the noise of the sigma that they
show, over the spread of sigma that is usual, in variances."""

_WAITS: Final = 1.2
"""The variance that waits, distributed exponentially, add to that of squared moves of kurtosis 6:
it is 5 for equal waits, and 11 for such ones."""

_DECAYS: Final = tuple(0.5 ** (1.0 / half_life) for half_life in HALF_LIVES)
_CAP: Final = 60.0
_PROFILE_DAYS: Final = 7.0
_PROFILE_TRADES: Final = 25.0
"""For how many days, and for how many trades more, the prior of a bucket's variance counts. One day
says little about the others, however many minutes it has, since they share its weather; and a few
minutes are subject to chance."""
_STRENGTH_DAYS: Final = 4.0
"""For how many days it counts that the prior profile is as strong as it is: one day shows its
strength to within 0.6, and symbols differ by 0.3."""
_MAX_STRENGTH: Final = 1.5
_STEP: Final = 0.02
"""By how much the strength must have changed for the profile to be computed anew."""
_PROFILE_PRIOR: Final = 60.0
_SETTLED: Final = 300.0
_FLOOR: Final = 0.1
_TINY: Final = 1e-4
_PRIOR_TRADES: Final = 4.0
"""The number of trades with which the week is half believed against what was assumed at first:
symbols of a class differ by more than one symbol does from week to week."""
DAILY_SHARE: Final = 0.75
"""How much of a daily bar's variance falls into trading hours."""


@define
class Volatility:
    """What is known about one symbol's volatility, in basis points; of fixed size.

    Attributes:
        level: sigma² of a minute whose profile is 1, in bp²; 0 while nothing is known.
        prior: What was assumed of it at first; 0 if nothing was.
    """

    level: float = 0.0
    prior: float = 0.0
    _sums: list[float] = field(factory=lambda: [0.0] * 3)
    _weights: list[float] = field(factory=lambda: [0.0] * 3)
    _trades: list[float] = field(factory=lambda: [0.0] * 3)
    _profile_sums: list[float] = field(factory=lambda: [0.0] * BUCKETS)
    _profile_counts: list[float] = field(factory=lambda: [0.0] * BUCKETS)
    _contrast: float = 0.0
    _contrast_seen: float = 0.0
    _amplitude: float = field(default=1.0, init=False, eq=False)
    _priors: list[float] = field(factory=lambda: [_PROFILE_PRIOR] * BUCKETS, init=False, eq=False)
    _silence: float = field(default=1.0, init=False, eq=False)
    _shape: Shape | None = field(default=None, init=False, eq=False)
    _squares: list[float] = field(factory=list, init=False, eq=False)
    _roots: list[float] = field(factory=list, init=False, eq=False)

    def profile(self, bucket: int, prior: float) -> float:
        """Return the variance of a minute in *bucket*, as a multiple of the day's average."""
        weight = self._priors[bucket]
        prior = 1.0 + self._amplitude * (prior - 1.0)
        return (prior * weight + self._profile_sums[bucket]) / (
            weight + self._profile_counts[bucket]
        )

    def profile_of(self, shape: Shape) -> tuple[list[float], list[float]]:
        """Return the profile of a day of *shape* by bucket, and the square roots of it."""
        if self._shape is not shape:
            self._shape = shape
            self._amplitude = self._strength(shape)
            chance = _PROFILE_TRADES * self._minutes_per_trade() * self._noise()
            self._priors = [_PROFILE_DAYS * width + chance for width in shape.width]
            self._squares = [self.profile(b, prior) for b, prior in enumerate(shape.prior)]
            self._roots = [sqrt(square) for square in self._squares]
        return self._squares, self._roots

    def learn(self, move: float, bucket: int, prior: float, *, traded: bool = True) -> None:
        """Learn that a minute of trading in *bucket* has moved the price by *move* bp."""
        profile = self.profile(bucket, prior)
        square = move * move
        scaled = square / profile
        if self.level > 0.0:
            scaled = min(scaled, _CAP * self.level * self._silence)
        sums, weights, trades = self._sums, self._weights, self._trades
        for i in (0, 1, 2):
            decay = _DECAYS[i]
            sums[i] = sums[i] * decay + scaled
            weights[i] = weights[i] * decay + 1.0
            trades[i] = trades[i] * decay + traded
        if weights[2] > _SETTLED and sums[2] > 0.0:
            relative = square * weights[2] / sums[2]
            self._profile_sums[bucket] += min(relative, _CAP * profile * self._silence)
            self._profile_counts[bucket] += 1.0
            contrast = prior - 1.0
            self._contrast_seen += contrast * (min(relative, _CAP * profile * self._silence) - 1.0)
            self._contrast += contrast * contrast
            if self._shape is not None:
                self._squares[bucket] = profile = self.profile(bucket, self._shape.prior[bucket])
                self._roots[bucket] = sqrt(profile)

    def settle(self) -> None:
        """Compute the level from what was learned."""
        weights = self._weights
        if weights[0] == 0.0:
            return
        fast, middle, slow = (
            sqrt(total / weight) for total, weight in zip(self._sums, weights, strict=True)
        )
        if self.prior > 0.0:
            slow += (sqrt(self.prior) - slow) * (1.0 - _credibility(self._trades[2], _PRIOR_TRADES))
        sigma = slow + _BELIEF[1] * self._credibility(1) * (middle - slow)
        sigma += _BELIEF[0] * self._credibility(0) * (fast - sigma)
        self.level = max(sigma, _FLOOR * slow) ** 2 + _TINY
        self._silence = self._minutes_per_trade()
        shape = self._shape
        if shape is not None and abs(self._strength(shape) - self._amplitude) > _STEP:
            self._shape = None
            self.profile_of(shape)

    def seed(self, level: float) -> None:
        """Assume a sigma² of a minute of *level*, in bp², until trades show another one."""
        if level > 0.0:
            self.prior = level
            if self._weights[0] == 0.0:
                self.level = level

    def fits(self, buckets: int) -> bool:
        """Return whether it was learned with as many *buckets* and averages as there are."""
        averages = len(self._sums) == len(self._weights) == len(self._trades) == len(HALF_LIVES)
        return averages and len(self._profile_sums) == len(self._profile_counts) == buckets

    def _strength(self, shape: Shape) -> float:
        """Return how strong its profile is, over the prior one of a day of *shape*.

        It is the slope of what was seen in a minute on what was expected of it: one number for all
        buckets, and so soon known.
        """
        believed = _STRENGTH_DAYS * shape.contrast
        if believed <= 0.0:
            return 1.0
        slope = (self._contrast_seen + believed) / (self._contrast + believed)
        return min(max(slope, 0.0), _MAX_STRENGTH)

    def _minutes_per_trade(self) -> float:
        """Return how many minutes there are for each trade, which moves the price for all."""
        trades = self._trades[2]
        return self._weights[2] / trades if trades > 1.0 else 1.0

    def _noise(self) -> float:
        """Return how much less a trade says than it would if there were one each minute.

        Trades come after waits of many lengths, for which the squares of their moves differ, too.
        """
        return 1.0 + _WAITS * (1.0 - 1.0 / self._minutes_per_trade())

    def _credibility(self, index: int) -> float:
        """Return how far an average is believed, by the trades in it.

        Trades that are missing are evidence as well, as far as they were sure to come.
        """
        rate = self._trades[2] / self._weights[2]
        trades = self._trades[index]
        missing = max(0.0, rate * self._weights[index] - trades)
        return _credibility(trades + rate * rate * missing, _BELIEVED * self._noise())

    @property
    def trend(self) -> float:
        """Return sigma of the last minutes over sigma of the last days; 1 while it is unknown."""
        if self._weights[0] == 0.0 or self._sums[2] == 0.0:
            return 1.0
        return sqrt(self._sums[0] / self._weights[0] * self._weights[2] / self._sums[2])


def _credibility(trades: float, half: float) -> float:
    """Return how far an average over *trades* is believed, which *half* trades make by half."""
    return trades / (trades + half)
