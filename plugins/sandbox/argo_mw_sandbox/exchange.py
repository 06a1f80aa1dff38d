"""The exchange behind all vendors: every symbol's bars up to the replayed now, never beyond."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta

import numpy as np
from attrs import frozen

from argo_mw_sandbox.bars import (
    DAY,
    MINUTE,
    Bars,
    Seconds,
    Timeframe,
    aggregate,
    join,
    resample,
    run_lengths,
)
from argo_mw_sandbox.instruments import Instrument, completed, partial_day
from argo_mw_sandbox.sessions import EPOCH, Market

_MARKS = re.compile("[-/.]")
_MONTHS = {"month": 1, "quarter": 3, "year": 12}

MONDAY = 4
"""1970-01-01 was a Thursday: the first Monday is day 4."""


@frozen
class Span:
    """A range of bars.

    Attributes:
        start: Earliest start of a bar, in seconds since the epoch.
        end: Latest start of a bar, in seconds since the epoch.
        limit: How many bars at most.
        newest_first: Whether the limit counts from the end; the bars stay in order of time.
        of_base: Whether the limit counts the bars that others are made of: seconds, minutes or
            days. No bar is cut in two, and there is at least one.
    """

    start: float
    end: float
    limit: int
    newest_first: bool = False
    of_base: bool = False


@frozen
class Page:
    """Some bars, and what the limit left of them.

    Attributes:
        bars: The bars.
        more: Whether the limit cut more of them off.
        base: How many seconds, minutes or days they were made of.
    """

    bars: Bars
    more: bool
    base: int


_PREFERRED = re.compile(r"([A-Z]{1,5})(?:p|-P-?|\.PR)([A-Z]?)")


def plain(symbol: str) -> str:
    """Return *symbol* without the vendors' marks.

    ``X:BTCUSD`` and ``BTC/USD`` become equal, and so do ``BACpK``, ``BAC-P-K`` and ``BAC.PRK``.
    """
    preferred = _PREFERRED.fullmatch(symbol)
    if preferred is not None:
        return f"{preferred[1]}PR{preferred[2]}"
    return _MARKS.sub("", symbol.upper().removeprefix("X:"))


class Exchange:
    """Symbols and their bars.

    Args:
        instruments: What can be quoted; a later one replaces an earlier one of the same name.
    """

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self._instruments = {plain(each.symbol): each for each in instruments}

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._instruments.values())

    def find(self, symbol: str, market: Market | None = None) -> Instrument | None:
        """Return the instrument of that name in any vendor's spelling, or ``None``.

        Args:
            symbol: Its name.
            market: Where it must trade; ``None`` for anywhere.
        """
        found = self._instruments.get(plain(symbol))
        if found is None or (market is not None and found.market is not market):
            return None
        return found


def read_bars(instrument: Instrument, timeframe: Timeframe, span: Span, now: float) -> Page:
    """Return the bars of *span* that have begun and are not in the future of *now*.

    Only complete minutes exist; a coarser bar that is still growing is the sum of those.
    """
    read = _intraday if timeframe.intraday else _daily
    return read(instrument, timeframe, span, now)


def _daily(instrument: Instrument, timeframe: Timeframe, span: Span, now: float) -> Page:
    single = timeframe == Timeframe(1, "day")
    slack = 0 if single else _slack(timeframe)
    time = instrument.daily.time
    low = int(np.searchsorted(time, span.start - slack))
    high = int(np.searchsorted(time, span.end + slack, side="right"))
    done = completed(instrument, now)
    bars = instrument.daily[low : min(high, done)]
    if low <= done < high and time[done] <= now:
        bars = join([bars, partial_day(instrument, done, now)])
    made_of = np.ones(len(bars), np.int64)
    if not single:
        bars, made_of = _group_days(bars, timeframe, instrument)
        first = int(np.searchsorted(bars.time, span.start))
        wanted = slice(first, int(np.searchsorted(bars.time, span.end, side="right")))
        bars, made_of = bars[wanted], made_of[wanted]
    return _cut(bars, made_of, span)


def _intraday(instrument: Instrument, timeframe: Timeframe, span: Span, now: float) -> Page:
    time = instrument.daily.time
    low = max(int(np.searchsorted(time, span.start, side="right")) - 1, 0)
    high = int(np.searchsorted(time, min(span.end, now), side="right"))
    rows = range(high - 1, low - 1, -1) if span.newest_first else range(low, high)
    parts: list[Bars] = []
    made_of: list[Seconds] = []
    count = found = 0
    for row in rows:
        minutes = instrument.minutes(row)
        seen = int(np.searchsorted(minutes.time, now - MINUTE, side="right"))
        day, sizes = resample(minutes[:seen], timeframe)
        first = int(np.searchsorted(day.time, span.start))
        last = int(np.searchsorted(day.time, span.end, side="right"))
        parts.append(day[first:last])
        made_of.append(sizes[first:last])
        count += last - first
        found += int(sizes[first:last].sum()) if span.of_base else last - first
        if found > span.limit and count > 1:
            break
    if span.newest_first:
        parts.reverse()
        made_of.reverse()
    return _cut(join(parts), np.concatenate([np.empty(0, np.int64), *made_of]), span)


def _cut(bars: Bars, made_of: Seconds, span: Span) -> Page:
    keep = min(span.limit, len(bars))
    if span.of_base:
        sums = np.cumsum(made_of[::-1] if span.newest_first else made_of)
        keep = min(max(1, int(np.searchsorted(sums, span.limit, side="right"))), len(bars))
    rows = slice(len(bars) - keep, None) if span.newest_first else slice(keep)
    return Page(bars[rows], keep < len(bars), int(made_of[rows].sum()))


def _group_days(bars: Bars, timeframe: Timeframe, instrument: Instrument) -> tuple[Bars, Seconds]:
    market = instrument.market
    days = np.array([market.day_of(instant) for instant in bars.time.tolist()], np.int64)
    starts = [market.midnight(day) for day in _bucket_days(days, timeframe)]
    bucket = np.array(starts, np.int64)
    return aggregate(bars, bucket), run_lengths(bucket)


def _slack(timeframe: Timeframe) -> int:
    months = timeframe.count * _MONTHS.get(timeframe.unit, 1)
    return 400 * DAY * (1 + months // 12)


def _bucket_days(days: Seconds, timeframe: Timeframe) -> list[int]:
    if timeframe.unit == "day":
        return [day - day % timeframe.count for day in days.tolist()]
    if timeframe.unit == "week":
        size = 7 * timeframe.count
        return [day - (day - MONDAY) % size for day in days.tolist()]
    months = timeframe.count * _MONTHS[timeframe.unit]
    return [_month_start(day, months) for day in days.tolist()]


def _month_start(day: int, count: int) -> int:
    when = EPOCH + timedelta(days=day)
    months = when.year * 12 + when.month - 1
    months -= months % count
    return (date(months // 12, months % 12 + 1, 1) - EPOCH).days
