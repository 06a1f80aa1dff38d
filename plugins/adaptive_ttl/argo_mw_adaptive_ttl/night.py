"""The night: how far a price moves while its market is closed."""

from __future__ import annotations

from typing import Final

from attrs import define

USUAL: Final = 1.0 / 3.0
"""The variance of a night over that of the trading of a day, before any was seen."""

_DECAY: Final = 0.5 ** (1.0 / 40.0)
_PRIOR_NIGHTS: Final = 5.0
_CAP: Final = 25.0


@define
class Night:
    """What is known about one symbol's nights, as a share of its days; of fixed size."""

    _sum: float = 0.0
    _count: float = 0.0

    @property
    def share(self) -> float:
        """Return the variance of a night over that of the trading of a day."""
        return (self._sum + USUAL * _PRIOR_NIGHTS) / (self._count + _PRIOR_NIGHTS)

    def learn(self, move: float, day: float) -> None:
        """Learn that a night has moved the price by *move* bp.

        *day* is the variance of a day of trading, in bp².
        """
        seen = min(move * move / day, _CAP * self.share)
        self._sum = self._sum * _DECAY + seen
        self._count = self._count * _DECAY + 1.0
