"""Reading one file of bars: unusual but clear input is accepted, errors name their row."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from argo_mw_sandbox.bars import Bars

PRICES = ("open", "high", "low", "close")
COLUMNS = ("time", *PRICES, "volume")
_PARQUET = ".parquet"
_FIRST_LINE = 2
"""The line of a CSV file's first row: the one after its header."""


def read_bars_file(path: Path) -> Bars:
    """Read the bars of a CSV, gzipped CSV or Parquet file, whatever the order of its rows.

    Names of columns may be in any case. Times are ISO 8601; without a zone they are UTC. Of
    several rows of one time the last counts. A row with a time and nothing else is a time without
    a trade.

    Raises:
        ValueError: The file is not a table of bars; it is named, with the first row that is wrong.
    """
    parquet = path.name.lower().endswith(_PARQUET)
    try:
        # Blank lines are kept, so that a row's number tells its line.
        table = pd.read_parquet(path) if parquet else pd.read_csv(path, skip_blank_lines=False)
        where = "row" if parquet else "line"
        return _bars(_columns(table), where, 1 if parquet else _FIRST_LINE)
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        msg = f"cannot read bars from {path}: {' '.join(str(error).split())}"
        raise ValueError(msg) from error


def _columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of bars, under their own names, numbered by row."""
    table = table.reset_index(drop=str(table.index.name).strip().lower() != "time")
    there = [str(name).strip().lower() for name in table.columns]
    missing = [name for name in COLUMNS if name not in there]
    if missing:
        msg = f"column {', '.join(missing)} is missing; it has {', '.join(map(str, table.columns))}"
        raise ValueError(msg)
    twice = [name for name in COLUMNS if there.count(name) > 1]
    if twice:
        msg = f"it has several columns {', '.join(twice)}"
        raise ValueError(msg)
    return table.set_axis(there, axis=1)[list(COLUMNS)]


def _bars(table: pd.DataFrame, where: str, first: int) -> Bars:
    silent = table[list(COLUMNS[1:])].isna().all(axis=1)
    table = table[~silent]
    time = _times(table["time"])
    values = table[list(COLUMNS[1:])].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    prices, volume = values[list(PRICES)], values["volume"]
    wrong = {
        "its time is none in ISO 8601, such as 2024-05-06T13:30:00Z": time.isna(),
        "a price is not a number above zero": ~(np.isfinite(prices) & (prices > 0)).all(axis=1),
        "its volume is not a number from zero": ~(np.isfinite(volume) & (volume >= 0)),
        "its high is below its low": prices["high"] < prices["low"],
    }
    bad = {what: int(rows.idxmax()) for what, rows in wrong.items() if rows.any()}
    if bad:
        what, row = min(bad.items(), key=lambda one: one[1])
        shown = ", ".join(str(value) for value in table.loc[row])
        msg = f"{where} {row + first}: {what} ({shown})"
        raise ValueError(msg)
    if table.empty:
        msg = "it holds no bars"
        raise ValueError(msg)
    values = values.set_index(time.dt.as_unit("s").astype(np.int64))
    values = values[~values.index.duplicated(keep="last")].sort_index()
    columns = (values[name].to_numpy(np.float64) for name in COLUMNS[1:])
    return Bars(values.index.to_numpy(np.int64), *columns)


def _times(column: pd.Series) -> pd.Series:
    """Instants in UTC; not a time where there is none."""
    if pd.api.types.is_numeric_dtype(column):
        # A bare number may be of seconds or of anything else since some epoch: it is not guessed.
        return pd.Series(pd.NaT, column.index, dtype="datetime64[s, UTC]")
    return pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
