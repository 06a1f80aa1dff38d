"""Frames: the one schema in which every vendor's bars are answered.

A frame has one row per bar, in ascending order of time without duplicates; the index is a
``DatetimeIndex`` in UTC (microseconds) named ``time``, the start of each bar; the columns are
``open``, ``high``, ``low``, ``close`` and ``volume``, all float64, finite, prices above zero.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from argo_mw_market.instants import MAX_SKEW

COLUMNS = pd.Index(["open", "high", "low", "close", "volume"])
"""The columns of every frame, in their order."""
INDEX = "time"
_MAX_SECONDS = 62_135_596_800.0
"""As far as dates reach back from the epoch, to the year 1; what lies beyond has no date at all."""

_IMPOSSIBLE = "a price is not above zero, or a value is not a number"

Floats = npt.NDArray[np.float64]


def make_frame(seconds: Floats, values: Floats) -> pd.DataFrame:
    """Return a frame of the schema.

    Args:
        seconds: The start of each bar, in seconds since the epoch, in any order.
        values: A row of open, high, low, close and volume for each.

    Raises:
        ValueError: A value or a time is not a number, or a price is not above zero.
    """
    if not len(seconds):
        values = np.empty((0, len(COLUMNS)))
    if not _possible(values):
        raise ValueError(_IMPOSSIBLE)
    if not (np.abs(seconds) <= _MAX_SECONDS).all():
        msg = "a time is not a number of seconds since the epoch"
        raise ValueError(msg)
    times = np.rint(seconds * 1e6)
    if (np.diff(times) <= 0).any():
        # Of two bars of one time the later one counts: it was sent last.
        order = len(times) - 1 - np.unique(times[::-1], return_index=True)[1]
        times, values = times[order], values[order]
    index = pd.DatetimeIndex(times.astype("datetime64[us]"), tz="UTC", name=INDEX)
    return pd.DataFrame(values, index=index, columns=COLUMNS)


def problem_of(value: object) -> str | None:
    """Return why *value* is not an answer to ``bars``, or ``None``."""
    if not isinstance(value, pd.DataFrame):
        return f"a {type(value).__name__} instead of a frame"
    if value.empty:
        return "no bars"
    index = value.index
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        return "its index is not a DatetimeIndex in UTC"
    if index.hasnans or not (index.is_monotonic_increasing and index.is_unique):
        return "its times are not ascending, or one is missing"
    missing = [name for name in COLUMNS if name not in value.columns]
    if missing:
        return f"no column {', '.join(missing)}"
    return None if _possible(value[COLUMNS].to_numpy(np.float64)) else _IMPOSSIBLE


def future_of(value: object, now: float) -> str | None:
    """Return why *value*, a frame, is of the future of *now*, in seconds since the epoch."""
    assert isinstance(value, pd.DataFrame)
    last = value.index[-1]
    late = last.timestamp() > now + MAX_SKEW
    return f"its last bar, of {last}, lies in the future" if late else None


def _possible(values: Floats) -> bool:
    """Return whether rows of open, high, low, close and volume can be true."""
    finite = bool(np.isfinite(values).all())
    return finite and bool((values[:, :4] > 0).all()) and bool((values[:, 4] >= 0).all())
