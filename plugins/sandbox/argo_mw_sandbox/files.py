"""A user's own bars, from a folder of CSV and Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from attrs import evolve, frozen

from argo_mw_sandbox.bars import DAY, Bars, Seconds
from argo_mw_sandbox.instruments import (
    BridgedInstrument,
    DayMemory,
    Instrument,
    MinuteInstrument,
)
from argo_mw_sandbox.reading import read_bars_file
from argo_mw_sandbox.sessions import CRYPTO, NEW_YORK, STOCKS, Market

SUFFIXES = (".csv", ".csv.gz", ".parquet")
DIGITS = 4
"""Decimals of the minutes that are drawn for daily files."""


@frozen(eq=False)
class BarTable:
    """One file's bars.

    Attributes:
        symbol: What they are bars of.
        market: Where that trades.
        bars: The bars.
        daily: Whether they are a day apart, or more.
        days: The local day of each bar, counted since 1970.
    """

    symbol: str
    market: Market
    bars: Bars
    daily: bool
    days: Seconds

    @property
    def sessions(self) -> Seconds:
        """The days on which there are bars."""
        return np.unique(self.days)


def read_folder(directory: Path, *, align: bool = False) -> list[BarTable]:
    """Read one ``SYMBOL.csv``, ``.csv.gz`` or ``.parquet`` a symbol.

    What follows an underscore in the name is a remark (``AAPL_1m.csv.gz``); of several files of a
    symbol the one that ends last is used. Columns are ``time`` (UTC, start of the bar), ``open``,
    ``high``, ``low``, ``close`` and ``volume``.

    Args:
        directory: Where the files are.
        align: Whether to re-date them so that all end on one day; see :func:`redate`.

    Raises:
        ValueError: The directory has no such file, or one cannot be read; it is named.
    """
    paths = [path for path in sorted(directory.glob("[!.]*")) if _suffix(path)]
    if not paths:
        msg = f"no {', '.join(SUFFIXES)} files in {directory}: point --data at a folder with bars"
        raise ValueError(msg)
    tables: dict[str, BarTable] = {}
    for table in map(read_file, paths):
        known = tables.get(table.symbol)
        if known is None or known.bars.time[-1] < table.bars.time[-1]:
            tables[table.symbol] = table
    return redate(list(tables.values())) if align else list(tables.values())


def read_file(path: Path) -> BarTable:
    """Read one symbol's bars.

    Raises:
        ValueError: The file is not a table of bars.
    """
    symbol = _symbol(path)
    bars = read_bars_file(path)
    daily = len(bars) == 1 or int(np.median(np.diff(bars.time))) >= DAY // 2
    market = _market(symbol, bars.time, daily)
    if daily:
        return BarTable(symbol, market, bars, daily, bars.time // DAY)
    days = [market.day_of(instant) for instant in bars.time.tolist()]
    return BarTable(symbol, market, bars, daily, np.array(days, np.int64))


def _suffix(path: Path) -> str:
    """Return the suffix by which *path* is known for a file of bars, or ""."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def _symbol(path: Path) -> str:
    symbol = path.name[: -len(_suffix(path))].partition("_")[0].strip().upper()
    if not symbol:
        msg = f"cannot tell which symbol's bars are in {path}: begin its name with the symbol"
        raise ValueError(msg)
    return symbol


def redate(tables: Sequence[BarTable]) -> list[BarTable]:
    """Lay every table's last days on the last sessions of the newest one.

    The times of the day stay. Gaps of days close: what was the day before in the file is the
    session before in the replay. Stocks follow the sessions of the newest stock file, and before
    it begins all weekdays; crypto trades every day until the same end.
    """
    end = max(int(table.sessions[-1]) for table in tables)
    newest = max(
        (table for table in tables if table.market is STOCKS),
        key=lambda table: (int(table.sessions[-1]), len(table.sessions)),
        default=None,
    )
    longest = max(len(table.sessions) for table in tables)
    every_day = np.arange(end - longest + 1, end + 1)
    stock_days = every_day if newest is None else _stock_days(newest.sessions, longest)
    return [_move(table, every_day if table.market is CRYPTO else stock_days) for table in tables]


def _stock_days(known: Seconds, count: int) -> Seconds:
    before = np.arange(int(known[0]) - 2 * count - 7, int(known[0]))
    weekdays = before[(before + 3) % 7 < 5]
    return np.concatenate((weekdays, known))[-count:]


def _move(table: BarTable, calendar: Seconds) -> BarTable:
    sessions, position = np.unique(table.days, return_inverse=True)
    target = calendar[-len(sessions) :]
    if table.daily:
        time = table.bars.time + (target - sessions)[position] * DAY
    else:
        midnight = table.market.midnight
        shift = [
            midnight(b) - midnight(a)
            for a, b in zip(sessions.tolist(), target.tolist(), strict=True)
        ]
        time = table.bars.time + np.array(shift, np.int64)[position]
    return evolve(table, bars=evolve(table.bars, time=time), days=target[position])


def instrument(table: BarTable, memory: DayMemory, seed: int) -> Instrument:
    """Return what a table's symbol is quoted from: recorded minutes, or minutes drawn for its days.

    Args:
        table: The bars.
        memory: Where drawn minutes are remembered.
        seed: What drawn minutes depend on.
    """
    if not table.daily:
        return MinuteInstrument(table.symbol, table.market, table.bars)
    return BridgedInstrument(
        table.symbol,
        table.market,
        "file",
        days=table.days,
        daily=table.bars,
        memory=memory,
        seed=seed,
        digits=DIGITS,
    )


def _market(symbol: str, time: Seconds, daily: bool) -> Market:
    """Crypto trades on weekends, and at night: stocks never do from 20:00 to 04:00 in New York."""
    if "-" in symbol:
        return CRYPTO
    sample = time[:: max(len(time) // 500, 1)]
    if daily:
        return CRYPTO if bool(((sample // DAY + 3) % 7 >= 5).any()) else STOCKS
    local = pd.to_datetime(sample, unit="s", utc=True).tz_convert(NEW_YORK)
    return CRYPTO if bool(((local.hour >= 20) | (local.hour < 4)).any()) else STOCKS
