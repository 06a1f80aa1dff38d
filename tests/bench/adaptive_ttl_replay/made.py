"""Prices made by program, of which theory says where fetches belong.

What a policy served is judged by the variance that the price was given since its fetch, not by the
one path that chance drew from it; so a percent can be distinguished from noise.
"""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import exp, log, sqrt

import numpy as np
from attrs import frozen

from argo_mw_adaptive_ttl import Calendar
from tests.bench.adaptive_ttl_replay.fixed import fit
from tests.bench.adaptive_ttl_replay.replay import reads_of, replay
from tests.bench.adaptive_ttl_replay.series import Era, Segment, Series

SIGMA = 8.0
JUMP = 20.0
DAYS = 60
NOON = range(150, 210)
"""The minutes of a session from 12:00 to 13:00 in New York."""

AFTER = 15
"""The minutes after a jump in which fetches are counted."""

POLICY: Mapping[str, object] = {"policy": "error_budget", "error_budget": {"fetches": 0.1}}


@frozen(eq=False)
class Made:
    """A series made by program.

    Attributes:
        series: Its bars; a minute without one was not traded.
        minutes: Epoch seconds at which each minute of trading is over.
        shown: The variance, in bp², that its last price has taken up when each of them is over.
        marked: Whether each minute is one of those that make it special.
    """

    series: Series
    minutes: Sequence[int]
    shown: Sequence[float]
    marked: Sequence[bool]


@frozen
class Found:
    """What came of one made series.

    Attributes:
        error_ratio: The expected rms error over that of a fixed time to live with as many fetches.
        marked_fetches: Fetches a minute in the marked minutes, over those in the others.
    """

    error_ratio: float
    marked_fetches: float | None


def made(kind: str, calendar: Calendar, start: float, days: int = DAYS) -> Made:
    """The series of a *kind*: one of :data:`KINDS`."""
    chance = random.Random(kind)
    minutes: list[int] = []
    steps: list[float] = []
    traded: list[bool] = []
    marked: list[bool] = []
    day = calendar.day(start)
    for _ in range(days):
        for minute, (variance, trades, mark) in enumerate(KINDS[kind](chance, day.minutes)):
            minutes.append(day.when(minute + 1))
            steps.append(variance)
            traded.append(trades)
            marked.append(mark)
        following = calendar.after(day)
        assert following is not None
        day = following
    return _drawn(kind, chance, minutes, steps, traded, marked)


Minutes = list[tuple[float, bool, bool]]
"""Of each minute of a day its variance in bp², whether it is traded, and whether it is marked."""


def _constant(_: random.Random, minutes: int) -> Minutes:
    return [(SIGMA**2, True, False)] * minutes


def _jumps(chance: random.Random, minutes: int) -> Minutes:
    """Once a day the price jumps, which says nothing about the minutes to come."""
    at = chance.randrange(30, minutes - 30)
    return [
        (SIGMA**2 * (JUMP**2 if minute == at else 1.0), True, at < minute <= at + AFTER)
        for minute in range(minutes)
    ]


def _noon(_: random.Random, minutes: int) -> Minutes:
    """From 12:00 to 13:00 sigma is doubled."""
    return [
        (SIGMA**2 * (4.0 if minute in NOON else 1.0), True, minute in NOON)
        for minute in range(minutes)
    ]


def _dead(chance: random.Random, minutes: int) -> Minutes:
    """For an hour, each day another one, nothing is traded and nothing happens."""
    at = chance.randrange(30, minutes - 90)
    return [
        (0.0, False, True) if at <= minute < at + 60 else (SIGMA**2, True, False)
        for minute in range(minutes)
    ]


def _thin(chance: random.Random, minutes: int) -> Minutes:
    """One minute in twenty is traded, at random, while the value behind it moves on."""
    return [(SIGMA**2, chance.random() < 0.05, False) for _ in range(minutes)]


KINDS: Mapping[str, Callable[[random.Random, int], Minutes]] = {
    "constant": _constant,
    "jumps": _jumps,
    "noon": _noon,
    "dead": _dead,
    "thin": _thin,
}


def _drawn(
    kind: str,
    chance: random.Random,
    minutes: Sequence[int],
    steps: Sequence[float],
    traded: Sequence[bool],
    marked: Sequence[bool],
) -> Made:
    """The series of a path that is drawn from the variance of each minute."""
    level = 1e4 * log(100.0)
    ends: list[int] = []
    logs: list[float] = []
    shown: list[float] = []
    last = 0.0
    for minute, total, step, trades in zip(minutes, accumulate(steps), steps, traded, strict=True):
        jumped = step > (2.0 * SIGMA) ** 2
        size = sqrt(step)
        level += chance.choice((-size, size)) if jumped else chance.gauss(0.0, size)
        if trades:
            last = total
            ends.append(minute)
            logs.append(level)
        shown.append(last)
    closes = tuple(exp(one / 1e4) for one in logs)
    series = Series(kind, kind.upper()[:5], tuple(ends), closes, tuple(logs))
    return Made(series, minutes, shown, marked)


async def judge(one: Made, calendar: Calendar, seeds: Sequence[int]) -> Found:
    """Replay *one* once for each seed, and compare it with a fixed time to live."""
    first = bisect_left(one.minutes, one.series.ends[0])
    minutes = tuple(one.minutes[first:-1])
    number = calendar.day(minutes[0] - 1).number
    days = tuple(calendar.day(minute - 1).number - number for minute in minutes)
    segment = Segment(one.series, minutes, days)
    runs = [
        (reads_of(segment, seed), (await replay([Era((segment,))], seed, policy=POLICY))[0])
        for seed in seeds
    ]
    mean = sum(tally.fetches for _, tally in runs) / len(runs)
    ttl = fit([[reads] for reads, _ in runs], mean)
    mine = sum(_expected(one, reads, tally.fetched_at) for reads, tally in runs)
    theirs = sum(_expected(one, reads, _fixed(reads, ttl)) for reads, _ in runs)
    fetched = [at for _, tally in runs for at in tally.fetched_at]
    return Found(sqrt(mine / theirs), _density(one, fetched))


def _fixed(reads: Sequence[float], ttl: float) -> list[float]:
    fetched: list[float] = []
    for at in reads:
        if not fetched or at >= fetched[-1] + ttl:
            fetched.append(at)
    return fetched


def _expected(one: Made, reads: Sequence[float], fetched: Sequence[float]) -> float:
    """The sum over *reads* of the variance since the fetch that each was served from."""
    shown = np.array([0.0, *one.shown])
    now = shown[np.searchsorted(one.minutes, reads, side="right")]
    then = shown[np.searchsorted(one.minutes, fetched, side="right")]
    served = np.searchsorted(fetched, reads, side="right") - 1
    return float((now - then[served]).sum())


def _density(one: Made, fetched: Sequence[float]) -> float | None:
    """Fetches a minute in the marked minutes over those in the others; ``None`` without any."""
    special = sum(one.marked)
    if not special:
        return None
    count = sum(one.marked[bisect_right(one.minutes, at) - 1] for at in fetched)
    return (count / special) / ((len(fetched) - count) / (len(one.marked) - special))


__all__ = ["KINDS", "Found", "Made", "judge", "made"]
