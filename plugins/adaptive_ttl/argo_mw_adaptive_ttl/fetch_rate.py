"""The fetch rate: how large an error may become, so that fetches keep to their budget.

Serving a price that is V bp² off costs V a minute, a fetch costs a fixed price. When variance
arrives at sigma² a minute, the sum of both is least if one fetches as soon as V reaches c times
sigma. The scale c is one number for a budget, whatever the hour: it says what a fetch is worth.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Final

from attrs import define

_SIGMA_DECAY: Final = 0.5 ** (1.0 / 3000)
_SLACK: Final = 2.5
_TOLERANCE: Final = 0.05
_FIRMNESS: Final = 0.6
_DRIFT: Final = 0.0003
_MAX_CORRECTION: Final = 3.0


@define
class FetchRate:
    """The account of one budget: that of a symbol, or of all symbols together.

    Attributes:
        minutes: Minutes of trading that were answered for.
        fetches: Fetches made for them.
    """

    minutes: float = 0.0
    fetches: int = 0
    _due: float = 0.0
    _sigmas: float = 0.0
    _weight: float = 0.0
    _drift: float = 0.0

    def record(self, minutes: int, rate: float, known: int, sigmas: float) -> None:
        """Record a fetch after *minutes* of trading, when *rate* fetches are due per minute.

        It has revealed the sigmas of *known* minutes, which add up to *sigmas* bp without the
        effect of the time of day.
        """
        self.minutes += minutes
        self.fetches += 1
        self._due += rate * minutes
        self._drift += _DRIFT * (1.0 - rate * minutes)
        decay = _SIGMA_DECAY**known
        self._sigmas = self._sigmas * decay + sigmas
        self._weight = self._weight * decay + known

    @property
    def sigma(self) -> float:
        """Return the recent mean sigma of a minute, in bp; 0 while it is unknown."""
        return self._sigmas / self._weight if self._weight > 0.0 else 0.0

    def for_rate(self, rate: float, level: float, pending: float) -> float:
        """Return the scale c that makes *rate* fetches a minute.

        A small surplus or deficit is left alone, so that storms may borrow from calm spells; it
        is corrected the harder the nearer it comes to 5 % of what was due.

        *pending* minutes of trading have passed since the last fetch; *level* is the variance
        of a minute in bp², to begin with while nothing is known.
        """
        due = self._due + rate * pending
        surplus = (self.fetches - due) / (_SLACK + _TOLERANCE * due)
        correction = _FIRMNESS * surplus * surplus * surplus + self._drift
        if not -_MAX_CORRECTION < correction < _MAX_CORRECTION:
            correction = _MAX_CORRECTION if correction > 0.0 else -_MAX_CORRECTION
        return (self.sigma or sqrt(level)) / rate * exp(correction)

    def for_error(self, error: float, level: float) -> float:
        """Return the scale c that makes a root mean squared error of *error* bp."""
        return 2.0 * error * error / (self.sigma or sqrt(level))
