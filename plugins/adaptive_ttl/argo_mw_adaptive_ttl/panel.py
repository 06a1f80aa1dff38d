"""The panel: how old the last known price of each symbol is, and how far it may be off by now."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import sqrt

from argo_mw.plugin import Clock, Column, Line, Panel, View
from argo_mw_adaptive_ttl.symbol import BASIS_POINTS, Symbol

_LINES = 1_000


def panel(clock: Clock, symbols: Callable[[], Iterable[Symbol]]) -> Panel:
    """Return the panel of *symbols*, the longest unseen first."""

    def read() -> View:
        now = clock.time()
        newest = list(symbols())[: -_LINES - 1 : -1]
        return View([_line(symbol, now) for symbol in newest])

    columns = (
        "symbol",
        "last close",
        Column("age", "s"),
        Column("usual error by now", "share"),
        Column("moves in a day", "share"),
        "market",
    )
    return Panel("adaptive_ttl", "Age and price error", columns, read)


def _line(symbol: Symbol, now: float) -> Line:
    cells = (
        symbol.name,
        symbol.price or None,
        max(0.0, now - symbol.seen_at),
        _error(symbol, now),
        symbol.sigma_per_day,
        symbol.calendar.name,
    )
    return Line(cells)


def _error(symbol: Symbol, now: float) -> float | None:
    """Return how far a price moves, as a fraction, in the minutes of trading since it was seen.

    ``None`` across a night, which moves it by more than its minutes say.
    """
    day = symbol.calendar.day(now)
    if day.start != symbol.day.start or symbol.volatility.level <= 0.0:
        return None
    minutes = max(0, day.over(now) - symbol.over)
    return sqrt(symbol.volatility.level * minutes) / BASIS_POINTS
