"""The operations of a market: bars and news."""

from __future__ import annotations

from contextlib import suppress
from operator import index
from typing import SupportsIndex

import pandas as pd

from argo_mw.plugin import BadParameter, Call, operation
from argo_mw_market import frames, news
from argo_mw_market.news import Article
from argo_mw_market.symbols import read_symbol
from argo_mw_market.timeframes import read_timeframe

MAX_DAYS = 3660
MAX_ARTICLES = 200
_DAY = 86_400


def _days(value: object) -> int:
    return _whole("days", value, MAX_DAYS, "days")


def _whole(name: str, value: object, most: int, what: str) -> int:
    """Return *value* as an integer: one of numpy's, as frames hold them, is an integer too.

    Raises:
        BadParameter: It is not a whole number from 1 to *most*.
    """
    if isinstance(value, SupportsIndex) and not isinstance(value, bool):
        with suppress(TypeError):
            number = index(value)
            if 1 <= number <= most:
                return number
    msg = f"{name} is {value!r}; give a whole number of {what} from 1 to {most}"
    raise BadParameter(msg)


def _normalize_bars(given: dict[str, object]) -> dict[str, object]:
    return {
        "symbol": read_symbol(given["symbol"]).name,
        "timeframe": read_timeframe(given["timeframe"]).name,
        "days": _days(given["days"]),
    }


def _normalize_news(given: dict[str, object]) -> dict[str, object]:
    return {
        "symbol": read_symbol(given["symbol"]).name,
        "days": _days(given["days"]),
        "limit": _whole("limit", given["limit"], MAX_ARTICLES, "articles"),
    }


def _last_bar(value: object) -> float:
    assert isinstance(value, pd.DataFrame)
    last: float = value.index[-1].timestamp()
    return last


def _price_error(kept: object, fresh: object) -> float | None:
    """Return how far the last price of *kept* is from that of *fresh*, as a share of it."""
    if not (isinstance(kept, pd.DataFrame) and isinstance(fresh, pd.DataFrame)):
        return None
    before, now = (float(frame["close"].iloc[-1]) for frame in (kept, fresh))
    return abs(before - now) / now


@operation(
    data_type="market_data",
    accept=frames.problem_of,
    normalize=_normalize_bars,
    score=_last_bar,
    subject="symbol",
    distance=_price_error,
)
def bars(symbol: str, *, timeframe: str = "1Day", days: int = 90) -> pd.DataFrame:
    """Price bars of one symbol over the last days, split-adjusted, oldest first."""
    raise NotImplementedError


@operation(
    name="news",
    data_type="sentiment",
    accept=news.problem_of,
    normalize=_normalize_news,
    subject="symbol",
)
def recent_news(symbol: str, *, days: int = 3, limit: int = 50) -> tuple[Article, ...]:
    """News about one symbol over the last days, newest first."""
    raise NotImplementedError


def since(call: Call, now: float) -> int:
    """Return the UTC day from which on *call* asks, in seconds since the epoch."""
    days = call.parameters["days"]
    assert isinstance(days, int)
    return (int(now) // _DAY - days) * _DAY
