"""Asset classes: what is assumed of a symbol before anything was seen of it.

The class follows from the calendar and the form of the symbol. Its figures are rough, and count
as much as the first few trades.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from argo_mw_adaptive_ttl.calendar_rules import (
    ALWAYS_OPEN,
    FIAT,
    FOREX,
    STABLE,
    UNKNOWN,
    pair_of,
)


@frozen
class AssetClass:
    """A kind of symbol.

    Attributes:
        name: What it is called.
        sigma: Sigma of a day of trading, as a fraction.
        rate: The share of minutes with a trade.
    """

    name: str
    sigma: float
    rate: float


STOCK: Final = AssetClass("stock", 0.018, 0.6)
COIN: Final = AssetClass("coin", 0.04, 0.9)
CURRENCY: Final = AssetClass("currency", 0.006, 0.95)
PEGGED: Final = AssetClass("pegged coin", 0.0008, 0.7)
OTHER: Final = AssetClass("unknown", 0.02, 0.8)

_PEGS: Final = STABLE | {"USD"}


def class_of(symbol: str, calendar: str) -> AssetClass:
    """Return the class of *symbol*, which follows the calendar of this name."""
    pair = pair_of(symbol)
    if pair is not None and calendar in {ALWAYS_OPEN, FOREX, UNKNOWN}:
        if _PEGS.issuperset(pair):
            return PEGGED
        return CURRENCY if FIAT.issuperset(pair) else COIN
    if calendar == ALWAYS_OPEN:
        return COIN
    if calendar == FOREX:
        return CURRENCY
    return OTHER if calendar == UNKNOWN else STOCK
