"""Series: the bars that the harness owns, and when each of them is read.

A policy never sees these; it sees what its own fetches return.
"""

from __future__ import annotations

import csv
import gzip
import random
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from math import exp, log
from pathlib import Path

from attrs import evolve, field, frozen

from argo_mw_adaptive_ttl import Bars, Calendar, Calendars

MINUTE = 60
DAY = 86_400
GAP = 4 * DAY
WINDOW = 90


@frozen(eq=False)
class Series:
    """The minute bars of one file.

    Attributes:
        name: The file's name without its ending.
        symbol: The symbol, with its venue before a colon if the file names one.
        ends: Epoch seconds at which each bar is complete, ascending.
        closes: The last price of each.
        logs: The same, as logarithms in basis points.
    """

    name: str
    symbol: str
    ends: tuple[int, ...]
    closes: tuple[float, ...]
    logs: tuple[float, ...]

    def last(self, now: float) -> int:
        """The index of the last bar that is complete at *now*, or -1."""
        return bisect_right(self.ends, now) - 1

    def fetch(self, now: float) -> Bars:
        """What an upstream answers at *now*: the last 90 bars that are complete."""
        stop = bisect_right(self.ends, now)
        start = max(0, stop - WINDOW)
        starts = tuple(end - MINUTE for end in self.ends[start:stop])
        return Bars(starts, self.closes[start:stop], MINUTE)


@frozen(eq=False)
class Segment:
    """A stretch of a series without a gap of over four days.

    Attributes:
        series: Whose it is.
        minutes: Epoch seconds at which each minute begins in which the series is read.
        days: The number of the day, counted over the whole series, of each of them.
    """

    series: Series
    minutes: tuple[int, ...]
    days: tuple[int, ...] = field(repr=False)


@frozen(eq=False)
class Era:
    """Segments that overlap in time: they are replayed together, and may be each other's peers."""

    segments: tuple[Segment, ...]

    @property
    def name(self) -> str:
        """When it begins, for people."""
        first = min(segment.minutes[0] for segment in self.segments)
        return datetime.fromtimestamp(first).astimezone().date().isoformat()


def read_series(path: Path) -> Series:
    """The series in one ``NAME_1m.csv.gz``."""
    name = path.name.removesuffix(".csv.gz").removesuffix("_1m")
    symbol, _, venue = name.partition("_")
    with gzip.open(path, "rt", newline="") as file:
        rows = [
            (datetime.fromisoformat(r["time"]), float(r["close"])) for r in csv.DictReader(file)
        ]
    bars = sorted({int(at.timestamp()): close for at, close in rows if close > 0}.items())
    return Series(
        name,
        f"{venue.upper()}:{symbol}" if venue else symbol,
        tuple(start + MINUTE for start, _ in bars),
        tuple(close for _, close in bars),
        tuple(1e4 * log(close) for _, close in bars),
    )


def thinned(series: Series, keep: float) -> Series:
    """*series* with a random share of its bars, the same ones each time."""
    chance = random.Random(f"{series.name}:{keep}")
    kept = [index for index in range(len(series.ends)) if chance.random() < keep]
    return evolve(
        series,
        ends=tuple(series.ends[index] for index in kept),
        closes=tuple(series.closes[index] for index in kept),
        logs=tuple(series.logs[index] for index in kept),
    )


def eras_of(
    data: Path, calendars: Calendars, *, skip: int, only: Sequence[str] = (), keep: float = 1.0
) -> list[Era]:
    """The eras of all series in *data*, in order.

    *skip* minutes at the beginning of each session are not read; *only* names the series to
    take, all of them when it is empty; *keep* is the share of bars that is kept, at random.
    """
    paths = sorted(data.glob("*_1m.csv.gz"))
    if not paths:
        msg = f"there are no *_1m.csv.gz in {data}; give the directory of the minute bars"
        raise FileNotFoundError(msg)
    series = [read_series(path) for path in paths]
    if keep < 1.0:
        series = [thin for one in series if (thin := thinned(one, keep)).ends]
    segments = [
        segment
        for one in series
        if not only or one.name in only
        for segment in _segments(one, calendars, skip)
    ]
    segments.sort(key=lambda segment: segment.minutes[0])
    eras: list[list[Segment]] = []
    end = 0
    for segment in segments:
        if not eras or segment.minutes[0] > end:
            eras.append([])
        eras[-1].append(segment)
        end = max(end, segment.minutes[-1])
    return [Era(tuple(era)) for era in eras]


def _segments(series: Series, calendars: Calendars, skip: int) -> list[Segment]:
    segments: list[Segment] = []
    starts = [0, *(i for i in range(1, len(series.ends)) if _gap(series, i)), len(series.ends)]
    days = 0
    for first, stop in pairwise(starts):
        minutes, numbers = _reads(series, calendars, first, stop, skip, days)
        if minutes:
            segments.append(Segment(series, tuple(minutes), tuple(numbers)))
            days = numbers[-1] + 1
    return segments


def _gap(series: Series, index: int) -> bool:
    return series.ends[index] - series.ends[index - 1] > GAP


def _reads(
    series: Series, calendars: Calendars, first: int, stop: int, skip: int, number: int
) -> tuple[list[int], list[int]]:
    """Every minute of the sessions in which the series has bars, once it has any."""
    minutes: list[int] = []
    numbers: list[int] = []
    begins, ends = series.ends[first], series.ends[stop - 1]
    at = float(begins - MINUTE)
    while at < ends:
        calendar = calendars.of(series.symbol, at)
        day = calendar.day(at)
        inside = bisect_left(series.ends, day.end + 1) - bisect_left(series.ends, day.start + 1)
        if inside and day.end > begins:
            session = [
                minute
                for window in day.windows
                for minute in range(window.start, window.end, MINUTE)
            ][skip if day.start > 0 and calendar.name != "24/7" else 0 :]
            session = [minute for minute in session if begins <= minute < max(ends, day.start + 1)]
            minutes += session
            numbers += [number] * len(session)
            number += 1
        following = calendar.after(day)
        if following is None:
            at = day.end + DAY
            continue
        at = float(following.start)
    return minutes, numbers


def walk(calendar: Calendar, start: float, days: int, *, seed: str, sigma: float = 8.0) -> Series:
    """A random walk of *sigma* bp a minute over so many *days* of trading from *start* on."""
    chance = random.Random(seed)
    level = 1e4 * log(100.0)
    ends: list[int] = []
    logs: list[float] = []
    day = calendar.day(start)
    for _ in range(days):
        for minute in range(1, day.minutes + 1):
            level += chance.gauss(0.0, sigma)
            ends.append(day.when(minute))
            logs.append(level)
        following = calendar.after(day)
        assert following is not None
        day = following
    return Series(seed, seed, tuple(ends), tuple(exp(x / 1e4) for x in logs), tuple(logs))
