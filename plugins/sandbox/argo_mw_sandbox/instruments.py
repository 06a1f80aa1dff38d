"""Instruments: a symbol with its days, and the minutes of each day."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from functools import lru_cache
from typing import Protocol

import numpy as np

from argo_mw_sandbox.bars import MINUTE, Bars, Seconds, aggregate
from argo_mw_sandbox.bridge import DayBar, bridge
from argo_mw_sandbox.sessions import Market

REMEMBERED_DAYS = 512
"""Drawn days kept, over all symbols: at most 70 kB each."""


class Instrument(Protocol):
    """A symbol's whole history; the exchange decides how much of it is past.

    Attributes:
        symbol: Its canonical name.
        market: Its hours.
        source: ``real``, ``file`` or ``synthetic``.
        minutes_source: ``bridge`` where minutes are drawn, ``file`` where they were recorded.
        daily: One bar a day, at the start of the local day.
        complete: When each day's bar is complete, in seconds since the epoch.
    """

    symbol: str
    market: Market
    source: str
    minutes_source: str

    @property
    def daily(self) -> Bars:
        """One bar a day."""

    @property
    def complete(self) -> Seconds:
        """When each day's bar is complete."""

    def minutes(self, row: int) -> Bars:
        """Return the minute bars of the day in row *row* of ``daily``."""


class DayMemory:
    """The minutes drawn last, shared by all symbols and bounded."""

    def __init__(self) -> None:
        self._days: OrderedDict[tuple[str, int], Bars] = OrderedDict()

    def get(self, symbol: str, row: int) -> Bars | None:
        """Return the minutes of a day, if they are still known."""
        bars = self._days.get((symbol, row))
        if bars is not None:
            self._days.move_to_end((symbol, row))
        return bars

    def put(self, symbol: str, row: int, bars: Bars) -> None:
        """Remember a day and forget the least recently used one."""
        self._days[symbol, row] = bars
        if len(self._days) > REMEMBERED_DAYS:
            self._days.popitem(last=False)


@lru_cache(maxsize=16)
def _hours(market: Market, days: tuple[int, ...]) -> tuple[list[int], Seconds, Seconds]:
    """When trading starts and ends on each of *days*, and their midnights.

    Every sandbox has the same real days; reckoning their hours takes most of its start.
    """
    sessions = [market.session(day) for day in days]
    ends = np.array([end for _, end in sessions], np.int64)
    midnights = np.array([market.midnight(day) for day in days], np.int64)
    for shared in (ends, midnights):
        shared.flags.writeable = False
    return [start for start, _ in sessions], ends, midnights


class BridgedInstrument:
    """Daily bars with drawn minutes (see :mod:`argo_mw_sandbox.bridge`).

    Args:
        symbol: Its canonical name.
        market: Its hours.
        source: ``real``, ``file`` or ``synthetic``: where the days come from.
        days: Local days since 1970, in order.
        daily: The bars of these days; their times are set from *days*.
        memory: Where drawn minutes are remembered.
        seed: What the drawn minutes depend on, besides symbol and day.
        digits: Decimals of drawn prices.
    """

    minutes_source = "bridge"

    def __init__(
        self,
        symbol: str,
        market: Market,
        source: str,
        *,
        days: Seconds,
        daily: Bars,
        memory: DayMemory,
        seed: int,
        digits: int = 2,
    ) -> None:
        self.symbol = symbol
        self.market = market
        self.source = source
        self._days = tuple(days.tolist())
        self._opens, self._complete, midnights = _hours(market, self._days)
        self._daily = Bars(midnights, daily.open, daily.high, daily.low, daily.close, daily.volume)
        self._memory = memory
        self._seed = (seed, zlib.crc32(symbol.encode()))
        self._digits = digits

    @property
    def daily(self) -> Bars:
        """One bar a day."""
        return self._daily

    @property
    def complete(self) -> Seconds:
        """When each day's bar is complete, in seconds since the epoch."""
        return self._complete

    def minutes(self, row: int) -> Bars:
        """Draw the day's minutes, or take them from memory."""
        known = self._memory.get(self.symbol, row)
        if known is None:
            known = self._draw(row)
            self._memory.put(self.symbol, row, known)
        return known

    def _draw(self, row: int) -> Bars:
        daily = self._daily
        day = DayBar(
            float(daily.open[row]),
            float(daily.high[row]),
            float(daily.low[row]),
            float(daily.close[row]),
            float(daily.volume[row]),
        )
        start = self._opens[row]
        length = (int(self._complete[row]) - start) // MINUTE
        return bridge(day, start, length, (*self._seed, self._days[row]), self._digits)


class MinuteInstrument:
    """Recorded minute bars; its days are their sums, pre and post market included."""

    minutes_source = "file"

    def __init__(self, symbol: str, market: Market, minutes: Bars) -> None:
        self.symbol = symbol
        self.market = market
        self.source = "file"
        days = np.array([market.day_of(instant) for instant in minutes.time.tolist()], np.int64)
        midnights = np.array([market.midnight(day) for day in days.tolist()], np.int64)
        self._daily = aggregate(minutes, midnights)
        self._edges = np.searchsorted(midnights, self._daily.time).tolist()
        self._edges.append(len(minutes))
        self._minutes = minutes
        last = minutes.time[np.array(self._edges[1:], np.int64) - 1] + MINUTE
        closes = [market.session(day)[1] for day in np.unique(days).tolist()]
        self._complete = np.maximum(last, np.array(closes, np.int64))

    @property
    def daily(self) -> Bars:
        """One bar a day."""
        return self._daily

    @property
    def complete(self) -> Seconds:
        """When each day's bar is complete, in seconds since the epoch."""
        return self._complete

    def minutes(self, row: int) -> Bars:
        """Return the recorded minutes of the day."""
        return self._minutes[self._edges[row] : self._edges[row + 1]]


def partial_day(instrument: Instrument, row: int, now: float) -> Bars:
    """Return the bar of a day that still trades, from its complete minutes; empty before those."""
    minutes = instrument.minutes(row)
    seen = minutes[: int(np.searchsorted(minutes.time, now - MINUTE, side="right"))]
    midnight = int(instrument.daily.time[row])
    return aggregate(seen, np.full(len(seen), midnight, np.int64))


def completed(instrument: Instrument, now: float) -> int:
    """Return how many of the instrument's days are complete at *now*."""
    return int(np.searchsorted(instrument.complete, now, side="right"))
