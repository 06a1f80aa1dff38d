"""What is learned from answers: volatility, regimes, the common factor, bars of every form."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from argo_mw_adaptive_ttl import (
    Bars,
    Calendar,
    Calendars,
    Efficiency,
    Regime,
    SymbolStats,
    read_bars,
)
from argo_mw_adaptive_ttl.factor_model import FactorModel
from argo_mw_adaptive_ttl.regime import Thresholds
from argo_mw_adaptive_ttl.volatility import Volatility

# exchange_calendars still reads frames in a way that pandas 3.1 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:Series.values returning")

MIDNIGHT = 1_718_668_800  # a day of UTC begins
MINUTE = 60


@pytest.fixture
def calendar() -> Calendar:
    return Calendars().of("BTC-USD", float(MIDNIGHT))


def prices(sigmas: Sequence[float], seed: int = 1, start: float = 100.0) -> list[float]:
    chance = random.Random(seed)
    found = []
    for sigma in sigmas:
        start *= math.exp(chance.gauss(0.0, sigma) / 1e4)
        found.append(start)
    return found


def window(closes: Sequence[float], stop: int) -> Bars:
    """The last 90 of the first *stop* minutes after midnight."""
    first = max(0, stop - 90)
    starts = tuple(MIDNIGHT + MINUTE * minute for minute in range(first, stop))
    return Bars(starts, tuple(closes[first:stop]), MINUTE)


def after(minutes: int) -> float:
    return float(MIDNIGHT + MINUTE * minutes)


def test_sigma_is_estimated(calendar: Calendar) -> None:
    stats = SymbolStats()
    closes = prices([8.0] * 1400)
    for stop in range(60, 1400, 10):
        symbol = stats.learn("BTC-USD", window(closes, stop), calendar, after(stop))

    assert pytest.approx(math.sqrt(symbol.volatility.level), rel=0.25) == 8.0


def test_sigma_rises_within_minutes_of_a_storm(calendar: Calendar) -> None:
    stats = SymbolStats()
    closes = prices([5.0] * 600 + [40.0] * 20)
    for stop in (*range(60, 601, 10), 620):
        symbol = stats.learn("BTC-USD", window(closes, stop), calendar, after(stop))

    assert math.sqrt(symbol.variance(symbol.day, 620)) > 20.0


def test_every_minute_is_learned_once(calendar: Calendar) -> None:
    closes = prices([8.0] * 300)
    once, often = SymbolStats(), SymbolStats()
    for stop in range(90, 300, 10):
        answer = window(closes, stop)
        once.learn("BTC-USD", answer, calendar, after(stop))
        for _ in range(3):
            often.learn("BTC-USD", answer, calendar, after(stop))

    assert once.symbols["BTC-USD"].volatility == often.symbols["BTC-USD"].volatility


def test_an_incomplete_bar_is_not_learned(calendar: Calendar) -> None:
    """Its close is of this very moment, and would be counted again when it is complete."""
    closes = prices([8.0] * 120)
    whole, early = SymbolStats(), SymbolStats()
    bars = window(closes, 100)
    whole.learn("BTC-USD", bars, calendar, after(100))
    more = Bars((*bars.starts, MIDNIGHT + 100 * MINUTE), (*bars.closes, closes[100]), MINUTE)
    early.learn("BTC-USD", more, calendar, after(100) + 30)

    assert whole.symbols["BTC-USD"].volatility == early.symbols["BTC-USD"].volatility


def test_no_move_is_learned_across_a_gap(calendar: Calendar) -> None:
    """A symbol that was not fetched for hours has not jumped within a minute."""
    closes = prices([5.0] * 200)
    late = [close * 1.5 for close in prices([5.0] * 1000)]
    stats = SymbolStats()
    stats.learn("BTC-USD", window(closes, 200), calendar, after(200))
    symbol = stats.learn("BTC-USD", window(late, 1000), calendar, after(1000))

    assert math.sqrt(symbol.volatility.level) < 10.0


def test_the_move_over_night_is_not_learned_as_a_minute() -> None:
    """A stock that opens 10 % higher has not moved by 10 % in a minute of trading."""
    calendar = Calendars().of("AAPL", 1_718_726_400.0)
    day = calendar.day(1_718_726_400.0)
    following = calendar.after(day)
    assert following is not None
    closes = prices([5.0] * 390)
    stats = SymbolStats()
    last = range(300, 390)
    evening = Bars([day.when(m) for m in last], closes[300:], MINUTE)
    stats.learn("AAPL", evening, calendar, float(day.end))
    morning = Bars([following.start], [closes[-1] * 1.1], MINUTE)
    symbol = stats.learn("AAPL", morning, calendar, float(following.when(1)))

    assert math.sqrt(symbol.volatility.level) < 10.0
    assert not symbol.awaits_first_trade


def test_the_time_of_day_is_learned(calendar: Calendar) -> None:
    """Days whose second hour is five times as wild make that hour's profile stand out."""
    wild = [2.0] * 120 + [10.0] * 120 + [2.0] * 1200
    closes = prices(wild * 4)
    stats = SymbolStats(forget_after=1e9)
    for stop in range(60, len(closes), 10):
        symbol = stats.learn("BTC-USD", window(closes, stop), calendar, after(stop))
    day = symbol.day

    assert symbol.variance(day, 180) > 4 * symbol.variance(day, 600)


def test_symbols_are_forgotten_oldest_first(calendar: Calendar) -> None:
    stats = SymbolStats(max_symbols=2)
    for name in ("A-USD", "B-USD", "A-USD", "C-USD"):
        stats.learn(name, window(prices([5.0] * 90), 90), calendar, after(90))

    assert ["A-USD", "C-USD"] == list(stats.symbols)


def test_a_symbol_unseen_for_long_is_learned_anew(calendar: Calendar) -> None:
    stats = SymbolStats(forget_after=3600.0)
    closes = prices([50.0] * 90)
    stats.learn("BTC-USD", window(closes, 90), calendar, after(90))
    quiet = prices([1.0] * 400)
    symbol = stats.learn("BTC-USD", window(quiet, 400), calendar, after(400))

    assert math.sqrt(symbol.volatility.level) < 2.0


def test_daily_bars_seed_the_level(calendar: Calendar) -> None:
    closes = prices([300.0] * 90)
    bars = Bars([MIDNIGHT - 86_400 * (90 - n) for n in range(90)], closes, 86_400)
    symbol = SymbolStats().learn("BTC-USD", bars, calendar, float(MIDNIGHT))

    assert pytest.approx(0.03 * math.sqrt(0.75), rel=0.25) == symbol.sigma_per_day


def test_a_jump_does_not_dominate_for_days() -> None:
    volatility = Volatility()
    for _ in range(500):
        volatility.learn(5.0, 0, 1.0)
    volatility.settle()
    volatility.learn(5000.0, 0, 1.0)
    volatility.settle()

    assert math.sqrt(volatility.level) < 40.0


def test_peers_forecast_moves() -> None:
    """Of two symbols with one factor, the one that was fetched foretells the other."""
    factor = FactorModel()
    chance = random.Random(3)
    forecast = []
    for minute in range(200):
        common = chance.gauss(0.0, 1.0)
        factor.add(minute, 0.9 * common + chance.gauss(0.0, math.sqrt(1 - 0.81)), 0.9)
        forecast.append((common, factor.mean(minute)))
    explained = sum(a * b for a, b in forecast) / sum(a * a for a, _ in forecast)

    assert pytest.approx(explained, abs=0.1) == 0.81
    assert pytest.approx(factor.certainty(199), abs=0.01) == 0.81


def test_an_old_minute_in_the_ring_is_not_used() -> None:
    factor = FactorModel()
    factor.add(7, 3.0, 0.9)

    assert 0.0 == factor.mean(7 + 256)
    assert 0.0 == factor.certainty(7 + 256)


def test_the_loading_is_learned(calendar: Calendar) -> None:
    """Twins come to be known as twins, strangers as strangers."""
    chance = random.Random(5)
    moves = [chance.gauss(0.0, 8.0) for _ in range(1400)]
    twin = [100 * math.exp(sum(moves[: n + 1]) / 1e4) for n in range(1400)]
    stranger = prices([8.0] * 1400, seed=6)
    stats = SymbolStats()
    for stop in range(60, 1390, 7):
        stats.learn("A-USD", window(twin, stop), calendar, after(stop))
        stats.learn("B-USD", window(twin, stop + 3), calendar, after(stop + 3))
        stats.learn("C-USD", window(stranger, stop + 5), calendar, after(stop + 5))

    assert stats.symbols["A-USD"].loading(0.5) > 0.8
    assert stats.symbols["B-USD"].loading(0.5) > 0.8
    assert stats.symbols["C-USD"].loading(0.5) < 0.5


def judged(moves: Sequence[float], trends: Sequence[float]) -> list[Regime]:
    detector = Efficiency(Thresholds(minutes=2.0))
    found = []
    for move, trend in zip(moves, trends, strict=True):
        detector.learn(move, 5.0, trend)
        found.append(detector.regime)
    return found


def test_the_regime_is_unknown_at_first() -> None:
    assert [Regime.UNKNOWN] == judged([1.0], [9.0])


def test_regimes_outlive_their_threshold_within_its_slack() -> None:
    """Between 1.2 and 1.5 a storm that has begun goes on, and none begins."""
    zigzag = [5.0, -5.0] * 4
    assert Regime.UNKNOWN == judged(zigzag[:2], [1.0, 1.4])[-1]
    assert Regime.VOLATILE == judged(zigzag[:3], [1.0, 1.6, 1.4])[-1]
    assert Regime.UNKNOWN == judged(zigzag[:4], [1.0, 1.6, 1.4, 1.1])[-1]


def test_a_trend_has_a_net_move_and_a_consolidation_has_none() -> None:
    assert Regime.TRENDING == judged([5.0] * 8, [1.0] * 8)[-1]
    assert Regime.CONSOLIDATION == judged([5.0, -5.0] * 4, [0.6] * 8)[-1]


def row(minute: int, close: float) -> dict[str, object]:
    time = datetime.fromtimestamp(MIDNIGHT + 60 * minute, UTC)
    return {"time": time, "open": close, "close": close}


def test_bars_are_read_from_records() -> None:
    assert Bars([MIDNIGHT, MIDNIGHT + 60], [1.0, 2.0], 60) == read_bars([row(0, 1.0), row(1, 2.0)])


def test_bars_are_read_from_a_vendors_records() -> None:
    newest_first = [{"t": 1000 * (MIDNIGHT + 60), "c": 2.0}, {"t": 1000 * MIDNIGHT, "c": 1.0}]

    assert Bars([MIDNIGHT, MIDNIGHT + 60], [1.0, 2.0], 60) == read_bars({"bars": newest_first})


def test_bars_are_read_from_a_frame_by_column_or_index() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([row(0, 1.0), row(5, 2.0)])
    expected = Bars([MIDNIGHT, MIDNIGHT + 300], [1.0, 2.0], 300)

    assert expected == read_bars(frame)
    assert expected == read_bars(frame.set_index("time"))


@pytest.mark.parametrize(
    "value",
    [
        "text",
        7,
        None,
        [],
        [1, 2],
        [{"close": 1.0}],
        [{"time": 0}],
        {"news": []},
        [{"t": "x", "c": 1}],
        [{"t": float("inf"), "c": 1.0}],
        [{"t": MIDNIGHT, "c": float("inf")}],
        [{"t": MIDNIGHT, "c": float("nan")}],
    ],
)
def test_values_without_bars_are_ignored(value: object) -> None:
    assert read_bars(value) is None


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_times_are_read_in_every_unit(unit: int) -> None:
    bars = [{"t": unit * (MIDNIGHT + 60 * i), "c": 1.0} for i in range(2)]

    assert Bars([MIDNIGHT, MIDNIGHT + 60], [1.0, 1.0], 60) == read_bars(bars)


def test_an_answer_with_a_bar_of_the_future_teaches_nothing() -> None:
    bars = [row(0, 100.0), row(5, 999.0)]

    assert read_bars(bars, MIDNIGHT + 240.0) is not None
    assert read_bars(bars, MIDNIGHT + 239.0) is None


def test_times_without_a_zone_are_ignored() -> None:
    assert read_bars([{"time": datetime(2024, 6, 18), "close": 1.0}]) is None


@pytest.mark.parametrize("step", [60, 86_400])
def test_misprints_of_any_size_do_not_break_learning(step: int) -> None:
    """An observer that fails is removed: one answer would end all learning."""
    now = MIDNIGHT + 10.0 * 86_400
    first = int(now) - 4 * step
    closes = [100.0, 1e308, 5e-324, 100.0]
    bars = Bars([first + step * i for i in range(4)], closes, step)
    symbol = SymbolStats().learn("BTC-USD", bars, Calendars().of("BTC-USD", now), now)

    assert symbol.volatility.level > 0.0
    assert symbol.sigma_per_day is not None
    assert math.isfinite(symbol.sigma_per_day)


def test_how_strong_the_daily_profile_is_is_known_within_weeks() -> None:
    """A stock that moves at noon as at the open shows it long before each bucket has."""
    calendar = Calendars().of("AAPL", 1_718_726_400.0)
    shape = calendar.day(1_718_726_400.0).shape
    volatility = Volatility()
    chance = random.Random(7)
    for _ in range(20):
        for bucket in shape.bucket:
            volatility.profile_of(shape)
            volatility.learn(chance.gauss(0.0, 5.0), bucket, shape.prior[bucket])
        volatility.settle()
    squares, _ = volatility.profile_of(shape)

    assert shape.prior[shape.bucket[0]] > 8.0
    assert squares[shape.bucket[0]] < 2.5


def test_a_pool_that_is_unseen_for_long_is_begun_anew(calendar: Calendar) -> None:
    """What its symbols spent years ago, when prices moved less, says nothing of now."""
    stats = SymbolStats(forget_after=3600.0)
    closes = prices([5.0] * 400)
    stats.learn("BTC-USD", window(closes, 90), calendar, after(90))
    stats.learn("LTC-USD", window(closes, 95), calendar, after(95))
    stats.pool(calendar).record(90, 0.1, 90, 450.0)
    stats.learn("BTC-USD", window(closes, 400), calendar, after(400))

    assert ["BTC-USD"] == list(stats.symbols)
    assert 0 == stats.pool(calendar).fetches
    assert 1 == stats.members[calendar.name]
