"""Price bars in columns, and how finer bars become coarser ones."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Seconds = NDArray[np.int64]

MINUTE = 60
HOUR = 3600
DAY = 86_400

_SECONDS = {"second": 1, "minute": MINUTE, "hour": HOUR}
_TIMEFRAME = re.compile(r"(\d{0,3})(Min|T|Hour|H|Day|D|Week|W|Month|M)")


@frozen(eq=False)
class Bars:
    """Bars in order of time.

    Attributes:
        time: Start of each bar, in seconds since the epoch, UTC.
        open: First price.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Units traded.
    """

    time: Seconds
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.time)

    def __getitem__(self, rows: slice) -> Bars:
        return Bars(
            self.time[rows],
            self.open[rows],
            self.high[rows],
            self.low[rows],
            self.close[rows],
            self.volume[rows],
        )


EMPTY = Bars(np.empty(0, np.int64), *(np.empty(0, np.float64) for _ in range(5)))


@frozen
class Timeframe:
    """The length of a bar.

    Attributes:
        count: How many units.
        unit: ``second``, ``minute``, ``hour``, ``day``, ``week``, ``month``, ``quarter`` or
            ``year``.
    """

    count: int
    unit: str

    @property
    def intraday(self) -> bool:
        """Whether a trading day holds several such bars."""
        return self.unit in _SECONDS

    @property
    def seconds(self) -> int:
        """Length in seconds of an intraday bar."""
        return self.count * _SECONDS[self.unit]

    @classmethod
    def parse(cls, text: str) -> Timeframe:
        """Read ``1Min``, ``15Min``, ``1Hour``, ``1Day``, ``1Week`` or ``1Month``.

        Raises:
            ValueError: It is none of these.
        """
        match = _TIMEFRAME.fullmatch(text)
        if match is None or match[1] == "0":
            msg = f"invalid timeframe: {text}"
            raise ValueError(msg)
        unit = {"T": "Min", "H": "Hour", "D": "Day", "W": "Week", "M": "Month"}.get(
            match[2], match[2]
        )
        return cls(int(match[1] or 1), "minute" if unit == "Min" else unit.lower())


def join(parts: Sequence[Bars]) -> Bars:
    """Put bars that follow each other into one table."""
    if not parts:
        return EMPTY
    if len(parts) == 1:
        return parts[0]
    return Bars(
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.open for part in parts]),
        np.concatenate([part.high for part in parts]),
        np.concatenate([part.low for part in parts]),
        np.concatenate([part.close for part in parts]),
        np.concatenate([part.volume for part in parts]),
    )


def spread(minutes: Bars) -> Bars:
    """Return four seconds of each minute, which add up to it: open, two turns, close."""
    up = minutes.close >= minutes.open
    before = np.where(up, minutes.low, minutes.high)
    after = np.where(up, minutes.high, minutes.low)
    prices = np.stack([minutes.open, before, after, minutes.close], axis=1).ravel()
    quarter = np.floor(minutes.volume / 4)
    volumes = np.stack([minutes.volume - 3 * quarter, *([quarter] * 3)], axis=1).ravel()
    times = (minutes.time[:, None] + np.array([0, 20, 40, 59])).ravel()
    return Bars(times, prices, prices, prices, prices, volumes)


def run_lengths(bucket: Seconds) -> Seconds:
    """Return how many neighbours share each *bucket*."""
    return np.diff(np.append(_starts(bucket), len(bucket)))


def _starts(bucket: Seconds) -> Seconds:
    if len(bucket) == 0:
        return np.empty(0, np.int64)
    return np.flatnonzero(np.diff(bucket, prepend=bucket[0] - 1))


def aggregate(bars: Bars, bucket: Seconds) -> Bars:
    """Merge the neighbours that share a *bucket*, whose value becomes the bar's time."""
    if len(bars) == 0:
        return bars
    first = _starts(bucket)
    last = np.append(first[1:], len(bars)) - 1
    return Bars(
        bucket[first],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
    )


def resample(bars: Bars, timeframe: Timeframe) -> tuple[Bars, Seconds]:
    """Merge minute bars into intraday bars of *timeframe*, and say of how many each was made.

    Seconds are made of the seconds of :func:`spread`.
    """
    if timeframe.unit == "second":
        bars = spread(bars)
    bucket = bars.time - bars.time % timeframe.seconds
    made_of = run_lengths(bucket)
    return bars if len(made_of) == len(bars) else aggregate(bars, bucket), made_of
