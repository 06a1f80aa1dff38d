"""The policy ``error_budget``: what it spends, and when an answer is given up."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw_adaptive_ttl import (
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
from argo_mw_adaptive_ttl.fetch_rate import FetchRate

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

NOON = 1_718_726_400.0  # Tuesday 2024-06-18, 12:00 in New York
MINUTE = 60


class Market:
    """A stock that walks at random, fetched whenever its answer has expired."""

    def __init__(self, config: ErrorBudgetConfig, sigma: Callable[[int], float]) -> None:
        self.stats = SymbolStats()
        self.policy = ErrorBudget(config, MultiplierConfig(), self.stats)
        self.calendar = Calendars().of("AAPL", NOON)
        self.sigma = sigma
        self.fetches: list[float] = []
        self.reads = 0

    def trade(self, days: int, *, name: str = "AAPL", seed: int = 1) -> None:
        """Read once a minute for *days* of trading."""
        chance = random.Random(seed)
        day = self.calendar.day(NOON)
        starts: list[int] = []
        closes = [100.0]
        expires = 0.0
        for _ in range(days):
            for minute in range(day.minutes):
                starts.append(day.when(minute))
                move = chance.gauss(0.0, self.sigma(minute)) / 1e4
                closes.append(closes[-1] * math.exp(move))
                now = float(day.when(minute) + MINUTE + 5)
                self.reads += 1
                if now < expires or minute == day.minutes - 1:
                    continue
                self.fetches.append(now)
                bars = Bars(starts[-90:], closes[-len(starts[-90:]) :], MINUTE)
                symbol = self.stats.learn(name, bars, self.calendar, now)
                expires = now + self.decide(symbol, now)
            following = self.calendar.after(day)
            assert following is not None
            day = following

    def decide(self, symbol: Symbol, now: float, *, revealed: bool = True) -> float:
        """Seconds that an answer lives."""
        known = Situation("market_data", symbol.name, now, self.calendar, symbol, revealed)
        if revealed:
            self.policy.record_fetch(symbol)
        return self.policy.decide(known).ttl


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.25])
def test_it_keeps_to_its_budget_of_fetches(rate: float) -> None:
    market = Market(ErrorBudgetConfig(fetches=rate), lambda _: 6.0)
    market.trade(10)

    assert pytest.approx(len(market.fetches) / market.reads, rel=0.1) == rate


def test_a_budget_can_be_given_by_the_hour_or_the_day() -> None:
    shares = []
    for config in (
        ErrorBudgetConfig(fetches=0.1),
        ErrorBudgetConfig(fetches=6.0, per="hour"),
        ErrorBudgetConfig(fetches=39.0, per="day"),
    ):
        market = Market(config, lambda _: 6.0)
        market.trade(3)
        shares.append(len(market.fetches))

    assert shares[0] == shares[1] == shares[2]


def test_fetches_go_where_the_price_moves() -> None:
    """In the wild hour of the day an answer lives shorter than in the calm ones."""
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda m: 30.0 if 120 <= m < 180 else 4.0)
    market.trade(15)
    wild = sum(120 <= _minute(market, at) < 180 for at in market.fetches) / 60
    calm = sum(200 <= _minute(market, at) < 380 for at in market.fetches) / 180

    assert wild > 2.5 * calm


def _minute(market: Market, at: float) -> int:
    return market.calendar.day(at).over(at)


def test_an_error_in_basis_points_is_kept() -> None:
    """A symbol twice as wild is fetched four times as often for the same error."""
    counts = []
    for sigma in (3.0, 6.0):
        market = Market(
            ErrorBudgetConfig(error_bp=12.0), dict.fromkeys(range(390), sigma).__getitem__
        )
        market.trade(5)
        counts.append(len(market.fetches))

    assert pytest.approx(counts[1] / counts[0], rel=0.3) == 4.0


def test_a_closed_market_is_not_fetched() -> None:
    """What is loaded after the close lives until the first bar of the next session."""
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    evening = symbol.day.end + 3600.0
    following = market.calendar.after(symbol.day)
    assert following is not None

    ttl = market.decide(symbol, evening, revealed=False)

    assert pytest.approx(evening + ttl) == following.start + MINUTE + 1.0


def test_an_answer_of_the_first_moment_after_the_close_does_not_last_all_night() -> None:
    """The day's last bar arrives a second later, and would be missed until the next session."""
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    close = symbol.day.end

    assert 5.0 == market.decide(symbol, close + 0.5, revealed=False)  # the shortest life
    assert market.decide(symbol, close + 1.0, revealed=False) > 3600.0


def test_no_life_goes_on_after_the_close_for_longer_than_a_closed_market_allows() -> None:
    market = Market(ErrorBudgetConfig(fetches=0.1, max_ttl_closed=90.0), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    last = symbol.day.end - MINUTE * 5 + 30.0
    symbol.over = symbol.day.minutes - 5

    assert last + market.decide(symbol, last) == symbol.day.end + 90.0 + 1.0


def test_no_life_goes_on_beyond_the_next_sessions_first_bar() -> None:
    market = Market(ErrorBudgetConfig(error_bp=300.0, max_ttl=20 * 3600.0), lambda _: 1.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    following = market.calendar.after(symbol.day)
    assert following is not None
    symbol.over = 1

    until = symbol.day.start + MINUTE + market.decide(symbol, symbol.day.start + MINUTE)
    assert until <= following.start + MINUTE + 1.0


def test_a_life_without_a_longest_ends_with_the_night() -> None:
    lives = []
    for longest in (30 * 86_400.0, math.inf):
        market = Market(ErrorBudgetConfig(error_bp=300.0, max_ttl=longest), lambda _: 1.0)
        market.trade(2)
        symbol = market.stats.symbols["AAPL"]
        lives.append(market.decide(symbol, symbol.day.start + MINUTE))
    assert lives[0] == lives[1] < math.inf


def test_every_bar_is_fetched_until_the_first_trade_is_seen() -> None:
    """The night's move is still to come, and is larger than any in the day."""
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    following = market.calendar.after(symbol.day)
    assert following is not None
    now = float(following.when(3) + 5)
    stale = Bars([int(symbol.traded) - MINUTE], [symbol.price], MINUTE)
    symbol = market.stats.learn("AAPL", stale, market.calendar, now)

    assert symbol.awaits_first_trade
    assert following.when(4) + 1.0 == now + market.decide(symbol, now)


def test_answers_expire_just_after_a_bar_is_complete() -> None:
    """Before that nothing new can be had."""
    market = Market(ErrorBudgetConfig(fetches=0.1, bar_delay=1.0), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    now = float(symbol.day.when(symbol.over)) + 7.0

    assert pytest.approx((now + market.decide(symbol, now)) % MINUTE) == 1.0


def test_answers_of_longer_bars_expire_when_one_of_them_is_complete() -> None:
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    symbol.over, symbol.bar = 101, 15
    now = float(symbol.day.when(101)) + 5.0

    assert pytest.approx((now + market.decide(symbol, now) - symbol.day.start) % 900) == 1.0


def test_daily_bars_are_enough_to_begin() -> None:
    """They say how wild a symbol is; an answer of them lives from now on, by its budget."""
    calendar = Calendars().of("AAPL", NOON)
    stats = SymbolStats()
    policy = ErrorBudget(ErrorBudgetConfig(fetches=0.1), MultiplierConfig(), stats)
    chance = random.Random(1)
    starts = [int(NOON) - 86_400 * (90 - n) for n in range(90)]
    closes = [100.0 * math.exp(chance.gauss(0.0, 0.02)) for _ in starts]
    lives = []
    now = NOON
    for _ in range(10):
        symbol = stats.learn("AAPL", Bars(starts, closes, 86_400), calendar, now)
        policy.record_fetch(symbol)
        known = Situation("market_data", "AAPL", now, calendar, symbol, revealed=True)
        lives.append(policy.decide(known).ttl)
        now += lives[-1]

    assert all(300.0 < life < 1500.0 for life in lives)


def test_other_data_types_live_longer_in_proportion() -> None:
    market = Market(ErrorBudgetConfig(fetches=0.1), lambda _: 6.0)
    market.trade(2)
    symbol = market.stats.symbols["AAPL"]
    symbol.over = 100
    now = float(symbol.day.when(100)) + 5.0
    lives = [
        market.policy.decide(Situation(kind, "AAPL", now, market.calendar, symbol)).ttl
        for kind in ("market_data", "indicators", "consensus")
    ]

    assert lives[0] < lives[1] < lives[2]


def test_without_prices_the_multipliers_decide() -> None:
    market = Market(ErrorBudgetConfig(), lambda _: 6.0)

    assert 1200.0 == market.policy.decide(Situation("ai_reasoning", "AAPL", NOON)).ttl


def test_in_a_pool_volatile_symbols_borrow_from_calm_ones() -> None:
    config = ErrorBudgetConfig(fetches=0.1, of="pool")
    stats, calendar = SymbolStats(), Calendars().of("BTC-USD", NOON)
    policy = ErrorBudget(config, MultiplierConfig(), stats)
    counts = _pool(policy, stats, calendar, {"BTC-USD": 20.0, "LTC-USD": 5.0})

    assert counts["BTC-USD"] > 2 * counts["LTC-USD"]
    assert pytest.approx(sum(counts.values()) / (2 * 2880), rel=0.1) == 0.1


def _pool(
    policy: ErrorBudget, stats: SymbolStats, calendar: Calendar, sigmas: dict[str, float]
) -> dict[str, int]:
    chance = random.Random(2)
    begin = int(NOON) // 86_400 * 86_400
    closes = {name: [100.0] for name in sigmas}
    expires = dict.fromkeys(sigmas, 0.0)
    counts = dict.fromkeys(sigmas, 0)
    for minute in range(2880):
        now = float(begin + MINUTE * (minute + 1) + 5)
        for name, sigma in sigmas.items():
            closes[name].append(closes[name][-1] * math.exp(chance.gauss(0.0, sigma) / 1e4))
            if now < expires[name]:
                continue
            counts[name] += 1
            first = max(0, minute + 1 - 90)
            starts = [begin + MINUTE * m for m in range(first, minute + 1)]
            bars = Bars(starts, closes[name][first + 1 :], MINUTE)
            symbol = stats.learn(name, bars, calendar, now)
            policy.record_fetch(symbol)
            known = Situation("market_data", name, now, calendar, symbol, revealed=True)
            expires[name] = now + policy.decide(known).ttl
    return counts


def twins(moved: float) -> tuple[ErrorBudget, SymbolStats, float]:
    """Two known twins; one was fetched two minutes ago, the other has since moved by *moved*."""
    calendar = Calendars().of("BTC-USD", NOON)
    stats = SymbolStats()
    policy = ErrorBudget(ErrorBudgetConfig(fetches=0.25), MultiplierConfig(), stats)
    chance = random.Random(4)
    begin = int(NOON) // 86_400 * 86_400
    closes = [100.0]
    for _ in range(400):
        closes.append(closes[-1] * math.exp(chance.gauss(0.0, 8.0) / 1e4))
    names = ("A-USD", "B-USD")
    for stop in range(90, 401, 4):
        for name, late in zip(names, (0, 2), strict=True):
            end = min(400, stop + late)
            starts = [begin + MINUTE * m for m in range(end - 90, end)]
            now = float(begin + MINUTE * end)
            symbol = stats.learn(name, Bars(starts, closes[end - 90 : end], MINUTE), calendar, now)
            policy.record_fetch(symbol)
            policy.decide(Situation("market_data", name, now, calendar, symbol, revealed=True))
    last = closes[399] * math.exp(moved / 1e4)
    starts = [begin + MINUTE * m for m in range(312, 402)]
    path = [*closes[312:400], last, last]
    now = float(begin + MINUTE * 402)
    stats.learn("B-USD", Bars(starts, path, MINUTE), calendar, now)
    return policy, stats, now


def test_a_move_of_a_peer_makes_an_answer_due() -> None:
    policy, stats, now = twins(moved=150.0)

    assert policy.is_due(stats.symbols["A-USD"], now)


def test_a_peer_that_does_not_move_makes_no_answer_due() -> None:
    policy, stats, now = twins(moved=0.0)

    assert not policy.is_due(stats.symbols["A-USD"], now)


@given(
    fetches=st.integers(0, 5000),
    minutes=st.integers(0, 50_000),
    rate=st.floats(0.001, 1.0),
    pending=st.floats(0.0, 1e4),
)
def test_the_correction_of_the_fetch_rate_is_bounded(
    fetches: int, minutes: int, rate: float, pending: float
) -> None:
    """However far off its budget it is, the correction is bounded, and has the right sign."""
    pace = FetchRate(minutes=minutes, fetches=fetches, due=rate * minutes)
    neutral = 5.0 / rate
    scale = pace.for_rate(rate, 25.0, pending)

    assert neutral / 21 <= scale <= neutral * 21
    if fetches > rate * (minutes + pending):
        assert scale >= neutral
    else:
        assert scale <= neutral


def test_an_account_that_begins_at_the_open_does_not_take_it_for_the_day() -> None:
    """After the first hour, twice as wild as the day, the mean of the day is known all the same."""
    stats = SymbolStats()
    policy = ErrorBudget(ErrorBudgetConfig(fetches=0.1), MultiplierConfig(), stats)
    calendar = Calendars().of("AAPL", NOON)
    day = calendar.day(NOON)
    sigmas = [8.0 * day.shape.usual[bucket] for bucket in day.shape.bucket[:60]]
    chance = random.Random(3)
    starts = [day.when(minute) for minute in range(60)]
    closes = [100.0]
    for sigma in sigmas:
        closes.append(closes[-1] * math.exp(chance.gauss(0.0, sigma) / 1e4))
    for over in range(10, 61, 10):
        known = Bars(starts[:over], closes[1 : over + 1], MINUTE)
        symbol = stats.learn("AAPL", known, calendar, day.when(over) + 1.0)
        policy.record_fetch(symbol)

    assert sum(sigmas) / 60 > 1.6 * 8.0
    assert pytest.approx(8.0, rel=0.3) == symbol.fetch_rate.sigma


def test_no_life_is_longer_than_four_spacings_even_while_peers_stay_quiet() -> None:
    policy, stats, now = twins(moved=0.0)
    symbol = stats.symbols["A-USD"]
    symbol.shared_variance, symbol.peer_coverage = 0.95, 1.0
    decision = policy.decide(Situation("market_data", "A-USD", now, symbol.calendar, symbol))

    assert decision.recheck is not None
    assert decision.ttl <= 4 * 4 * MINUTE + 1.0
