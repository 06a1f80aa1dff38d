"""Results of reads: pages of recorded signals, and how signals went."""

from __future__ import annotations

from typing import cast

from attrs import frozen

from argo_mw.plugin import Cell
from argo_mw_signals.recorded import RecordedSignal


@frozen
class SignalPage:
    """A page of the history.

    Attributes:
        signals: Newest first.
        next: Give it as ``after`` for the page that follows, or ``None`` after the last.
    """

    signals: tuple[RecordedSignal, ...]
    next: str | None


@frozen
class Performance:
    """How the closed signals of a voice went.

    Attributes:
        voice: Its name; "" is the consensus of all.
        closed: How many signals that it voted in are closed.
        wins: How many of them earned something, had one followed the voice.
        profit: The sum of what they earned, as fractions of the price.
    """

    voice: str
    closed: int
    wins: int
    profit: float

    @property
    def win_rate(self) -> float:
        """The share of wins; 0 when nothing is closed."""
        return self.wins / self.closed if self.closed else 0.0

    @property
    def mean_profit(self) -> float:
        """What one signal earned on average; 0 when nothing is closed."""
        return self.profit / self.closed if self.closed else 0.0


def performance(cells: tuple[Cell, ...]) -> Performance:
    """Return what the query of the performance found in one row."""
    voice, closed, wins, profit = cast("tuple[str, int, int, float]", cells)
    return Performance(voice, closed, wins, float(profit))
