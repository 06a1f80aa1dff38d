"""Fixed spacing: what a price that is fetched every so many minutes would have been off by.

A price that is n minutes old is off by A + Bn in the mean square: B is how fast the market moves
on, A how far trades bounce to and fro, which no fetch removes. Fetches are worth B alone, so a pool
shares them by it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

MAX_WINDOW: Final = 120
"""Minutes of spacing up to which errors are computed, so that memory is fixed."""

_DECAY: Final = 0.5 ** (1.0 / 2000)
_PRIOR_MINUTES: Final = 100.0
_LEAST: Final = 0.02


@define
class FixedSpacing:
    """The squared errors of fixed spacing, in the mean over all moments at which it may begin.

    Attributes:
        minutes: The spacing, in minutes of trading.
    """

    minutes: float = 10.0
    _squares: float = 0.0
    _errors: float = 0.0
    _count: float = 0.0
    _quiet: int = field(default=0, init=False, eq=False)
    _position: float = field(default=0.0, init=False, eq=False)
    _sum: float = field(default=0.0, init=False, eq=False)
    _sum_of_squares: float = field(default=0.0, init=False, eq=False)
    _window: deque[float] = field(factory=deque, init=False, eq=False)

    @property
    def size(self) -> int:
        """Return the spacing in whole minutes, as far as errors are computed."""
        return min(max(2, round(self.minutes)), MAX_WINDOW)

    @property
    def drift(self) -> float:
        """Return the share of a minute's variance that stays in the price: B over A + B."""
        half = self.size / 2.0
        if self._squares <= 0.0 or half <= 1.0:
            return 1.0
        relative = self._errors / self._squares * self.size / (self.size - 1)
        seen = min(max((relative - 1.0) / (half - 1.0), _LEAST), 1.5)
        return (seen * self._count + _PRIOR_MINUTES) / (self._count + _PRIOR_MINUTES)

    def begin(self) -> None:
        """Begin a session: its first answer is fetched, and serves until the second is due."""
        self._window.clear()
        self._position = self._sum = self._sum_of_squares = 0.0
        self._quiet = 0

    def add(self, move: float, *, gap: bool = False) -> float:
        """Return the mean squared error after a minute that has moved the price by *move* bp.

        A *gap* is not a minute of trading and says nothing about bounces.
        """
        position = self._position = self._position + move
        window, size = self._window, self.size
        window.append(position)
        self._sum += position
        self._sum_of_squares += position * position
        while len(window) > size:
            oldest = window.popleft()
            self._sum -= oldest
            self._sum_of_squares -= oldest * oldest
        if len(window) < size:
            error = (position - window[0]) ** 2
        else:
            others = (self._sum_of_squares - 2.0 * position * self._sum) / size
            error = max(0.0, position * position + others)
        self._quiet = 0 if gap else self._quiet + 1
        if self._quiet > size:
            self._squares = self._squares * _DECAY + move * move
            self._errors = self._errors * _DECAY + error
            self._count = self._count * _DECAY + 1.0
        return error
