"""Hours: when a bar is over, and by which time a frame is dated.

Weekends are known here, holidays are not: a frame that is asked for on a holiday is dated by the
last close, although it stays right for longer.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from attrs import frozen

from argo_mw_market.symbols import Symbol
from argo_mw_market.timeframes import Timeframe

NEW_YORK = ZoneInfo("America/New_York")
DAY = 86_400.0
_SATURDAY = 5


@frozen
class _Session:
    opens: time
    closes: time


_REGULAR = _Session(time(9, 30), time(16))
_EXTENDED = _Session(time(4), time(20))


def end_of(bar: float, symbol: Symbol, timeframe: Timeframe) -> float:
    """Return when the bar that starts at *bar* is over; both in seconds since the epoch.

    A day of a stock is dated at midnight in New York and over at its close. Of other symbols no
    hours are known: they count as if they traded around the clock.
    """
    if not symbol.in_new_york or not timeframe.daily:
        return bar + timeframe.seconds
    day = datetime.fromtimestamp(bar, UTC).astimezone(NEW_YORK).date()
    return datetime.combine(day, _REGULAR.closes, NEW_YORK).timestamp()


def moment_of(bar: float, symbol: Symbol, timeframe: Timeframe, now: float) -> float:
    """Return the time by which a frame with its last bar at *bar* is dated.

    That is the end of the bar, or *now* while it is still growing. If the market closed with that
    bar and has not opened since, nothing can have changed: the frame is dated *now*.
    """
    end = end_of(bar, symbol, timeframe)
    if end >= now:
        return now
    if not symbol.in_new_york:
        return end
    session = _REGULAR if timeframe.daily else _EXTENDED
    return now if now < _next_open(end, session) else end


@frozen
class AgeLimits:
    """The age of its last bar up to which a frame is an answer.

    Attributes:
        stocks: Seconds since its end, to span weekends and holidays.
        pairs: Seconds since its end for pairs, which trade around the clock; at least three bars.
    """

    stocks: float
    pairs: float

    def stale(self, bar: float, symbol: Symbol, timeframe: Timeframe, now: float) -> bool:
        """Return whether the bar that starts at *bar* is too old to be the last one at *now*."""
        pairs = max(self.pairs, 3.0 * timeframe.seconds)
        return now - end_of(bar, symbol, timeframe) > (pairs if symbol.crypto else self.stocks)


def _next_open(end: float, session: _Session) -> float:
    """Return the opening after *end*; *end* itself if the market was open then."""
    local = datetime.fromtimestamp(end, UTC).astimezone(NEW_YORK)
    if session.opens <= local.time() < session.closes and local.weekday() < _SATURDAY:
        return end
    day = local.date() + timedelta(days=local.time() >= session.opens)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    return datetime.combine(day, session.opens, NEW_YORK).timestamp()
