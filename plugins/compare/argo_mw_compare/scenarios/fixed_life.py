"""Prices with a fixed life: how often they are fetched, and how wrong they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from argo_mw_compare.scenarios.prices import Prices

_ROUNDS = 24
_SHORTEST, _LONGEST = 1.0, 6 * 3600.0

Reads = Sequence[tuple[float, Prices]]
"""When each symbol is read, in order, in seconds since the epoch."""


def life_for(reads: Reads, requests: int) -> float:
    """Return the life in seconds with which *reads* make about *requests* requests."""
    low, high = _SHORTEST, _LONGEST
    for _ in range(_ROUNDS):
        middle = math.sqrt(low * high)
        made = sum(at == fetched for at, fetched, _ in _served(reads, middle))
        low, high = (middle, high) if made > requests else (low, middle)
    return high


def error_at(reads: Reads, life: float) -> float:
    """Return the root mean square error in basis points of *reads* with prices that live *life*."""
    squares = [
        (10_000 * (one.at(fetched) / one.at(at) - 1)) ** 2
        for at, fetched, one in _served(reads, life)
    ]
    return math.sqrt(math.fsum(squares) / len(squares)) if squares else 0.0


def _served(reads: Reads, life: float) -> Iterator[tuple[float, float, Prices]]:
    """Yield when each read was made, when its price was fetched, and whose it is."""
    fetched: dict[str, float] = {}
    for at, one in reads:
        if at >= fetched.get(one.symbol, -math.inf) + life:
            fetched[one.symbol] = at
        yield at, fetched[one.symbol], one
