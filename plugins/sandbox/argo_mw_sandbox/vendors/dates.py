"""Dates in requests, as the market data vendors read them."""

from __future__ import annotations

import re
from datetime import date

from argo_mw_sandbox.bars import DAY
from argo_mw_sandbox.clock import parse_instant
from argo_mw_sandbox.sessions import EPOCH, Market

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def first_second(text: str, market: Market) -> float:
    """Return the instant, or the start of the market's day where *text* is only a date.

    Raises:
        ValueError: It is neither.
    """
    if _DATE.fullmatch(text):
        return float(market.midnight(_days(text)))
    return parse_instant(text).timestamp()


def last_second(text: str, market: Market) -> float:
    """Return the instant, or the last second of the market's day where *text* is only a date.

    Raises:
        ValueError: It is neither.
    """
    if _DATE.fullmatch(text):
        return float(market.midnight(_days(text)) + DAY - 1)
    return parse_instant(text).timestamp()


def _days(text: str) -> int:
    return (date.fromisoformat(text) - EPOCH).days
