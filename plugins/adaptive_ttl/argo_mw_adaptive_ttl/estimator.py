"""Estimation: learns from one answer about its symbol, and about the factor it shares with others.

A fetch reveals every minute since the last one, not just the price now, so all of them are
learned from. A minute without a trade is a minute without a move.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import inf, log, sqrt
from typing import Final

from argo_mw_adaptive_ttl.activity import urgency
from argo_mw_adaptive_ttl.bars import Bars
from argo_mw_adaptive_ttl.calendars import DAY, Day
from argo_mw_adaptive_ttl.daytime import MINUTE
from argo_mw_adaptive_ttl.factor_model import FactorModel
from argo_mw_adaptive_ttl.symbol import NOTHING, Revealed, Symbol
from argo_mw_adaptive_ttl.volatility import DAILY_SHARE

_BASIS_POINTS: Final = 1e4
_MAX_MOVE: Final = 5.0
"""Sigmas to which a move is cut before it is compared with those of peers."""
_COVERAGE_DECAY: Final = 0.9
_MAX_MINUTES: Final = 5_000
"""Minutes of trading that are learned from one answer, each in 3.5 µs: what is older counts an
eighth, and half a year of bars of four hours would hold the event loop for most of a second."""
_SETTLE: Final = 5
"""Minutes of one answer after which the level is recomputed: what counts as a jump depends on
it."""
_MAX_GAP: Final = 4 * DAY
"""Seconds without a bar after which the next price is not compared with the one before."""


class Estimator:
    """Learns from one answer about *symbol*.

    Args:
        symbol: The symbol that the answer is about.
        factor: The common factor of its calendar.
        loading: The correlation with it that is assumed at first.
    """

    def __init__(self, symbol: Symbol, factor: FactorModel, loading: float) -> None:
        self._symbol = symbol
        self._factor = factor
        self._prior = loading
        self._loading = symbol.loading(loading)
        self._moved = 0.0
        self._forecast = 0.0
        self._known = 0.0
        self._move = 0.0
        self._passed = 0
        self._share = 0.0
        self._minutes = 0
        self._judged = 0
        self._sigmas = 0.0
        self._judging = symbol.seen_at > 0.0 and symbol.volatility.level > 0.0
        self._known_today = symbol.price > 0.0 and symbol.over > 0
        self._off = 0.0
        self._served = 0.0
        self._spaced = 0.0
        self._scored = 0

    def learn(self, bars: Bars, now: float) -> None:
        """Learn every minute of *bars* that is over at epoch second *now* and not known yet."""
        if bars.step >= DAY // 2:
            self._learn_days(bars, now)
            return
        self._symbol.bar = max(1, bars.step // MINUTE)
        self._find_hole(bars)
        known = self._symbol.day.when(self._symbol.over)
        first = bisect_left(bars.starts, known - bars.step + 1)
        recent = bisect_left(bars.starts, bars.starts[-1] - self._reach())
        if recent > first:
            self._begin_at(bars.starts[recent])
            first = recent
        for start, close in zip(bars.starts[first:], bars.closes[first:], strict=True):
            end = start + bars.step
            if end > now:
                break
            self._bar(start, end, close)
        self._pass_to(now)
        self._conclude()

    def _learn_days(self, bars: Bars, now: float) -> None:
        """Learn how volatile the symbol is; daily bars reveal nothing about any minute."""
        symbol = self._symbol
        moves = [_move(a, b) for a, b in pairwise(bars.closes)]
        if moves:
            per_day = sum(move * move for move in moves) / len(moves)
            symbol.volatility.seed(DAILY_SHARE * per_day / symbol.day.minutes)
        if symbol.price <= 0.0:
            if symbol.seen_at <= 0.0:
                self._begin_at(now)
            self._pass_to(now)
        symbol.revealed = Revealed(self._passed, self._share)

    def _find_hole(self, bars: Bars) -> None:
        """Begin at the first bar if minutes before it were never seen: no move spans them."""
        symbol = self._symbol
        if symbol.price <= 0.0 or bars.starts[0] > symbol.seen_at:
            self._begin_at(bars.starts[0])

    def _reach(self) -> int:
        """Return the seconds before the last bar whose minutes are learned."""
        return _MAX_MINUTES * DAY // max(1, self._symbol.day.minutes)

    def _begin_at(self, start: float) -> None:
        symbol = self._symbol
        symbol.day = symbol.calendar.day(start)
        symbol.over = symbol.day.over(start)
        symbol.price, symbol.gapped = 0.0, False

    def _bar(self, start: int, end: int, close: float) -> None:
        symbol = self._symbol
        day = symbol.calendar.day(start)
        over = day.over(end)
        if over == day.over(start):
            symbol.off_hours = True
            return
        if not self._is_news(day, over):
            return
        if symbol.price > 0.0 and start - symbol.traded > _MAX_GAP:
            self._begin_at(start)
        self._pass(day, over - 1, over - symbol.bar)
        if symbol.price > 0.0:
            self._trade(_move(symbol.price, close))
        symbol.price, symbol.traded, symbol.gapped = close, float(end), False
        symbol.silent_minutes = 0
        self._count(over)

    def _is_news(self, day: Day, over: int) -> bool:
        symbol = self._symbol
        if day.start == symbol.day.start:
            return over > symbol.over
        return day.start > symbol.day.start

    def _pass_to(self, now: float) -> None:
        day = self._symbol.calendar.day(now)
        over = day.over(now)
        if self._is_news(day, over):
            self._pass(day, over)

    def _pass(self, day: Day, over: int, bar: float = inf) -> None:
        """Learn that there was no trade until *over* minutes of *day* were over.

        The minutes from *bar* on belong to one bar with the next: nobody knows in which it was.
        """
        symbol = self._symbol
        while symbol.day.start < day.start:
            following = symbol.calendar.after(symbol.day)
            self._quiet(symbol.day.minutes)
            # Bars from years ago must not make it learn every minute since.
            if (
                following is None
                or following.start > symbol.day.end
                or day.start - symbol.day.end > _MAX_GAP
                or symbol.price <= 0.0
            ):
                symbol.day, symbol.over, symbol.gapped = day, 0, symbol.price > 0.0
                symbol.silent_minutes, self._known_today = 0, False
                symbol.spacing.begin()
                break
            symbol.day, symbol.over = following, 0
        self._quiet(over, bar)

    def _quiet(self, over: int, bar: float = inf) -> None:
        symbol = self._symbol
        if symbol.price <= 0.0:
            self._count(over)
        while symbol.over < over:
            traded = symbol.over >= bar
            symbol.activity.learn(symbol.day.shape.bucket[symbol.over], traded=traded)
            symbol.silent_minutes += not traded
            self._score(0.0)
            if not symbol.gapped:
                self._minute(0.0, traded=traded)
            self._count(symbol.over + 1)

    def _count(self, over: int) -> None:
        """Count the minutes until *over* of them are over."""
        symbol = self._symbol
        if over > symbol.over:
            elapsed = symbol.day.shape.elapsed
            self._passed += over - symbol.over
            self._share += elapsed[over] - elapsed[symbol.over]
            symbol.over = over

    def _trade(self, move: float) -> None:
        """Learn that a trade in the next minute has moved the price by *move* bp."""
        symbol = self._symbol
        symbol.activity.learn(symbol.day.shape.bucket[symbol.over], traded=True)
        self._score(move)
        if symbol.gapped:
            variance = symbol.volatility.level * symbol.day.minutes
            if variance > 0.0:
                symbol.night.learn(move, variance)
        else:
            self._minute(move, traded=True)

    def _score(self, move: float) -> None:
        """Add the error that the next minute brings to the served price and to fixed spacing."""
        symbol = self._symbol
        fixed = symbol.spacing.add(move, gap=symbol.gapped and move != 0.0)
        if self._known_today:
            self._served += self._off * self._off
            self._spaced += fixed
            self._scored += 1
            self._off += move

    def _minute(self, move: float, *, traded: bool) -> None:
        """Learn that the next minute has moved the price by *move* bp."""
        symbol = self._symbol
        day = symbol.day
        volatility = symbol.volatility
        bucket = day.shape.bucket[symbol.over]
        prior = day.shape.prior[bucket]
        volatility.profile_of(day.shape)
        if self._judging:
            sigma = sqrt(volatility.level * volatility.profile(bucket, prior))
            self._compare(move / sigma, day.when(symbol.over + 1) // MINUTE)
            symbol.detector.learn(move, sigma, volatility.trend)
            self._sigmas += sigma / day.shape.usual[bucket]
            self._judged += 1
        volatility.learn(move, bucket, prior, traded=traded)
        self._move += move
        self._minutes += 1
        if self._minutes % _SETTLE == 0:
            volatility.settle()

    def _compare(self, move: float, minute: int) -> None:
        """Compare *move*, in sigma, with the forecast of peers; then add it to the factor."""
        move = min(max(move, -_MAX_MOVE), _MAX_MOVE)
        self._moved += move
        self._forecast += self._factor.mean(minute)
        self._known += self._factor.certainty(minute)
        self._factor.add(minute, move, self._loading)

    def _conclude(self) -> None:
        symbol = self._symbol
        symbol.volatility.settle()
        symbol.revealed = Revealed(
            self._passed,
            self._share,
            self._judged,
            self._sigmas,
            self._scored,
            self._served,
            self._spaced,
        )
        if symbol.seen_at <= 0.0:
            # The minutes before the first answer could not have been served.
            symbol.revealed = NOTHING
        over = min(symbol.over, symbol.day.minutes - 1)
        rate = symbol.activity.rate_at(symbol.day.shape, over)
        symbol.urgency = urgency(rate, symbol.silent_minutes, symbol.spacing.minutes)
        if self._minutes:
            self._factor.record_move(symbol.name, self._move)
            symbol.learn_loading(self._forecast, self._moved)
            symbol.shared_variance = symbol.loading(self._prior) ** 2
            share = self._known / self._minutes
            symbol.peer_coverage += (1.0 - _COVERAGE_DECAY) * (share - symbol.peer_coverage)


def _move(before: float, after: float) -> float:
    """Return the log return from one price to the next, in bp."""
    # The ratio of a misprint to a price may have no logarithm.
    return (log(after) - log(before)) * _BASIS_POINTS
