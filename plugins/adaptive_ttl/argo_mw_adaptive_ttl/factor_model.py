"""The common factor: what symbols that were just fetched reveal about those that were not.

Symbols of one calendar share a factor f: a symbol's standardised move in a minute is
z = b f + e, with var(f) = 1 and var(e) = 1 - b². Every symbol that is fetched reveals its own
minutes, and for each minute the posterior of f is kept as two sums: of bz/(1-b²) and of
b²/(1-b²). The mean of f is then A/(1+B), its variance 1/(1+B). Memory is a ring of minutes, the
same however many symbols there are.
"""

from __future__ import annotations

from typing import Final

MINUTES: Final = 256
"""How many minutes are remembered."""

MAX_LOADING: Final = 0.98
_MIN_LOADING: Final = 0.05


class FactorModel:
    """What is known about the common move of each of the last minutes."""

    __slots__ = ("_latest", "_minute", "_precision", "_weighted")

    def __init__(self) -> None:
        self._minute = [-1] * MINUTES
        self._weighted = [0.0] * MINUTES
        self._precision = [0.0] * MINUTES
        self._latest: list[tuple[str, float]] = []

    def record_move(self, name: str, move: float) -> None:
        """Record that symbol *name* has moved by *move* bp between its last two fetches."""
        self._latest = [(name, move), *(known for known in self._latest if known[0] != name)][:2]

    def latest(self, name: str) -> tuple[str, float] | None:
        """Return the peer of symbol *name* that was fetched last, and its move in bp."""
        for known in self._latest:
            if known[0] != name:
                return known
        return None

    def add(self, minute: int, move: float, loading: float) -> None:
        """Learn that a symbol with this *loading* has moved by *move* sigma in *minute*."""
        loading = min(max(loading, _MIN_LOADING), MAX_LOADING)
        noise = 1.0 - loading * loading
        at = minute % MINUTES
        if self._minute[at] != minute:
            self._minute[at] = minute
            self._weighted[at] = self._precision[at] = 0.0
        self._weighted[at] += loading * move / noise
        self._precision[at] += loading * loading / noise

    def mean(self, minute: int) -> float:
        """Return the expected common move in *minute*, in sigma of the factor."""
        at = minute % MINUTES
        if self._minute[at] != minute:
            return 0.0
        return self._weighted[at] / (1.0 + self._precision[at])

    def certainty(self, minute: int) -> float:
        """Return which share of the factor's variance in *minute* is known: 0 to 1."""
        at = minute % MINUTES
        if self._minute[at] != minute:
            return 0.0
        return self._precision[at] / (1.0 + self._precision[at])
