"""Frames: the one schema in which every vendor's bars are answered.

A frame has one row per bar, in ascending order of time without duplicates; the index is a
``DatetimeIndex`` in UTC (microseconds) named ``time``, the start of each bar; the columns are
``open``, ``high``, ``low``, ``close`` and ``volume``, all float64, finite, prices above zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

COLUMNS = pd.Index(["open", "high", "low", "close", "volume"])
"""The columns of every frame, in their order."""
INDEX = "time"

Floats = npt.NDArray[np.float64]


def make_frame(seconds: Floats, values: Floats) -> pd.DataFrame:
    """Return a frame of the schema.

    Args:
        seconds: The start of each bar, in seconds since the epoch, in any order.
        values: A row of open, high, low, close and volume for each.

    Raises:
        ValueError: A value is not a number, or a price is not above zero.
    """
    if not len(seconds):
        values = np.empty((0, len(COLUMNS)))
    if not np.isfinite(values).all() or (values[:, :4] <= 0).any() or (values[:, 4] < 0).any():
        msg = "a price is not above zero, or a value is not a number"
        raise ValueError(msg)
    if (np.diff(seconds) <= 0).any():
        # Of two bars of one time the later one counts: it was sent last.
        order = len(seconds) - 1 - np.unique(seconds[::-1], return_index=True)[1]
        seconds, values = seconds[order], values[order]
    times = (seconds * 1e6).astype("datetime64[us]")
    index = pd.DatetimeIndex(times, tz="UTC", name=INDEX)
    return pd.DataFrame(values, index=index, columns=COLUMNS)


def problem_of(value: object) -> str | None:
    """Return why *value* is no answer to ``bars``, or ``None``."""
    if not isinstance(value, pd.DataFrame):
        return f"a {type(value).__name__} instead of a frame"
    if value.empty:
        return "no bars"
    index = value.index
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        return "its index is not a DatetimeIndex in UTC"
    missing = [name for name in COLUMNS if name not in value.columns]
    return f"no column {', '.join(missing)}" if missing else None
