"""Amounts of money for people to read: small ones keep their digits instead of a row of zeros."""

from __future__ import annotations

import math
from typing import Final

_SMALL: Final = 0.001
_LEAST: Final = 1e-9
"""The smallest amount that is booked: a billionth of a dollar."""


def dollars(usd: float | None) -> str:
    """Return *usd* as text without a sign: ``1.2500``, ``0.00042``, ``0``, or ``unknown``.

    Args:
        usd: US dollars; ``None`` where they are not known.
    """
    if usd is None:
        return "unknown"
    if usd == 0:
        return "0"
    size = abs(usd)
    if size >= _SMALL or not math.isfinite(usd):
        return f"{usd:.4f}"
    if size < _LEAST:
        return f"under {_LEAST:.9f}"
    places = min(9, 1 - math.floor(math.log10(size)))
    return f"{usd:.{places}f}"
