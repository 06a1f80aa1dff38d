"""Activity: how often a symbol is traded, learned apart from how far it moves.

A price that is not traded does not move. The rate of trades, per minute of trading, is that of the
last days times a profile of the time of day, both learned from the minutes that had a bar and those
that had none. Either begins with a prior and gives way to what is seen, the profile of a thin
symbol more slowly: what counts is the number of trades.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from argo_mw_adaptive_ttl.daytime import BUCKETS, Shape

HALF_LIFE: Final = 2000.0
"""Minutes of trading after which what was seen counts half."""

_DECAY: Final = 0.5 ** (1.0 / HALF_LIFE)
_PRIOR_MINUTES: Final = 30.0
_PROFILE_PRIOR: Final = 60.0
_LEAST: Final = 1e-4
"""The lowest rate that is assumed, in trades a minute."""

_SLOW_DAYS: Final = 2.0
"""How alike days are: after a wait of this many times the usual one, half the rate is assumed."""

_BELIEF: Final = 0.5
"""The share of the moves gathered behind a silence by which the next trade is expected to move the
price: trades come in clusters, so a long silence tends to last."""


@define
class Activity:
    """What is known about how often one symbol is traded; of fixed size.

    Attributes:
        prior: The rate that is assumed at first, in trades a minute.
    """

    prior: float = 0.7
    _traded: float = 0.0
    _minutes: float = 0.0
    _profile_traded: list[float] = field(factory=lambda: [0.0] * BUCKETS)
    _profile_minutes: list[float] = field(factory=lambda: [0.0] * BUCKETS)

    @property
    def rate(self) -> float:
        """Return the share of minutes with a trade, over the last days."""
        traded = self._traded + self.prior * _PRIOR_MINUTES
        return max(_LEAST, traded / (self._minutes + _PRIOR_MINUTES))

    def rate_at(self, shape: Shape, minute: int) -> float:
        """Return the chance of a trade in *minute* of a day of *shape*."""
        bucket = shape.bucket[minute]
        rate = self.rate
        weight = _PROFILE_PRIOR / rate
        prior = min(rate * shape.usual[bucket], (1.0 + rate) / 2.0)
        traded = prior * weight + self._profile_traded[bucket]
        return max(_LEAST, traded / (weight + self._profile_minutes[bucket]))

    def learn(self, bucket: int, *, traded: bool) -> None:
        """Learn that a minute in *bucket* had a trade, or none."""
        seen = 1.0 if traded else 0.0
        self._traded = self._traded * _DECAY + seen
        self._minutes = self._minutes * _DECAY + 1.0
        self._profile_traded[bucket] += seen
        self._profile_minutes[bucket] += 1.0

    def fits(self, buckets: int) -> bool:
        """Return whether it was learned with as many *buckets* as there are."""
        return len(self._profile_traded) == len(self._profile_minutes) == buckets


def rate_after(rate: float, silent: float) -> float:
    """Return the *rate* to assume after *silent* minutes without a trade.

    Days differ: the longer nothing was traded, the likelier it is a slow day, or a halt.
    """
    return rate / (1.0 + rate * silent / _SLOW_DAYS)


def urgency(rate: float, silent: float, horizon: float) -> float:
    """Return how much faster than usual the error grows after *silent* minutes without a trade.

    The market moves on while a price is not traded, so the later the next trade comes, the further
    it moves the price; right after a trade little has gathered. The ratio is a mean over *horizon*
    minutes; the more often a symbol is traded, the sooner its start is forgotten. Its mean over all
    silences is 1.
    """
    untraded = 1.0 - rate
    weight: float = (1.0 - untraded**horizon) / (rate * horizon)
    gathered = rate_after(rate, silent) * silent
    # The mean of what has gathered, over all silences.
    usual = untraded * (0.55 + 0.1 * rate)
    return 1.0 + _BELIEF * (gathered - usual) * weight
