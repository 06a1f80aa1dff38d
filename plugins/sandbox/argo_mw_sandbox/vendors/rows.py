"""Bars as JSON rows. Encoding is most of an answer's work, so finished rows are remembered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from argo_mw_sandbox.bars import Bars, Floats

Encode = Callable[[Bars], bytes]

_MAX_SLICES = 2048
_MAX_BARS = 500
"""Bars in a slice that is remembered; longer ones are encoded anew."""


def iso_times(bars: Bars) -> list[str]:
    """Return starts of bars as ``2022-02-01T05:00:00``, UTC."""
    texts: list[str] = np.datetime_as_string(bars.time.astype("datetime64[s]")).tolist()
    return texts


def volumes(bars: Bars) -> list[float] | list[int]:
    """Return volumes, as integers where all of them are whole."""
    whole = bool((bars.volume == np.floor(bars.volume)).all())
    column = bars.volume.astype(np.int64) if whole else np.round(bars.volume, 8)
    listed: list[float] | list[int] = column.tolist()
    return listed


def trades(bars: Bars) -> list[int]:
    """Return a plausible number of trades: no source has it, so one per 100 units."""
    listed: list[int] = (bars.volume // 100 + 1).astype(np.int64).tolist()
    return listed


def average_price(bars: Bars) -> list[float]:
    """Return the typical price in place of the volume-weighted one, which no source has."""
    typical: Floats = (bars.high + bars.low + bars.close) / 3
    listed: list[float] = np.round(typical, 4).tolist()
    return listed


class RowMemory:
    """Encoded bars, bounded in number of slices and in bars per slice.

    Args:
        encode: Writes bars as JSON rows, separated by commas.
    """

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._rows: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def rows(self, symbol: str, timeframe: object, bars: Bars) -> bytes:
        """Return the rows of one symbol's *bars*; growing bars differ in their close or volume."""
        count = len(bars)
        if count > _MAX_BARS:
            return self._encode(bars)
        if count == 0:
            return b""
        key = (
            symbol,
            timeframe,
            count,
            bars.time[0],
            bars.time[-1],
            bars.close[-1],
            bars.volume[-1],
        )
        known = self._rows.get(key)
        if known is None:
            known = self._rows[key] = self._encode(bars)
            if len(self._rows) > _MAX_SLICES:
                self._rows.popitem(last=False)
        return known
