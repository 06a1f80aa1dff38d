"""Peers: what symbols that were just fetched say about those that were not.

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

MOST: Final = 0.98
_LEAST: Final = 0.05


class Factor:
    """What is known about the common move of each of the last minutes."""

    __slots__ = ("_evidence", "_minute", "_news", "_pull")

    def __init__(self) -> None:
        self._minute = [-1] * MINUTES
        self._pull = [0.0] * MINUTES
        self._evidence = [0.0] * MINUTES
        self._news: list[tuple[str, float]] = []

    def tell(self, name: str, move: float) -> None:
        """Symbol *name* was fetched and has moved by *move* bp since the time before."""
        self._news = [(name, move), *(news for news in self._news if news[0] != name)][:2]

    def latest(self, name: str) -> tuple[str, float] | None:
        """The peer of symbol *name* that was fetched last, and by how many bp it had moved."""
        for news in self._news:
            if news[0] != name:
                return news
        return None

    def add(self, minute: int, move: float, loading: float) -> None:
        """A symbol with this *loading* has moved by *move* sigma in *minute*."""
        loading = min(max(loading, _LEAST), MOST)
        noise = 1.0 - loading * loading
        at = minute % MINUTES
        if self._minute[at] != minute:
            self._minute[at] = minute
            self._pull[at] = self._evidence[at] = 0.0
        self._pull[at] += loading * move / noise
        self._evidence[at] += loading * loading / noise

    def mean(self, minute: int) -> float:
        """The expected common move in *minute*, in sigma of the factor."""
        at = minute % MINUTES
        if self._minute[at] != minute:
            return 0.0
        return self._pull[at] / (1.0 + self._evidence[at])

    def certainty(self, minute: int) -> float:
        """Which share of the factor's variance in *minute* is known: 0 to 1."""
        at = minute % MINUTES
        if self._minute[at] != minute:
            return 0.0
        return self._evidence[at] / (1.0 + self._evidence[at])
