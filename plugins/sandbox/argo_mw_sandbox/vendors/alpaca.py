"""Alpaca's market data: stock bars, crypto bars and news.

Protocol: https://docs.alpaca.markets/reference/stockbars
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping

from attrs import frozen

from argo_mw_sandbox.bars import MINUTE, Bars, Timeframe
from argo_mw_sandbox.exchange import Span, read_bars
from argo_mw_sandbox.instruments import Instrument
from argo_mw_sandbox.news import Headline, headlines
from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.sessions import CRYPTO, STOCKS, Market
from argo_mw_sandbox.splits import adjusted
from argo_mw_sandbox.vendors.dates import first_second, last_second
from argo_mw_sandbox.vendors.headers import label
from argo_mw_sandbox.vendors.protocol import (
    MARKET_TWISTS,
    Answer,
    BadRequest,
    VendorRequest,
    World,
    failure,
)
from argo_mw_sandbox.vendors.rows import RowMemory, average_price, iso_times, trades, volumes

MAX_BARS = 10_000
MAX_NEWS = 50
SIP_DELAY = 15 * MINUTE
PATHS = {"/v2/stocks/bars": STOCKS, "/v1beta3/crypto/us/bars": CRYPTO}
NEWS_PATH = "/v1beta1/news"
ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")
SYMBOLS = {
    "stocks": re.compile(r"[A-Z][A-Z0-9]{0,9}(\.[A-Z]{1,3})?"),
    "crypto": re.compile(r"[A-Z0-9]{2,10}[/-]?[A-Z]{3,4}"),
}

NO_BARS = b'{"bars":{},"next_page_token":null}'
FORBIDDEN_PAGE = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    b"<center><h1>403 Forbidden</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>"
)


@frozen
class _BarsQuery:
    symbols: tuple[str, ...]
    timeframe: Timeframe
    start: float
    end: float
    limit: int
    descending: bool
    token: tuple[str, int] | None
    now: float
    adjusted: bool


class Alpaca:
    """Alpaca's data API.

    Args:
        world: What it answers from.
    """

    name = "alpaca"
    errors: Mapping[str, Answer] = {
        "unauthorized": failure(403, {"message": "forbidden."}),
        "forbidden_page": Answer(FORBIDDEN_PAGE, 403, content_type="text/html", error=True),
        "rate_limit": failure(429, {"message": "too many requests."}),
        "sip": failure(403, {"message": "subscription does not permit querying recent SIP data"}),
        "bad_request": failure(400, {"message": "invalid timeframe"}),
        "unprocessable": failure(422, {"message": "end should not be before start"}),
        "server_error": failure(500, {"message": "internal server error occurred"}),
        "unavailable": failure(503, {"message": "service unavailable"}),
        "garbage": Answer(b'{"bars":{"AAPL":[{"t":"2022-02-', error=True),
    }

    twists = MARKET_TWISTS

    def __init__(self, world: World) -> None:
        self._world = world
        self._memory = RowMemory(_rows)

    def key(self, request: VendorRequest) -> str:
        """Return the key id, if the secret is there as well."""
        secret = request.headers.get("APCA-API-SECRET-KEY", "")
        return request.headers.get("APCA-API-KEY-ID", "") if secret else ""

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether crypto prices are asked for: they need no key."""
        return PATHS.get(request.path) is CRYPTO

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the symbols asked for."""
        return tuple(s for s in request.query.get("symbols", "").split(",") if s)

    def exceeded(self, standing: Standing) -> Answer:
        """429, whatever was used up."""
        return self.errors["rate_limit"]

    def headers(self, standing: Standing, now: float) -> Mapping[str, str]:
        """Return ``X-Ratelimit-*`` with the epoch second at which the window ends."""
        limit = standing.limit or 10_000
        return {
            "X-Ratelimit-Limit": str(limit),
            "X-Ratelimit-Remaining": str(standing.remaining if standing.limit else limit),
            "X-Ratelimit-Reset": str(int(now + standing.reset) + 1),
        }

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return bars or news."""
        news = request.path == NEWS_PATH
        market = PATHS.get(request.path)
        if not news and market is None:
            return failure(404, {"message": "endpoint not found."})
        if twist == "empty":
            return Answer(b'{"news":[],"next_page_token":null}' if news else NO_BARS)
        now = self._world.now(twist)
        try:
            return self._news(request, now) if market is None else self._bars(request, market, now)
        except BadRequest as bad:
            return bad.answer
        except ValueError as error:
            return failure(400, {"message": str(error)})

    def _bars(self, request: VendorRequest, market: Market, now: float) -> Answer:
        wanted = self._read(request, market, now)
        if self._too_recent(request, wanted, market):
            return self.errors["sip"]
        found: list[Instrument] = []
        parts: list[bytes] = []
        left = wanted.limit
        token: str | None = None
        for symbol in wanted.symbols:
            if left == 0:
                token = _write_token(symbol, _no_bound(wanted))
                break
            instrument = self._world.exchange.find(symbol, market)
            if instrument is None:
                continue
            bars, more = self._read_symbol(symbol, instrument, wanted, left)
            if wanted.adjusted:
                bars = adjusted(bars, instrument)
            left -= len(bars)
            if len(bars):
                found.append(instrument)
                parts.append(self._encode(symbol, wanted, bars))
            if more:
                token = _write_token(symbol, _next_bound(bars, wanted))
                break
        return Answer(
            b'{"bars":{%s},"next_page_token":%s}' % (b",".join(parts), json.dumps(token).encode()),
            headers=label(found, intraday=wanted.timeframe.intraday),
        )

    def _read(self, request: VendorRequest, market: Market, now: float) -> _BarsQuery:
        query = request.query
        symbols = tuple(sorted(set(self.symbols(request))))
        if not symbols:
            raise ValueError("symbols is required")
        for symbol in symbols:
            if SYMBOLS[market.name].fullmatch(symbol) is None:
                msg = f"invalid symbol: {symbol}"
                raise ValueError(msg)
        if "timeframe" not in query:
            raise ValueError("timeframe is required")
        timeframe = Timeframe.parse(query["timeframe"])
        today = market.midnight(market.day_of(now))
        start = first_second(query["start"], market) if query.get("start") else float(today)
        end = last_second(query["end"], market) if query.get("end") else now
        if end < start:
            raise BadRequest(self.errors["unprocessable"])
        token = _read_token(query["page_token"]) if query.get("page_token") else None
        return _BarsQuery(
            tuple(s for s in symbols if token is None or s >= token[0]),
            timeframe,
            start,
            end,
            _limit(query, 1000, MAX_BARS),
            _descending(query, default="asc"),
            token,
            now,
            _adjusted(query, market),
        )

    def _too_recent(self, request: VendorRequest, wanted: _BarsQuery, market: Market) -> bool:
        if self._world.paid or market is CRYPTO or request.query.get("feed", "sip") != "sip":
            return False
        return wanted.end > wanted.now - SIP_DELAY and "end" in request.query

    def _read_symbol(
        self, symbol: str, instrument: Instrument, wanted: _BarsQuery, limit: int
    ) -> tuple[Bars, bool]:
        start, end = wanted.start, wanted.end
        if wanted.token is not None and wanted.token[0] == symbol:
            if wanted.descending:
                end = min(end, wanted.token[1])
            else:
                start = max(start, wanted.token[1])
        span = Span(start, end, limit, newest_first=wanted.descending)
        page = read_bars(instrument, wanted.timeframe, span, wanted.now)
        return page.bars, page.more

    def _encode(self, symbol: str, wanted: _BarsQuery, bars: Bars) -> bytes:
        rows = self._memory.rows(symbol, (wanted.timeframe, wanted.adjusted), bars)
        if wanted.descending:
            rows = b",".join(b"{" + row for row in reversed(rows[1:].split(b",{")))
        return b'"%s":[%s]' % (symbol.encode(), rows)

    def _news(self, request: VendorRequest, now: float) -> Answer:
        query = request.query
        start = first_second(query["start"], STOCKS) if query.get("start") else now - 30 * 86_400
        end = min(last_second(query["end"], STOCKS) if query.get("end") else now, now)
        limit = _limit(query, 10, MAX_NEWS)
        found = headlines(self._world.exchange, self.symbols(request), start, end, self._world.seed)
        found = found if _descending(query, default="desc") else found[::-1]
        offset = _read_token(query["page_token"])[1] if query.get("page_token") else 0
        rest = len(found) > offset + limit
        token = _write_token("news", offset + limit) if rest else None
        items = [_news_item(item) for item in found[offset : offset + limit]]
        return Answer(json.dumps({"news": items, "next_page_token": token}).encode())


def _rows(bars: Bars) -> bytes:
    rows = zip(
        iso_times(bars),
        bars.open.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        bars.close.tolist(),
        volumes(bars),
        trades(bars),
        average_price(bars),
        strict=True,
    )
    row = '{"t":"%sZ","o":%r,"h":%r,"l":%r,"c":%r,"v":%r,"n":%d,"vw":%r}'
    return ",".join([row % values for values in rows]).encode()


def _news_item(item: Headline) -> dict[str, object]:
    stamp = f"{item.published:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "id": item.id,
        "headline": item.title,
        "author": "argo-mw sandbox",
        "created_at": stamp,
        "updated_at": stamp,
        "summary": item.summary,
        "content": "",
        "url": item.url,
        "images": [],
        "symbols": [item.symbol],
        "source": "synthetic",
    }


def _limit(query: Mapping[str, str], default: int, max_limit: int) -> int:
    text = query.get("limit") or str(default)
    if not text.isdigit() or not 1 <= int(text) <= max_limit:
        msg = f"invalid limit: limit must be between 1 and {max_limit}"
        raise ValueError(msg)
    return int(text)


def _descending(query: Mapping[str, str], default: str) -> bool:
    order = query.get("sort") or default
    if order not in ("asc", "desc"):
        msg = f"invalid sort: {order}"
        raise ValueError(msg)
    return order == "desc"


def _adjusted(query: Mapping[str, str], market: Market) -> bool:
    """Return whether splits are asked to be adjusted for; there are no dividends here."""
    kinds = (query.get("adjustment") or "raw").split(",")
    for kind in kinds:
        if kind not in ADJUSTMENTS:
            msg = f"invalid adjustment: {kind}"
            raise ValueError(msg)
    return market is STOCKS and not {"split", "all"}.isdisjoint(kinds)


def _no_bound(wanted: _BarsQuery) -> int:
    return int(wanted.end if wanted.descending else wanted.start)


def _next_bound(bars: Bars, wanted: _BarsQuery) -> int:
    return int(bars.time[0]) - 1 if wanted.descending else int(bars.time[-1]) + 1


def _write_token(symbol: str, bound: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{bound}".encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        symbol, bound = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, int(bound)
    except (ValueError, binascii.Error):
        msg = "invalid page_token"
        raise ValueError(msg) from None
