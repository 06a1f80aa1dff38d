"""How far a served table is from a fresh one: rows of the past do not change, the newest may."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pandas as pd

_PRICES: Final = frozenset({"open", "high", "low", "close", "price", "last", "bid", "ask", "mid"})
_WORDS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ROUNDING: Final = 1e-9


def is_price(name: object) -> bool:
    """Return whether *name* is that of a price: ``close``, ``lastPrice``, ``05. price``."""
    words = _WORDS.findall(str(name)[:64])
    return bool(words) and words[-1].lower() in _PRICES


def apart(one: float, other: float) -> float:
    """Return how far *one* is from *other*, relative to that; endless where one is not a number."""
    if one == other or (math.isnan(one) and math.isnan(other)):
        return 0.0
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(one - other) / max(abs(other), 1e-12)


def is_table(value: object) -> bool:
    """Return whether *value* is a data frame of pandas, which need not be installed."""
    return type(value).__name__ == "DataFrame" and type(value).__module__.startswith("pandas")


def compare_tables(served: pd.DataFrame, fresh: pd.DataFrame) -> tuple[float, str]:
    """Return the greatest distance of a number, and what differs besides, or ""."""
    if list(served.columns) != list(fresh.columns):
        return 0.0, "columns"
    if served.empty or fresh.empty:
        return 0.0, "" if served.empty == fresh.empty else "no rows"
    common = served.index.intersection(fresh.index)
    settled = common[common < min(served.index[-1], fresh.index[-1])]
    numbers = served.select_dtypes("number").columns
    if len(settled):
        before, after = served.loc[settled], fresh.loc[settled]
        if not before.equals(after):
            # What a bar was when it had ended does not change with time.
            off = _rows(before[numbers], after[numbers])
            rest = [name for name in served.columns if name not in numbers]
            if off > _ROUNDING or not before[rest].equals(after[rest]):
                return off, "past rows"
    return _rows(served[numbers].iloc[[-1]], fresh[numbers].iloc[[-1]], prices=True), ""


def _rows(one: pd.DataFrame, other: pd.DataFrame, *, prices: bool = False) -> float:
    """Return the greatest distance between two frames of numbers, of their prices if they have."""
    names = [name for name in one.columns if is_price(name)] if prices else []
    greatest = 0.0
    for name in names or one.columns:
        for a, b in zip(one[name].tolist(), other[name].tolist(), strict=True):
            greatest = max(greatest, apart(float(a), float(b)))
    return greatest
