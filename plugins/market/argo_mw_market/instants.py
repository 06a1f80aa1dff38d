"""Instants: the one place in which a vendor's times become ours.

A vendor writes times as milliseconds, with an offset from UTC, or as the local time of an
exchange. Whatever the form, what comes out is seconds since the epoch, none of them in the future:
a price of the future is not a price, and nanoseconds that are read as milliseconds lie far in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
from attrs import frozen

Floats = npt.NDArray[np.float64]

MAX_SKEW = 60.0
"""Seconds by which a vendor's clock may be ahead of ours."""

EARLIEST = datetime(1980, 1, 1, tzinfo=UTC).timestamp()
"""No answer reaches back this far. Seconds that are read as milliseconds end in January 1970."""

_DAY = 86_400.0
_UNITS = (1e-9, 1e-6, 1e-3, 1e3, 1e6, 1e9)


@frozen
class Instants:
    """Reads a vendor's times.

    Attributes:
        now: Seconds since the epoch; no time may lie after it.
    """

    now: float

    def from_milliseconds(self, numbers: Sequence[int]) -> Floats:
        """Return *numbers* of milliseconds since the epoch in seconds.

        Raises:
            ValueError: One of them lies in the future, or too far in the past.
        """
        return self._checked(np.array([_number(one) for one in numbers], np.float64) / 1000.0)

    def from_datetimes(self, moments: Sequence[datetime]) -> Floats:
        """Return *moments*, each with a time zone, in seconds since the epoch.

        Raises:
            ValueError: One of them lies in the future, or too far in the past.
        """
        return self._checked(np.array([one.timestamp() for one in moments], np.float64))

    def from_local(self, texts: Sequence[str], form: str, zone: ZoneInfo) -> Floats:
        """Return *texts*, times of *zone* in the format *form*, in seconds since the epoch.

        The hour that is repeated when daylight saving ends is at night, when nothing trades: the
        first one counts.

        Raises:
            ValueError: One of them has another form, lies in the future, or too far in the past.
        """
        try:
            local = pd.DatetimeIndex(pd.to_datetime(list(texts), format=form))
        except ValueError:
            msg = f"not all of its times have the form {form}"
            raise ValueError(msg) from None
        first = np.ones(len(local), bool)
        times = local.tz_localize(zone, ambiguous=first, nonexistent="shift_forward")
        seconds = times.tz_convert("UTC").as_unit("s").asi8.astype(np.float64)
        return self._checked(np.where(local.isna(), np.nan, seconds))

    def _checked(self, seconds: Floats) -> Floats:
        fine = (seconds >= EARLIEST) & (seconds <= self.now + MAX_SKEW)
        if not fine.all():
            raise ValueError(self._problem(float(seconds[~fine][0])))
        return seconds

    def _problem(self, seconds: float) -> str:
        if np.isnan(seconds):
            return "a time is missing"
        era = "in the future" if seconds > self.now else "before there were such data"
        remedy = ""
        if any(EARLIEST <= seconds * factor <= self.now for factor in _UNITS):
            remedy = "; it is in another unit than agreed"
        elif 0.0 < seconds - self.now < _DAY:
            remedy = "; check this machine's clock"
        return f"{_written(seconds)} lies {era}, now it is {_written(self.now)}{remedy}"


def _number(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def _written(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"a time {seconds:.3g} s from 1970"
