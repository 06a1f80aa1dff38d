"""The fetch rate: how large an error may become, so that fetches keep to their budget.

Serving a price that is V bp² off costs V a minute, a fetch costs a fixed price. When variance
arrives at sigma² a minute, the sum of both is least if one fetches as soon as V reaches c times
sigma. The scale c is one number for a budget, whatever the hour: it says what a fetch is worth.
"""

from __future__ import annotations

from math import exp, sqrt
from typing import Final

from attrs import define, field

from argo_mw_adaptive_ttl.trial import Trial

_SIGMA_DECAY: Final = 0.5 ** (1.0 / 3000)
_SLACK: Final = 2.5
_TOLERANCE: Final = 0.05
_FIRMNESS: Final = 0.6
_DRIFT: Final = 0.0003
_MAX_CORRECTION: Final = 1.4
"""The logarithm of the largest correction: past spending never makes fetches four times as rare."""


@define
class FetchRate:
    """The account of one budget: that of a symbol, or of all symbols together.

    Attributes:
        minutes: Minutes of trading that were answered for.
        fetches: Fetches made for them.
        trial: Who spends them: the model, or fixed spacing.
    """

    minutes: float = 0.0
    fetches: int = 0
    trial: Trial = field(factory=Trial)
    _due: float = 0.0
    _sigmas: float = 0.0
    _weight: float = 0.0
    _drift: float = 0.0

    def record(
        self,
        minutes: float,
        rate: float,
        known: int,
        sigmas: float,
        *,
        share: float | None = None,
        members: int = 1,
    ) -> None:
        """Record a fetch after *minutes* of trading, when *rate* fetches are due per minute.

        They are due in proportion to what is usually revealed: *share* is the minutes, each
        counted by its usual sigma. The fetch has revealed the sigmas of *known* minutes, which add
        up to *sigmas* bp without the effect of the time of day. The budget is that of so many
        *members*.
        """
        due = rate * (minutes if share is None else share)
        self.minutes += minutes
        self.fetches += 1
        self._due += due
        self._drift += _DRIFT * (1.0 - due)
        decay = _SIGMA_DECAY ** (known / members)
        self._sigmas = self._sigmas * decay + sigmas
        self._weight = self._weight * decay + known

    @property
    def sigma(self) -> float:
        """Return the recent mean sigma of a minute, in bp; 0 while it is unknown."""
        return self._sigmas / self._weight if self._weight > 0.0 else 0.0

    @property
    def spent(self) -> float:
        """Return the fetches that were made over those that were due; 1 while none was."""
        return self.fetches / self._due if self._due > 0.0 else 1.0

    def correction(self, rate: float, pending: float) -> float:
        """Return by which factor lives must be longer to make *rate* fetches a minute.

        A small surplus or deficit is left alone, so that storms may borrow from calm spells; it
        is corrected the harder the nearer it comes to 5 % of what was due. *pending* minutes of
        trading have passed since the last fetch.
        """
        due = self._due + rate * pending
        surplus = (self.fetches - due) / (_SLACK + _TOLERANCE * due)
        correction = _FIRMNESS * surplus * surplus * surplus + self._drift
        if not -_MAX_CORRECTION < correction < _MAX_CORRECTION:
            correction = _MAX_CORRECTION if correction > 0.0 else -_MAX_CORRECTION
        return exp(correction)

    def for_rate(self, rate: float, level: float, pending: float) -> float:
        """Return the scale c that makes *rate* fetches a minute.

        *pending* minutes of trading have passed since the last fetch; *level* is the variance
        of a minute in bp², to begin with while nothing is known.
        """
        return (self.sigma or sqrt(level)) / rate * self.correction(rate, pending)

    def for_error(self, error: float, level: float) -> float:
        """Return the scale c that makes a root mean squared error of *error* bp."""
        return 2.0 * error * error / (self.sigma or sqrt(level))
