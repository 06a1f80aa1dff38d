"""The close: how long answers live that reach it, on markets of every kind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from functools import cache
from math import ceil, exp, inf
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from argo_mw import Argo, Outcome
from argo_mw.plugin import Call, Operation, Upstream, hookimpl, operation
from argo_mw.testing.clock import FakeClock
from argo_mw_adaptive_ttl import (
    AdaptiveTtlPlugin,
    Bars,
    Calendar,
    Calendars,
    ErrorBudget,
    ErrorBudgetConfig,
    MultiplierConfig,
    Situation,
    Symbol,
    SymbolStats,
)
from argo_mw_adaptive_ttl.calendars import Day, ExtendedHours
from argo_mw_adaptive_ttl.regime import Efficiency
from argo_mw_cache import CachePlugin

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

MINUTE = 60
MONDAY = 1_719_792_000  # 2024-07-01, 00:00 in UTC; the week of a half day and a holiday
FACTORS = MultiplierConfig().by_type()
MARKETS = {
    "a stock": "AAPL",
    "a stock in extended hours": "AAPL",
    "lunch in Tokyo": "7203.T",
    "a currency": "EURUSD=X",
    "a coin": "BTC-USD",
    "an unknown market": "ES=F",
}
AROUND_THE_CLOCK = ["a currency", "a coin", "an unknown market"]

markets = st.sampled_from(sorted(MARKETS))
moments = st.one_of(
    st.floats(0.0, 7 * 86_400.0),
    st.tuples(st.integers(0, 20), st.sampled_from([-0.25, -20.0, -200.0, -3000.0, 0.5, 20.0])),
)
"""Seconds since Monday; or the number of a time when trading stops, and seconds from it."""
kinds = st.sampled_from([*sorted(FACTORS), "of another kind"])
bars_of = st.sampled_from([1, 5, 60, 240])


@cache
def calendar_of(market: str) -> Calendar:
    extended = {"XNYS": ExtendedHours("04:00", "20:00")} if "extended" in market else {}
    return Calendars(extended=extended).of(MARKETS[market], float(MONDAY))


def policy_with(*, fixed: bool, symbol: Symbol, config: ErrorBudgetConfig) -> ErrorBudget:
    stats = SymbolStats()
    stats.add(symbol)
    symbol.fetch_rate.trial.wait = 1e9 if fixed else 0.0
    return ErrorBudget(config, MultiplierConfig(), stats)


def symbol_at(market: str, at: float, *, bar: int = 1, sigma: float = 6.0) -> Symbol:
    """A symbol that was fetched at *at*, and has been traded until then."""
    calendar = calendar_of(market)
    day = calendar.day(at)
    symbol = Symbol(MARKETS[market], calendar, day, Efficiency())
    symbol.volatility.seed(sigma * sigma)
    symbol.over, symbol.price, symbol.bar, symbol.seen_at = day.over(at), 100.0, bar, at
    return symbol


def moment_of(calendar: Calendar, moment: float | tuple[int, float]) -> float:
    if isinstance(moment, float):
        return MONDAY + moment
    number, seconds = moment
    day: Day | None = calendar.day(float(MONDAY))
    stops: list[int] = []
    while day is not None and len(stops) <= number:
        stops += [end for _, end in day.stops]
        day = calendar.after(day)
    return stops[number] + seconds


def trades(calendar: Calendar, at: float) -> bool:
    return "open" in calendar.phase(at).value or "market" in calendar.phase(at).value


def close_after(calendar: Calendar, at: float, within: int) -> float:
    """When trading next stops after *at*, by a look at each minute; never, for all we see."""
    minute = int(at) // MINUTE * MINUTE
    for later in range(minute, minute + within * MINUTE, MINUTE):
        if not trades(calendar, later):
            return float(later)
    return inf


def opening_after(calendar: Calendar, at: float) -> float:
    """When trading begins again after *at*, at which there is none."""
    day = calendar.day(at)
    starts = [window.start for window in day.windows if window.start > at]
    following = calendar.after(day)
    assert following is not None
    return float(min([*starts, following.start]))


@given(
    market=markets,
    moment=moments,
    load=st.sampled_from([0.0, 0.5, 5.0, 90.0]),
    kind=kinds,
    bar=bars_of,
    fixed=st.booleans(),
    fetches=st.sampled_from([0.02, 0.1, 0.5]),
    delay=st.sampled_from([0.0, 1.0, 30.0]),
)
@settings(max_examples=300)
def test_no_price_of_before_a_close_is_read_for_longer_after_it_than_a_life(
    market: str,
    moment: float | tuple[int, float],
    load: float,
    kind: str,
    bar: int,
    fixed: bool,
    fetches: float,
    delay: float,
) -> None:
    """By the clock, it lives as long as the longest life there is, and never beyond a first bar.

    What counts is when it was asked for: an answer that comes later may be no newer.
    """
    calendar = calendar_of(market)
    asked_at = moment_of(calendar, moment)
    now, close = asked_at + load, close_after(calendar, asked_at, 2 * 1440)
    if close == inf or (trades(calendar, now) and now > close):
        return  # it closes on no day, or the answer came in its next session
    config = ErrorBudgetConfig(fetches=fetches, bar_delay=delay)
    symbol = symbol_at(market, now, bar=bar)
    policy = policy_with(fixed=fixed, symbol=symbol, config=config)
    ends, at_once = (
        came + policy.decide(Situation(kind, symbol.name, came, calendar, symbol, False, at)).ttl
        for came, at in ((now, asked_at), (asked_at, asked_at))
    )

    shortest = now + config.min_ttl
    if trades(calendar, asked_at):
        longest = min(config.max_ttl / MINUTE, ceil(4.0 / fetches * FACTORS.get(kind, 1.0)))
        first_bar = opening_after(calendar, close) + MINUTE + delay
        if ends > close + delay:
            begins = now if now < close else asked_at
            assert ends <= max(shortest, min(begins + longest * MINUTE + delay, first_bar))
        if now >= close:
            assert pytest.approx(max(shortest, at_once)) == ends
    elif trades(calendar, asked_at - delay):
        last_stop = calendar.day(asked_at).last_stop(asked_at)
        assert pytest.approx(max(shortest, last_stop + delay)) == ends


@given(
    market=st.sampled_from(AROUND_THE_CLOCK),
    minutes=st.integers(0, 3 * 1440),
    second=st.floats(0.0, 59.0),
    kind=kinds,
    fixed=st.booleans(),
)
def test_a_market_around_the_clock_has_no_boundary(
    market: str, minutes: int, second: float, kind: str, fixed: bool
) -> None:
    """At the same sigma a life is as long at midnight, and at 17:00 in New York, as at noon."""
    calendar = calendar_of(market)
    lives = []
    noon = MONDAY + 86_400 + 12 * 3600.0
    for at in (noon + second, MONDAY + 86_400 + MINUTE * minutes + second):
        symbol = symbol_at(market, at)
        config = ErrorBudgetConfig(fetches=0.05)
        policy = policy_with(fixed=fixed, symbol=symbol, config=config)
        lives.append(policy.decide(Situation(kind, symbol.name, at, calendar, symbol)).ttl)

    assert pytest.approx(lives[0]) == lives[1]


@pytest.mark.parametrize("fixed", [False, True])
def test_around_the_clock_the_next_days_first_minutes_count_as_they_are(fixed: bool) -> None:
    """A coin that is wild from midnight on is fetched earlier than it would be at its old pace."""
    lives = []
    for hour in (22.2, 23.9):
        at = MONDAY + 86_400 + hour * 3600.0
        symbol = symbol_at("a coin", at)
        prior = symbol.day.shape.prior
        first = symbol.day.shape.bucket[0]
        symbol.volatility.profile_of(symbol.day.shape)
        for _ in range(600):
            symbol.volatility.learn(6.0, symbol.day.shape.bucket[-1], prior[0])
        for _ in range(20_000):
            symbol.volatility.learn(40.0, first, prior[first])
            symbol.volatility.learn(6.0, symbol.day.shape.bucket[-1], prior[0])
        policy = policy_with(fixed=fixed, symbol=symbol, config=ErrorBudgetConfig(fetches=0.05))
        known = Situation("market_data", symbol.name, at, symbol.calendar, symbol)
        lives.append(policy.decide(known).ttl)

    assert lives[0] == lives[1] if fixed else lives[0] > 1.2 * lives[1]


@given(market=markets, before=st.integers(1, 300), kind=st.sampled_from(sorted(FACTORS)))
def test_fixed_spacing_keeps_the_factor_of_the_data_type(
    market: str, before: int, kind: str
) -> None:
    """At whole minutes: a spacing of two, and so many times that."""
    calendar = calendar_of(market)
    day = calendar.day(MONDAY + 86_400.0 + 40_000.0)
    at = float(day.when(day.minutes - before))
    if not trades(calendar, at):
        return
    symbol = symbol_at(market, at)
    policy = policy_with(fixed=True, symbol=symbol, config=ErrorBudgetConfig(fetches=0.5))
    known = Situation(kind, symbol.name, at, calendar, symbol)

    factor = FACTORS[kind]
    assert pytest.approx(2 * MINUTE * factor, rel=0.05, abs=31.0) == policy.decide(known).ttl


@given(market=markets, before=st.integers(1, 4), kind=kinds, fixed=st.booleans())
def test_a_life_is_as_long_by_the_clock_whether_or_not_it_reaches_the_close(
    market: str, before: int, kind: str, fixed: bool
) -> None:
    """One rule for model and fixed spacing: what is left of a life at the close, it still has.

    The last four minutes of a day share a bucket, so the model gives them all the same life.
    """
    calendar = calendar_of(market)
    config = ErrorBudgetConfig(fetches=0.1)
    lives = []
    for minutes in (4, before):
        day = calendar.day(MONDAY + 86_400.0 + 40_000.0)
        at = day.when(day.minutes - minutes) + 5.0
        symbol = symbol_at(market, at)
        policy = policy_with(fixed=fixed, symbol=symbol, config=config)
        lives.append(policy.decide(Situation(kind, symbol.name, at, calendar, symbol)).ttl)

    assert lives[0] == lives[1] > 240.0


@given(
    market=markets,
    moment=st.integers(0, 7 * 1440),
    bar=bars_of,
    kind=kinds,
    fixed=st.booleans(),
)
def test_longer_bars_delay_a_life_to_their_end_or_the_close_and_no_further(
    market: str, moment: int, bar: int, kind: str, fixed: bool
) -> None:
    calendar, at = calendar_of(market), MONDAY + MINUTE * moment + 5.0
    if not trades(calendar, at):
        return
    ends = []
    for length in (1, bar):
        symbol = symbol_at(market, at, bar=length)
        policy = policy_with(fixed=fixed, symbol=symbol, config=ErrorBudgetConfig(fetches=0.1))
        known = Situation(kind, symbol.name, at, calendar, symbol)
        ends.append(at + policy.decide(known).ttl - 1.0)
    by_minute, by_bar = ends
    close = close_after(calendar, at, 2 * 1440)

    if by_minute >= close:
        assert by_minute == by_bar
    else:
        assert by_minute <= by_bar <= min(close, by_minute + MINUTE * (bar - 1))


@pytest.mark.parametrize("market", sorted(MARKETS))
def test_what_is_asked_for_after_a_close_lives_until_the_next_first_bar(market: str) -> None:
    calendar, checked = calendar_of(market), 0
    for at in range(MONDAY, MONDAY + 7 * 86_400, 1800):
        if trades(calendar, at + 5.0):
            continue
        symbol = symbol_at(market, at + 5.0)
        policy = policy_with(fixed=False, symbol=symbol, config=ErrorBudgetConfig(fetches=0.1))
        known = Situation("market_data", symbol.name, at + 5.0, calendar, symbol)
        first_bar = opening_after(calendar, at + 5.0) + MINUTE + 1.0
        assert pytest.approx(first_bar) == at + 5.0 + policy.decide(known).ttl
        checked += 1

    assert (checked > 0) == (market not in {"a coin", "an unknown market"})


@operation(data_type="market_data", subject="symbol")
def bars(symbol: str) -> object:
    """The last minute bars of one symbol."""


@operation(data_type="indicators", subject="symbol")
def mean(symbol: str) -> object:
    """The mean of the last closes of one symbol."""


class Exchange:
    """The plugin that answers with what was there when it was asked, some time later."""

    def __init__(self, clock: FakeClock, calendar: Calendar, begin: float) -> None:
        self.clock = clock
        self.load = 0.0
        self.asked: list[float] = []
        chance = random.Random(3)
        self.starts: list[int] = []
        self.closes = [100.0]
        day: Day | None = calendar.day(begin)
        for _ in range(5):
            assert day is not None
            for window in day.windows:
                for start in range(window.start, window.end, MINUTE):
                    self.starts.append(start)
                    self.closes.append(self.closes[-1] * exp(chance.gauss(0.0, 6.0) / 1e4))
            day = calendar.after(day)

    @hookimpl
    def register_operations(self) -> Sequence[Operation]:
        return [bars, mean]

    @hookimpl
    def register_upstreams(self) -> Sequence[Upstream]:
        return [Upstream("exchange", ["bars", "mean"], self.fetch)]

    async def fetch(self, call: Call) -> Outcome:
        self.asked.append(self.clock.time())
        stop = sum(start + MINUTE + 1.0 <= self.clock.time() for start in self.starts)
        if self.load:
            await self.clock.sleep(self.load)
        starts, closes = self.starts[:stop][-90:], self.closes[1 : stop + 1][-90:]
        if call.operation is mean:
            return Outcome((len(self.asked), starts[-1] + MINUTE))
        return Outcome(Bars(tuple(starts), tuple(closes), MINUTE))


@pytest.mark.parametrize("name", ["bars", "mean"])
@pytest.mark.parametrize("market", sorted(MARKETS.keys() - {"a stock in extended hours"}))
async def test_through_the_chain_nobody_is_fetched_twice_within_a_life(
    tmp_path: Path, market: str, name: str
) -> None:
    """And what `explain` says right after a load is how long its answer was given to live."""
    symbol, calendar = MARKETS[market], calendar_of(market)
    clock = FakeClock(wall=float(MONDAY + 86_400))
    exchange = Exchange(clock, calendar, clock.time() - 86_400.0)
    config: dict[str, Mapping[str, object]] = {
        "argo": {"state_dir": str(tmp_path), "shared": "memory://", "strict": True},
        "plugins": {
            "cache": {"early": 0, "jitter": 0, "grace": 0, "shared": False},
            "adaptive_ttl": {"error_budget": {"fetches": 0.05}, "save_interval": 0},
        },
    }
    plugins = {"adaptive_ttl": AdaptiveTtlPlugin, "cache": CachePlugin, "exchange": exchange}
    chance = random.Random(market)
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        first = await argo.outcome(name, symbol=symbol)  # computes the calendar, in a thread
        expires, served = first.expires_at or 0.0, clock.time()
        while clock.time() < MONDAY + 3.5 * 86_400:
            exchange.load = chance.choice([0.0, 0.0, 2.0, 20.0])
            before, asked_at = len(exchange.asked), clock.time()
            asking = asyncio.ensure_future(argo.outcome(name, symbol=symbol))
            await clock.advance(exchange.load)
            outcome = await asking
            if len(exchange.asked) > before:
                assert asked_at >= expires
                assert outcome.expires_at is not None
                expires, served = outcome.expires_at, asked_at
                (said,) = [
                    note.text
                    for note in argo.explain(name, symbol=symbol)
                    if note.name == "adaptive_ttl"
                ]
                if not exchange.load:
                    assert f"→ {expires - clock.time():.0f} s" in said
            else:
                assert asked_at < expires
            if not trades(calendar, clock.time()):
                closed = calendar.day(clock.time()).last_stop(clock.time())
                since = clock.time() - closed
                assert served >= closed + 1.0 or since <= 90 * MINUTE + 1.0
            await clock.advance(chance.choice([20.0, 45.0, 61.0, 300.0, 900.0]))
    assert len(exchange.asked) > 20


@pytest.mark.parametrize("name", ["bars", "mean"])
async def test_through_the_chain_a_load_that_began_before_the_close_is_not_kept_all_night(
    tmp_path: Path, name: str
) -> None:
    """Its answer may be the price of before the close, and is given up when that would be."""
    calendar = calendar_of("a stock")
    day = calendar.day(MONDAY + 86_400.0 + 60_000.0)
    clock = FakeClock(wall=day.end - 1810.0)
    exchange = Exchange(clock, calendar, clock.time() - 2 * 86_400.0)
    config: dict[str, Mapping[str, object]] = {
        "argo": {"state_dir": str(tmp_path), "shared": "memory://", "strict": True},
        "plugins": {
            "adaptive_ttl": {"error_budget": {"fetches": 0.1}, "save_interval": 0},
        },
    }
    plugins = {"adaptive_ttl": AdaptiveTtlPlugin, "exchange": exchange}
    async with Argo.open(config, clock=clock, plugins=plugins, installed=False) as argo:
        await argo.outcome("bars", symbol="AAPL")
        await clock.advance(1800.0)
        exchange.load = 20.0
        asking = asyncio.ensure_future(argo.outcome(name, symbol="AAPL"))
        await clock.advance(exchange.load)
        outcome = await asking

    assert outcome.expires_at is not None
    assert day.end < outcome.expires_at <= day.end + 60 * MINUTE
