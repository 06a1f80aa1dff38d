"""The policy ``error_budget``: an answer lives until its expected error is worth a fetch.

The expected squared error of serving a price is the variance of the minutes since its fetch plus
the square of the move that its peers forecast; peers take away from the first what they add to the
second. When it reaches c sigma (see :mod:`~argo_mw_adaptive_ttl.fetch_rate`), a fetch is worth its
price.

The time to live is set at load for peers that stay quiet. With peers, the entry is rechecked from
the moment on at which it would have expired without them, and whenever one of them is fetched.
"""

from __future__ import annotations

from math import ceil, sqrt
from typing import Final

from argo_mw_adaptive_ttl.activity import rate_after
from argo_mw_adaptive_ttl.calendars import DAY, Day, Phase
from argo_mw_adaptive_ttl.config import ErrorBudgetConfig, MultiplierConfig
from argo_mw_adaptive_ttl.daytime import MINUTE
from argo_mw_adaptive_ttl.fetch_rate import FetchRate
from argo_mw_adaptive_ttl.multiplier_policy import MultiplierPolicy
from argo_mw_adaptive_ttl.policy import SIGMA, Situation, TtlDecision
from argo_mw_adaptive_ttl.symbol import NOTHING, Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

_STRETCH: Final = 4.0
"""How many times its usual length a life may last, so that no symbol starves."""

_MIN_SHARE: Final = 0.05
"""The share of variance that peers must explain for an entry to be rechecked."""

_NO_LIMIT: Final = 366 * DAY
"""Seconds of trading that stand for a ``max_ttl`` without an end, such as ``inf``."""

_SHUT: Final = (Phase.CLOSED, Phase.BREAK)
_MINUTES: Final = {"minute": 1.0, "hour": 60.0}


class ErrorBudget:
    """Spends fetches where they remove the most error."""

    def __init__(
        self, config: ErrorBudgetConfig, multipliers: MultiplierConfig, stats: SymbolStats
    ) -> None:
        self._config = config
        self._stats = stats
        self._types = multipliers.by_type()
        self._without_prices = MultiplierPolicy(multipliers)
        self._minimum, self._delay = config.min_ttl, config.bar_delay
        self._limit = max(1, int(min(config.max_ttl, _NO_LIMIT) // MINUTE))
        self._by_symbol = config.of == "symbol"
        self._in_total = config.of == "total"
        per = _MINUTES.get(config.per)
        self._rate_a_minute = None if per is None else config.fetches / per

    def decide(self, situation: Situation) -> TtlDecision:
        """Return how long the fresh answer of *situation* lives."""
        symbol, calendar, now = situation.symbol, situation.calendar, situation.now
        if symbol is None or calendar is None or symbol.volatility.level <= 0.0:
            return self._without_prices.decide(situation)
        day = symbol.day
        if not day.start <= now < day.end:
            day = calendar.day(now)
        phase, over = day.place(now)
        if phase in _SHUT:
            end, recheck = self._while_shut(situation, symbol, day)
        else:
            end, recheck = self._until_worth(situation, symbol, day, over)
        ttl = end + self._delay - now
        if ttl < self._minimum:
            ttl = self._minimum
        return TtlDecision(ttl, lambda: self._why(symbol, phase), recheck)

    def record_fetch(self, symbol: Symbol) -> None:
        """Account for a fetch of *symbol*, and for the minutes of trading since the last one."""
        revealed = symbol.revealed
        symbol.revealed = NOTHING
        rate, account = self._rate(symbol), self._account(symbol)
        members = 1 if self._by_symbol else max(1, self._stats.members[symbol.calendar.name])
        account.record(
            revealed.passed,
            rate,
            revealed.known,
            revealed.sigmas * self._worth(symbol),
            share=revealed.share,
            members=members,
        )
        if rate > 0.0:
            symbol.spacing.minutes = 1.0 / rate
            # A squared error falls as fetches rise: compare at as many of them.
            served = revealed.served * account.spent
            account.trial.add(revealed.scored, served, revealed.spaced, members / rate)

    def is_due(self, symbol: Symbol, now: float) -> bool:
        """Return whether peers and the time until *now* make a fetch of *symbol* worthwhile."""
        day = symbol.calendar.day(now)
        stretches = self._since(symbol, day, day.over(now))
        if not stretches:
            return False
        mean, variance = self._expect(symbol, stretches)
        passed = sum(end - start for _, start, end in stretches)
        last, _, over = stretches[-1]
        sigma = sqrt(symbol.variance(last, over - 1))
        error = mean * mean + variance * symbol.urgency
        scale = self._scale(symbol, self._rate(symbol), passed) * self._types["market_data"]
        return error > scale * sigma * sqrt(symbol.urgency)

    def _since(self, symbol: Symbol, day: Day, over: int) -> list[tuple[Day, int, int]]:
        """Return the minutes of trading since *symbol* was fetched; none across a gap."""
        if day.start == symbol.day.start:
            return [(day, symbol.over, over)] if over > symbol.over else []
        if day.start != symbol.day.end:
            return []
        before = (symbol.day, symbol.over, symbol.day.minutes)
        return [stretch for stretch in (before, (day, 0, over)) if stretch[2] > stretch[1]]

    def _expect(self, symbol: Symbol, stretches: list[tuple[Day, int, int]]) -> tuple[float, float]:
        """Return mean and variance, in bp, of the move over *stretches*."""
        factor = self._stats.factor(symbol.calendar)
        loading = symbol.loading(self._stats.prior_loading)
        mean = variance = 0.0
        for day, start, end in stretches:
            for minute in range(start, end):
                at = day.when(minute + 1) // MINUTE
                square = symbol.variance(day, minute)
                mean += sqrt(square) * factor.mean(at)
                variance += square * (1.0 - loading * loading * factor.certainty(at))
        return loading * mean, variance

    def _account(self, symbol: Symbol) -> FetchRate:
        return symbol.fetch_rate if self._by_symbol else self._stats.pool(symbol.calendar)

    def _rate(self, symbol: Symbol) -> float:
        """Return the number of fetches that are due per minute of trading."""
        rate = self._rate_a_minute
        if rate is None:
            rate = self._config.fetches / symbol.day.minutes
        return rate / max(1, len(self._stats)) if self._in_total else rate

    def _scale(self, symbol: Symbol, rate: float, passed: float) -> float:
        account = self._account(symbol)
        level = symbol.volatility.level
        if rate > 0.0:
            return account.for_rate(rate, level, passed) / self._worth(symbol)
        return account.for_error(self._config.error_bp, level)

    def _worth(self, symbol: Symbol) -> float:
        """Return the share of sigma that fetches can take away, where symbols share a budget."""
        return 1.0 if self._by_symbol else sqrt(symbol.spacing.drift)

    def _until_worth(
        self, situation: Situation, symbol: Symbol, day: Day, over: int
    ) -> tuple[float, float | None]:
        """Return when a fetch is worthwhile if peers stay quiet, and when without peers."""
        rate, limit = self._rate(symbol), self._limit
        share = self._types.get(situation.data_type, 1.0)
        pending = 0.0
        if rate > 0.0:
            pending = 1.0 / rate
            limit = min(limit, ceil(_STRETCH * pending * share))
        if situation.revealed and symbol.awaits(day):
            wait = min(self._first_wait(symbol, day, over), limit)
            return self._end(symbol, day, over, wait), None
        if rate > 0.0:
            account = self._account(symbol)
            if account.trial.fixed_decides:
                spacing = round(pending * account.correction(rate, pending) * share)
                return self._end(symbol, day, over, max(1, min(spacing, limit))), None
        scale = self._scale(symbol, rate, pending) * share
        urgency = symbol.urgency if situation.revealed else 1.0
        minutes = self._minutes(symbol, day, over, scale, urgency, limit)
        shared = symbol.shared_variance
        end = self._end(symbol, day, over, minutes)
        if shared * symbol.peer_coverage <= _MIN_SHARE:
            return end, None
        longest = min(limit, ceil(minutes / (1.0 - shared)))
        return self._end(symbol, day, over, longest), end + self._delay

    def _first_wait(self, symbol: Symbol, day: Day, over: int) -> int:
        """Return in how many minutes to look for the first trade of *day* again.

        That trade brings the night's move. So variance arrives at the rate of the night's variance
        times the chance of a trade in a minute, and is worth a fetch by the same law as any other.
        """
        level = symbol.volatility.level
        rate = rate_after(symbol.activity.rate_at(day.shape, min(over, day.minutes - 1)), over)
        night = symbol.night.share * level * day.minutes
        scale = self._scale(symbol, self._rate(symbol), 1.0)
        minutes = scale / sqrt(night * rate)
        return max(1, int(min(minutes, self._limit)))

    def _minutes(
        self, symbol: Symbol, day: Day, minute: int, scale: float, urgency: float, limit: int
    ) -> int:
        """Return in how many minutes from *minute* on the error reaches *scale* times sigma.

        They are *limit* at most. After a close they are counted as if its last minutes went on.
        """
        volatility, shape = symbol.volatility, day.shape
        squares, roots = volatility.profile_of(shape)
        buckets, ends = shape.bucket, shape.ends
        last = day.minutes
        scale /= sqrt(volatility.level * urgency)
        error, passed = 0.0, 0
        while passed < limit:
            bucket = buckets[minute]
            square = squares[bucket]
            needed = int((scale * roots[bucket] - error) / square) + 1
            left = ends[minute] - minute
            if needed <= left or (ends[minute] == last and symbol.calendar.next_of(day) is None):
                passed += needed if needed > 0 else 1
                break
            error += square * left
            passed += left
            minute = (minute + left) % last
        return min(passed, limit)

    def _end(self, symbol: Symbol, day: Day, over: int, minutes: int) -> float:
        """Return the epoch second at which *minutes* from *over* on, and their bar, are over.

        A life that reaches a close goes on by the clock for what is left of it: as many reads after
        the close as at any other time cost a fetch, and those of a night do not have its error all
        night. It ends with the first bar at the latest, since a price counts as changed after a
        night: or before it, when the upstream has bars from outside the session.
        """
        last = over + minutes
        while True:
            stop, closes = day.next_stop(over)
            if last <= stop:
                left = stop - last - (-last % symbol.bar)
                return closes - left * MINUTE if left > 0 else closes
            following = symbol.calendar.next_of(day) if stop == day.minutes else None
            if following is None:
                rest = min((last - stop) * MINUTE, self._config.max_ttl_closed)
                return min(closes + rest, self._opening(symbol, day, stop))
            day, over, last = following, 0, last - stop

    def _while_shut(
        self, situation: Situation, symbol: Symbol, day: Day
    ) -> tuple[float, float | None]:
        """Return when what has come while the market is closed ends, and from when to recheck it.

        An answer asked for before the close may hold the price of then, so it lives no longer than
        if it had come at once. The same holds for one asked for before the last bar was there,
        which would otherwise be read all night.
        """
        now, asked_at = situation.now, situation.asked_at
        closed = day.last_stop(now)
        if asked_at < closed:
            return self._until_worth(situation, symbol, day, day.over(asked_at))
        if asked_at < closed + self._delay:
            return closed, None
        opening = self._opening(symbol, day, day.over(now))
        return min(opening, now + self._config.max_ttl_closed), None

    def _opening(self, symbol: Symbol, day: Day, over: int) -> float:
        """Return when the first bar of *symbol* is over after the close at *over* of *day*."""
        if over < day.minutes:
            return day.when(over + 1)
        following = symbol.calendar.after(day)
        if following is None:
            return day.end + DAY
        return following.start - self._delay if symbol.off_hours else following.when(1)

    def _why(self, symbol: Symbol, phase: Phase) -> str:
        level, day = symbol.volatility.level, symbol.day
        per_day = sqrt(level * day.minutes) / 100.0
        parts = [
            f"{SIGMA} {per_day:.1f} %/day",
            f"{symbol.activity.rate:.2g} trades/min",
            symbol.regime.name,
            phase.value,
        ]
        if self._rate(symbol) > 0.0:
            parts += self._standing(symbol)
        peer = self._stats.factor(symbol.calendar).latest(symbol.name)
        if peer is not None:
            parts.append(f"peer {peer[0]} moved {peer[1]:+.0f} bp")
        return ", ".join(parts)

    def _standing(self, symbol: Symbol) -> list[str]:
        """Say how the budget stands, how the model does, and which of the two decides."""
        account = self._account(symbol)
        trial, ratio = account.trial, account.trial.ratio
        parts = [f"{100.0 * account.spent:.0f} % of the fetches due are spent"]
        if ratio is not None:
            parts.append(f"error {ratio:.2f} of fixed spacing's (score {trial.score:+.1f})")
        parts.append("fixed spacing decides" if trial.fixed_decides else "the model decides")
        return parts
