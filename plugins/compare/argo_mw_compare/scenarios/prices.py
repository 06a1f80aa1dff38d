"""Prices of a week, read once from the sandbox: what a vendor answers, and what was true."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from argo_mw_compare.vendors import Vendors

if TYPE_CHECKING:
    import pandas as pd

_MINUTE = 60.0
_ANSWERED = 120


@frozen(eq=False)
class Prices:
    """The minutes of one symbol.

    Attributes:
        symbol: The symbol.
        starts: When each minute began, in seconds since the epoch, ascending.
        closes: The last price of each.
        frame: The same as a frame.
    """

    symbol: str
    starts: Sequence[float]
    closes: Sequence[float]
    frame: pd.DataFrame

    def at(self, now: float) -> float:
        """Return the last price of the newest minute that is complete at *now*."""
        return self.closes[self._complete(now) - 1]

    def answer(self, now: float) -> pd.DataFrame:
        """Return the newest bars that a vendor has at *now*."""
        end = self._complete(now)
        return self.frame.iloc[max(0, end - _ANSWERED) : end]

    def day_range(self, start: float, end: float) -> float:
        """Return by how much the highest price from *start* to *end* is above the lowest."""
        low, high = bisect.bisect_left(self.starts, start), bisect.bisect_left(self.starts, end)
        closes = self.closes[low:high]
        return max(closes) / min(closes) - 1 if closes else 0.0

    def _complete(self, now: float) -> int:
        return max(1, bisect.bisect_right(self.starts, now - _MINUTE))


def read_prices(vendors: Vendors, symbols: Sequence[str], start: float, end: float) -> list[Prices]:
    """Return the minutes of *symbols* from *start* to *end*, in seconds since the epoch."""
    return [_prices(symbol, vendors.minutes(symbol, start, end)) for symbol in symbols]


def _prices(symbol: str, minutes: Sequence[tuple[float, float]]) -> Prices:
    import pandas as pd

    starts = [start for start, _ in minutes]
    closes = [close for _, close in minutes]
    index = pd.to_datetime(starts, unit="s", utc=True)
    return Prices(symbol, starts, closes, pd.DataFrame({"close": closes}, index=index))
