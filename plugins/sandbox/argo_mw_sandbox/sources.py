"""Sources of built-in prices: real days, and labelled synthetic symbols."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from functools import cache, cached_property

import numpy as np
from bokeh_sampledata import stocks

from argo_mw_sandbox.bars import Bars, Floats, Seconds
from argo_mw_sandbox.instruments import (
    BridgedInstrument,
    DayMemory,
    Instrument,
)
from argo_mw_sandbox.sessions import CRYPTO, EPOCH, STOCKS, Market

REAL_SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")
OVERLAP = (date(2012, 5, 18), date(2013, 3, 1))
"""First and last day on which all real symbols traded."""

COLUMNS = ("open", "high", "low", "close", "volume")

SYNTHETIC_COUNT = 200
SYNTHETIC_DAYS = ((date(2000, 1, 3) - EPOCH).days, (date(2031, 1, 1) - EPOCH).days)
CALM, STORMY = 0.008, 0.035
"""Standard deviation of a day's log return in each regime."""

PULL = 0.999
"""What is left of a log price's distance from its level after a day."""

REGIME_DAYS = {CALM: 40.0, STORMY: 12.0}
"""Mean length of a regime, in days."""


def real(memory: DayMemory, seed: int) -> Iterator[Instrument]:
    """Return daily prices of five stocks, 2000-03-01 to 2013-03-01, from ``bokeh_sampledata``.

    Prices are as traded: not adjusted for splits or dividends.
    """
    for symbol in REAL_SYMBOLS:
        days, daily = _real_days(symbol)
        yield BridgedInstrument(
            symbol, STOCKS, "real", days=days, daily=daily, memory=memory, seed=seed
        )


@cache
def _real_days(symbol: str) -> tuple[Seconds, Bars]:
    table = getattr(stocks, symbol)
    days = np.array([(date.fromisoformat(d) - EPOCH).days for d in table["date"]], np.int64)
    open_, high, low, close, volume = (np.array(table[name], np.float64) for name in COLUMNS)
    high = np.maximum(high, np.maximum(open_, close))
    low = np.minimum(low, np.minimum(open_, close))
    for shared in (days, open_, high, low, close, volume):
        shared.flags.writeable = False
    return days, Bars(days, open_, high, low, close, volume)


def synthetic(memory: DayMemory, seed: int) -> Iterator[Instrument]:
    """200 invented symbols, calm and stormy by turns: BTC-USD, ETH-USD and SYN001 to SYN198."""
    names = ["BTC-USD", "ETH-USD", *(f"SYN{n:03d}" for n in range(1, SYNTHETIC_COUNT - 1))]
    for index, name in enumerate(names):
        yield SyntheticInstrument(name, CRYPTO if index < 2 else STOCKS, memory, (seed, index))


class SyntheticInstrument:
    """A synthetic symbol, whose thirty years are drawn when they are first asked for."""

    source = "synthetic"
    minutes_source = "bridge"

    def __init__(
        self, symbol: str, market: Market, memory: DayMemory, seed: tuple[int, int]
    ) -> None:
        self.symbol = symbol
        self.market = market
        self._memory = memory
        self._seed = seed

    @property
    def daily(self) -> Bars:
        """One bar a day."""
        return self._drawn.daily

    @property
    def complete(self) -> Seconds:
        """When each day's bar is complete, in seconds since the epoch."""
        return self._drawn.complete

    def minutes(self, row: int) -> Bars:
        """Return the minute bars of the day in row *row*."""
        return self._drawn.minutes(row)

    @cached_property
    def _drawn(self) -> BridgedInstrument:
        days, daily = synthetic_days(self.market, self._seed)
        return BridgedInstrument(
            self.symbol,
            self.market,
            self.source,
            days=days,
            daily=daily,
            memory=self._memory,
            seed=self._seed[0],
        )


def synthetic_days(market: Market, seed: tuple[int, int]) -> tuple[Seconds, Bars]:
    """Draw a symbol's days: a mean-reverting random walk whose volatility has two regimes."""
    rng = np.random.default_rng(seed)
    days = np.arange(*SYNTHETIC_DAYS, dtype=np.int64)
    if market is STOCKS:
        days = days[(days + 3) % 7 < 5]
    count = len(days)
    sigma = _regimes(count, rng) * (2.0 if market is CRYPTO else 1.0)
    shocks = rng.normal(0.0, 1.0, count) * sigma
    decay = PULL ** np.arange(count)
    level = rng.uniform(2_000, 20_000) if market is CRYPTO else rng.uniform(15, 400)
    close = level * np.exp(decay * np.cumsum(shocks / decay))
    gaps = np.exp(rng.normal(0.0, 0.2, count) * sigma)
    open_ = np.concatenate(([level], close[:-1])) * gaps
    reach = np.abs(rng.normal(0.0, 0.5, (2, count))) * sigma
    high = np.maximum(open_, close) * np.exp(reach[0])
    low = np.minimum(open_, close) * np.exp(-reach[1])
    volume = np.round(1e6 * rng.lognormal(0.0, 0.4, count) * (sigma / CALM))
    prices = [np.round(column, 2) for column in (open_, high, low, close)]
    return days, Bars(days, prices[0], prices[1], prices[2], prices[3], volume)


def _regimes(count: int, rng: np.random.Generator) -> Floats:
    sigma = np.empty(count)
    at, state = 0, CALM if rng.random() < 0.7 else STORMY
    while at < count:
        length = 1 + int(rng.exponential(REGIME_DAYS[state]))
        sigma[at : at + length] = state
        at, state = at + length, STORMY if state == CALM else CALM
    return sigma
