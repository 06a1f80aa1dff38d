"""Thin markets: what is not traded does not move, and few trades are little evidence."""

from __future__ import annotations

import math
import random
import statistics
from itertools import pairwise

import pytest

from argo_mw_adaptive_ttl import (
    Bars,
    Calendar,
    Calendars,
    ErrorBudget,
    ErrorBudgetConfig,
    MultiplierConfig,
    Situation,
    SymbolStats,
    read_bars,
)
from argo_mw_adaptive_ttl.activity import Activity, urgency
from argo_mw_adaptive_ttl.asset_class import COIN as A_COIN
from argo_mw_adaptive_ttl.asset_class import CURRENCY, OTHER, PEGGED, STOCK, class_of
from argo_mw_adaptive_ttl.daytime import shape_of
from argo_mw_adaptive_ttl.night import USUAL, Night

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

NOON = 1_718_726_400.0  # Tuesday 2024-06-18, 12:00 in New York
MINUTE = 60


class ThinStock:
    """A stock whose value walks, and which is traded in one minute of twenty; read each minute."""

    def __init__(self, rate: float = 0.05, *, sigma: float = 5.0, night: float = 60.0) -> None:
        self.stats = SymbolStats()
        self.policy = ErrorBudget(ErrorBudgetConfig(fetches=0.1), MultiplierConfig(), self.stats)
        self.calendar: Calendar = Calendars().of("THIN", NOON)
        self.rate, self.sigma, self.night = rate, sigma, night
        self.fetches: list[list[int]] = []
        self.first_trades: list[int] = []

    def trade(self, days: int, seed: int = 1) -> None:
        chance = random.Random(seed)
        day = self.calendar.day(NOON)
        starts, closes = [int(day.start) - 3600], [100.0]
        value, expires = 0.0, 0.0
        for _ in range(days):
            value += chance.gauss(0.0, self.night)
            self.fetches.append([])
            self.first_trades.append(day.minutes)
            for minute in range(day.minutes):
                value += chance.gauss(0.0, self.sigma)
                if chance.random() < self.rate:
                    starts.append(day.when(minute))
                    closes.append(100.0 * math.exp(value / 1e4))
                    self.first_trades[-1] = min(self.first_trades[-1], minute)
                now = float(day.when(minute) + MINUTE + 5)
                if now < expires or minute == day.minutes - 1:
                    continue
                self.fetches[-1].append(minute)
                bars = Bars(starts[-90:], closes[-90:], MINUTE)
                symbol = self.stats.learn("THIN", bars, self.calendar, now)
                self.policy.record_fetch(symbol)
                known = Situation("market_data", "THIN", now, self.calendar, symbol, True)
                expires = now + self.policy.decide(known).ttl
            following = self.calendar.after(day)
            assert following is not None
            day = following


def test_fetches_of_a_thin_stock_keep_to_the_budget_and_no_day_starves() -> None:
    stock = ThinStock()
    stock.trade(40)
    counts = [len(day) for day in stock.fetches]

    assert pytest.approx(statistics.fmean(counts), rel=0.1) == 39.0
    assert min(counts[1:]) >= 20


def test_fetches_of_a_thin_stock_are_spread_evenly() -> None:
    """Chance alone makes one of its trades look wild; life for life that is no reason to hurry."""
    stock = ThinStock()
    stock.trade(40)
    lives = [b - a for day in stock.fetches[5:] for a, b in pairwise(day)]

    assert statistics.stdev(lives) / statistics.fmean(lives) < 0.45


def test_few_fetches_are_spent_before_the_first_trade() -> None:
    """Nothing is new then; to look each minute would take half of the day's share."""
    stock = ThinStock(0.02)
    stock.trade(40)
    days = list(zip(stock.fetches, stock.first_trades, strict=True))[5:]
    before = sum(minute < first for day, first in days for minute in day)
    waited = sum(first for _, first in days)

    assert before < 0.35 * waited
    assert before < 0.25 * sum(len(day) for day, _ in days)


def test_the_rate_of_trades_is_learned_apart_from_the_size_of_moves() -> None:
    for rate in (0.05, 0.4):
        stock = ThinStock(rate)
        stock.trade(30)
        symbol = stock.stats.symbols["THIN"]

        assert pytest.approx(symbol.activity.rate, rel=0.25) == rate
        assert pytest.approx(math.sqrt(symbol.volatility.level), rel=0.35) == 5.0


def test_a_rate_begins_with_a_prior_and_gives_way() -> None:
    activity = Activity(prior=0.8)
    shape = shape_of(((1440, "flat"),))
    first = activity.rate_at(shape, 0)
    for _ in range(600):
        activity.learn(shape.bucket[0], traded=False)

    assert pytest.approx(first, rel=0.01) == 0.8
    assert activity.rate < 0.05


def test_a_long_silence_makes_a_price_urgent_and_a_fresh_trade_does_not() -> None:
    fresh, usual, long = (urgency(0.05, silent, 10.0) for silent in (0.0, 15.0, 80.0))

    assert fresh < usual < long


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3, 0.7])
def test_the_urgency_of_all_silences_is_one_in_the_mean(rate: float) -> None:
    mean = sum(
        rate * (1.0 - rate) ** silent * urgency(rate, silent, 10.0) for silent in range(4000)
    )

    assert pytest.approx(mean, abs=0.02) == 1.0


def test_a_symbol_that_trades_each_minute_has_no_urgency() -> None:
    assert pytest.approx(urgency(1.0, 0.0, 10.0)) == 1.0


def test_nights_are_learned_as_a_share_of_days() -> None:
    night = Night()
    assert USUAL == night.share
    for _ in range(200):
        night.learn(50.0, 10_000.0)

    assert pytest.approx(night.share, rel=0.1) == 0.25


def test_the_length_of_a_thin_symbols_bars_is_what_divides_their_distances() -> None:
    """No two of them need be neighbours."""
    rows = [{"t": int(NOON) + MINUTE * at, "c": 10.0} for at in (0, 7, 12, 21)]
    bars = read_bars(rows)

    assert bars is not None
    assert MINUTE == bars.step


@pytest.mark.parametrize(
    ("symbol", "calendar", "kind"),
    [
        ("TPL", "XNYS", STOCK),
        ("VOD.L", "XLON", STOCK),
        ("BTC-USD", "24/7", A_COIN),
        ("DOGEUSDT", "24/7", A_COIN),
        ("USDC-USD", "24/7", PEGGED),
        ("EURUSD=X", "24/5", CURRENCY),
        ("ES=F", "unknown", OTHER),
    ],
)
def test_a_symbol_begins_with_what_is_usual_in_its_class(
    symbol: str, calendar: str, kind: object
) -> None:
    assert kind == class_of(symbol, calendar)


def test_a_first_answer_with_one_bar_lives_by_its_class() -> None:
    """A coin moves twice as fast as a stock; nothing else is known of them yet."""
    lives = {}
    for name in ("BTC-USD", "USDC-USD"):
        stats = SymbolStats()
        config = ErrorBudgetConfig(error_bp=10.0)
        policy = ErrorBudget(config, MultiplierConfig(), stats)
        calendar = Calendars().of(name, NOON)
        bars = Bars([int(NOON) - MINUTE], [100.0], MINUTE)
        symbol = stats.learn(name, bars, calendar, NOON)
        known = Situation("market_data", name, NOON, calendar, symbol, True)
        lives[name] = policy.decide(known).ttl

    assert lives["BTC-USD"] < 300.0 < lives["USDC-USD"]


def known_stock() -> tuple[ThinStock, Situation]:
    stock = ThinStock()
    stock.trade(5)
    symbol = stock.stats.symbols["THIN"]
    now = float(symbol.day.when(120)) + 5.0
    symbol.over, symbol.gapped = 120, False
    return stock, Situation("market_data", "THIN", now, stock.calendar, symbol, True)


def test_the_reason_tells_trades_budget_score_and_who_decides() -> None:
    stock, situation = known_stock()
    why = stock.policy.decide(situation).why()

    assert "%/day" in why
    assert "trades/min" in why
    assert "% of the fetches due are spent" in why
    assert "of fixed spacing's (score" in why
    assert "the model decides" in why


def test_fixed_spacing_decides_where_the_model_has_lost_its_trial() -> None:
    stock, situation = known_stock()
    symbol = stock.stats.symbols["THIN"]
    symbol.urgency = 9.0
    hurried = stock.policy.decide(situation).ttl
    symbol.fetch_rate.trial.wait = 3.0
    spaced = stock.policy.decide(situation)

    assert hurried < 0.6 * spaced.ttl
    assert 480.0 <= spaced.ttl <= 780.0
    assert spaced.recheck is None
    assert "fixed spacing decides" in spaced.why()
