"""Calendars: when a market is open, from edges that are computed once.

exchange_calendars knows holidays, early closes and breaks. One of its lookups costs microseconds
and silently accepts a naive time, so its schedule is turned into sorted lists of epoch seconds, in
which a lookup is a bisection.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from enum import Enum
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Final

import pytz
from attrs import field, frozen

from argo_mw.plugin import BadParameter, ConfigError, suggest
from argo_mw_adaptive_ttl.calendar_rules import ALWAYS_OPEN, FOREX, UNKNOWN, calendar_of
from argo_mw_adaptive_ttl.daytime import MINUTE, Shape, shape_of

if TYPE_CHECKING:
    import pandas as pd
    from exchange_calendars import ExchangeCalendar

DAY: Final = 86_400
_BACK: Final = timedelta(days=40)
_AHEAD: Final = timedelta(days=400)
_ONE_DAY: Final = timedelta(days=1)
_SATURDAY: Final = 5
_MAX_SYMBOLS: Final = 20_000
_MAX_LENGTH: Final = 200
"""Characters of a symbol: a subject may be a whole document."""
_ROUND_THE_CLOCK: Final = 20 * 3600
"""Seconds from which on a session has no opening rush."""


class Phase(Enum):
    """What a market does at a moment."""

    OPEN = "open"
    PRE = "pre-market"
    POST = "post-market"
    BREAK = "lunch break"
    CLOSED = "closed"


Edge = tuple[int, int, Phase, str]
"""Start and end of a window in epoch seconds, its phase, and its kind in the daily profile."""


@frozen
class Window:
    """A stretch of time without a gap in which trading has one character.

    Attributes:
        start: Epoch seconds at which it begins.
        end: Epoch seconds at which it ends.
        phase: What the market does meanwhile.
        first: How many trading minutes of its day lie before it.
        minutes: Its length in minutes.
    """

    start: int
    end: int
    phase: Phase
    first: int
    minutes: int = field(init=False)

    @minutes.default
    def _count(self) -> int:
        return (self.end - self.start) // MINUTE


@frozen(eq=False)
class Day:
    """One day of trading, counted in minutes in which there is any.

    Attributes:
        number: Grows by one from each day to the next.
        windows: Its windows, in order.
        shape: How its minutes fall into the buckets of the time-of-day profile.
        start: Epoch seconds at which its first window begins.
        end: Epoch seconds at which its last window ends.
        minutes: How many minutes of trading it has.
        stops: When trading ends for a while: at the day's end, and at a break. Of each, how many
            of its minutes of trading are over then, and the epoch seconds.
    """

    number: int
    windows: tuple[Window, ...]
    shape: Shape
    start: int = field(init=False)
    end: int = field(init=False)
    minutes: int = field(init=False)
    stops: tuple[tuple[int, int], ...] = field(init=False)

    def __attrs_post_init__(self) -> None:
        last = self.windows[-1]
        stops = [
            (before.first + before.minutes, before.end)
            for before, after in pairwise(self.windows)
            if after.start > before.end
        ]
        stops.append((last.first + last.minutes, last.end))
        object.__setattr__(self, "stops", tuple(stops))
        object.__setattr__(self, "start", self.windows[0].start)
        object.__setattr__(self, "end", last.end)
        object.__setattr__(self, "minutes", last.first + last.minutes)

    def place(self, at: float) -> tuple[Phase, int]:
        """Return what the market does at epoch second *at*, and how many trading minutes are over.

        *at* is in this day, or in the night after it.
        """
        for window in self.windows:
            if at < window.end:
                start, first = window.start, window.first
                if at >= start:
                    return window.phase, first + int(at - start) // MINUTE
                return (Phase.BREAK if first else Phase.CLOSED), first
        return Phase.CLOSED, self.minutes

    def over(self, at: float) -> int:
        """Return how many of its trading minutes are over at epoch second *at*."""
        return self.place(at)[1]

    def phase(self, at: float) -> Phase:
        """Return what the market does at epoch second *at* of this day or the night after it."""
        return self.place(at)[0]

    def next_stop(self, minutes: int) -> tuple[int, int]:
        """Return the one of its stops that comes next after so many *minutes* of trading."""
        for stop in self.stops:
            if minutes < stop[0]:
                return stop
        return self.stops[-1]

    def last_stop(self, at: float) -> int:
        """Return when trading last stopped before epoch second *at*, at which there is none."""
        return max((end for _, end in self.stops if end <= at), default=self.start)

    def when(self, minutes: int) -> int:
        """Return the epoch second at which *minutes* of its trading minutes are over."""
        for window in self.windows:
            if minutes <= window.first + window.minutes:
                return window.start + (minutes - window.first) * MINUTE
        return self.end


class Calendar:
    """The trading days of one market.

    Attributes:
        name: Its name in exchange_calendars, ``24/7``, or ``unknown``.
    """

    def __init__(self, name: str, days: Sequence[Day], covers: tuple[float, float]) -> None:
        self.name = name
        self._days = days
        self._starts = [day.start for day in days]
        self._covers = covers

    def covers(self, at: float) -> bool:
        """Return whether epoch second *at* is within the days that were computed."""
        return self._covers[0] <= at < self._covers[1]

    def day(self, at: float) -> Day:
        """Return the day that epoch second *at* belongs to: the last that has begun."""
        return self._days[max(0, bisect_right(self._starts, at) - 1)]

    def after(self, day: Day) -> Day | None:
        """Return the day after *day*, or ``None`` if it was not computed."""
        index = bisect_right(self._starts, day.start)
        return self._days[index] if index < len(self._days) else None

    def next_of(self, day: Day) -> Day | None:
        """Return the day that begins as *day* ends: trading goes on, and *day* has no close."""
        following = self.after(day)
        return following if following is not None and following.start == day.end else None

    def phase(self, at: float) -> Phase:
        """Return what the market does at epoch second *at*."""
        return self.day(at).phase(at)


class _EveryDay(Calendar):
    """A market that never closes: each day of UTC is one window."""

    _SHAPE: Final = shape_of(((1440, "flat"),))

    def __init__(self, name: str) -> None:
        super().__init__(name, (), (0.0, float("inf")))
        self._last: Day | None = None

    def day(self, at: float) -> Day:
        number = int(at // DAY)
        last = self._last
        if last is None or last.number != number:
            window = Window(number * DAY, (number + 1) * DAY, Phase.OPEN, 0)
            last = self._last = Day(number, (window,), self._SHAPE)
        return last

    def after(self, day: Day) -> Day:
        return self.day(day.end)

    def phase(self, at: float) -> Phase:
        return Phase.OPEN


@frozen
class ExtendedHours:
    """Trading before and after the regular session, in the exchange's own time.

    Attributes:
        pre: When the pre-market begins, ``HH:MM``, or "".
        post: When the post-market ends, ``HH:MM``, or "".
    """

    pre: str = ""
    post: str = ""


class Calendars:
    """The calendars of all symbols.

    Args:
        rules: Calendars by pattern of the symbol, which precede the rules by form.
        default: The calendar of tickers without a mark, such as AAPL and BRK.B.
        extended: Extended hours by calendar name.
    """

    def __init__(
        self,
        rules: Mapping[str, str] | None = None,
        *,
        default: str = "XNYS",
        extended: Mapping[str, ExtendedHours] | None = None,
    ) -> None:
        self._rules = dict(rules or {})
        self._default = default
        self._extended = dict(extended or {})
        self._names: dict[str, str] = {}
        self._ready: dict[str, Calendar] = {
            name: _EveryDay(name) for name in (ALWAYS_OPEN, UNKNOWN)
        }
        self._lacking: dict[str, float] = {}

    def name_of(self, symbol: str) -> str:
        """Return the name of the calendar of *symbol*."""
        if len(symbol) > _MAX_LENGTH:
            return UNKNOWN
        name = self._names.get(symbol)
        if name is None:
            if len(self._names) >= _MAX_SYMBOLS:
                self._names.clear()
            name = self._names[symbol] = calendar_of(symbol, self._rules, self._default)
        return name

    def ready(self, symbol: str, at: float) -> Calendar | None:
        """Return the calendar of *symbol*, if it is computed around epoch second *at*."""
        calendar = self._ready.get(self._names.get(symbol) or self.name_of(symbol))
        return calendar if calendar is not None and calendar.covers(at) else None

    def lacks(self, symbol: str, at: float) -> bool:
        """Return whether the calendar of *symbol* was found missing within a day of *at*."""
        return abs(at - self._lacking.get(self.name_of(symbol), -inf)) < DAY

    def of(self, symbol: str, at: float) -> Calendar:
        """Return the calendar of *symbol* at epoch second *at*; computing it takes 0.1 s.

        Raises:
            ConfigError: There is no calendar of that name, or its holidays are not known then.
        """
        calendar = self.ready(symbol, at)
        if calendar is None:
            name = self.name_of(symbol)
            try:
                calendar = _compute(name, at, self._extended.get(name, ExtendedHours()))
            except ConfigError:
                self._lacking[name] = at
                raise
            self._ready[name] = calendar
        return calendar

    def phase(self, symbol: str, at: datetime) -> Phase:
        """Return what the market of *symbol* does at *at*.

        Raises:
            BadParameter: *at* has no time zone.
            ConfigError: As for :meth:`of`.
        """
        if at.tzinfo is None or at.utcoffset() is None:
            msg = f"{at!r} has no time zone, so it names no moment; give an aware datetime"
            raise BadParameter(msg)
        moment = at.timestamp()
        return self.of(symbol, moment).phase(moment)


def check_names(names: Iterable[str]) -> None:
    """Check that there are calendars with these *names*.

    Raises:
        ConfigError: There is none with one of them.
    """
    unknown = sorted(set(names) - {"XNYS", ALWAYS_OPEN, FOREX, UNKNOWN})
    if not unknown:
        return
    import exchange_calendars

    known = exchange_calendars.get_calendar_names(include_aliases=True)
    for name in unknown:
        if name not in known:
            msg = f"there is no calendar {name!r}: {suggest(name, known)}"
            raise ConfigError(msg)


def _compute(name: str, at: float, extended: ExtendedHours) -> Calendar:
    if name == FOREX:
        return _forex(at)
    exchange = _exchange(name, at)
    zone = pytz.timezone(str(exchange.tz))
    schedule = exchange.schedule
    columns = [_seconds(schedule[c]) for c in ("open", "break_start", "break_end", "close")]
    days = [
        _day(number, day, (opens, *lunch, closes), extended, zone)
        for number, (day, opens, *lunch, closes) in enumerate(
            zip(schedule.index.date, *columns, strict=True)
        )
    ]
    calendar = Calendar(name, days, (days[0].end, days[-1].start))
    if not calendar.covers(at):
        raise _not_recorded(name, at)
    return calendar


def _forex(at: float) -> Calendar:
    """Return the week of currencies: from Sunday 17:00 to Friday 17:00 in New York."""
    zone = pytz.timezone("America/New_York")
    try:
        middle = datetime.fromtimestamp(at, pytz.utc).date()
        dates = [middle + timedelta(days) for days in range(-_BACK.days, _AHEAD.days)]
        evenings = [
            (_moment(d - _ONE_DAY, "17:00", zone), _moment(d, "17:00", zone)) for d in dates
        ]
    except (ValueError, OverflowError) as error:
        raise _not_recorded(FOREX, at) from error
    days = [
        _day(number, date, (opens, 0, 0, closes), ExtendedHours(), zone)
        for number, (date, (opens, closes)) in enumerate(zip(dates, evenings, strict=True))
        if date.weekday() < _SATURDAY
    ]
    return Calendar(FOREX, days, (days[0].end, days[-1].start))


def _exchange(name: str, at: float) -> ExchangeCalendar:
    """Return the library's calendar around epoch second *at*, as far as holidays are recorded."""
    import exchange_calendars

    try:
        middle = datetime.fromtimestamp(at, pytz.utc).date()
        first, last = middle - _BACK, middle + _AHEAD
        try:
            return exchange_calendars.get_calendar(name, start=str(first), end=str(last))
        except ValueError:
            # The holidays of some markets are known from some year on, or for a year ahead.
            whole = exchange_calendars.get_calendar(name)
            oldest, newest = whole.bound_min(), whole.bound_max()
            first = first if oldest is None else max(first, oldest.date())
            last = last if newest is None else min(last, newest.date())
            return exchange_calendars.get_calendar(name, start=str(first), end=str(last))
    except exchange_calendars.errors.InvalidCalendarName:
        msg = f"there is no calendar {name!r}; exchange_calendars knows XNYS, XLON, XTKS, …"
        raise ConfigError(msg) from None
    except Exception as error:  # whatever keeps it from computing holidays
        raise _not_recorded(name, at) from error


def _not_recorded(name: str, at: float) -> ConfigError:
    when = datetime.fromtimestamp(at, pytz.utc).date()
    msg = (
        f"the holidays of {name} around {when} are not recorded: update exchange_calendars, or "
        "give its symbols another calendar in [plugins.adaptive_ttl.calendars]"
    )
    return ConfigError(msg)


def _seconds(column: pd.Series[pd.Timestamp]) -> list[int]:
    """Return *column* in epoch seconds; 0 where there is no such time."""
    return [int(at.timestamp()) if at == at else 0 for at in column]


def _day(
    number: int, day: date, times: Sequence[int], extended: ExtendedHours, zone: pytz.BaseTzInfo
) -> Day:
    opens, break_start, break_end, closes = times
    edges: list[Edge] = []
    if extended.pre:
        edges.append((_moment(day, extended.pre, zone), opens, Phase.PRE, "pre"))
    if break_start:
        edges.append((opens, break_start, Phase.OPEN, "morning"))
        edges.append((break_end, closes, Phase.OPEN, "afternoon"))
    else:
        whole = closes - opens >= _ROUND_THE_CLOCK
        edges.append((opens, closes, Phase.OPEN, "flat" if whole else "regular"))
    if extended.post:
        edges.append((closes, _moment(day, extended.post, zone), Phase.POST, "post"))
    edges = [edge for edge in edges if edge[1] > edge[0]]
    shape = shape_of(tuple(((end - start) // MINUTE, kind) for start, end, _, kind in edges))
    return Day(number, tuple(_windows(edges)), shape)


def _moment(day: date, clock: str, zone: pytz.BaseTzInfo) -> int:
    hour, minute = (int(part) for part in clock.split(":"))
    return int(zone.localize(datetime(day.year, day.month, day.day, hour, minute)).timestamp())  # noqa: DTZ001 - pytz zones are attached by localize()


def _windows(edges: Iterable[Edge]) -> Iterable[Window]:
    first = 0
    for start, end, phase, _ in edges:
        window = Window(start, end, phase, first)
        first += window.minutes
        yield window


__all__ = [
    "ALWAYS_OPEN",
    "FOREX",
    "UNKNOWN",
    "Calendar",
    "Calendars",
    "Day",
    "ExtendedHours",
    "Phase",
    "Window",
]
