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
from argo_mw_sandbox.vendors.instants import first_second, last_second
from argo_mw_sandbox.vendors.labels import label
from argo_mw_sandbox.vendors.protocol import MARKET_TWISTS, Answer, Ask, BadAsk, World, failure
from argo_mw_sandbox.vendors.rows import RowMemory, average_price, iso_times, trades, volumes

MOST_BARS = 10_000
MOST_NEWS = 50
SIP_DELAY = 15 * MINUTE
PATHS = {"/v2/stocks/bars": STOCKS, "/v1beta3/crypto/us/bars": CRYPTO}
NEWS_PATH = "/v1beta1/news"
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
class _Request:
    symbols: tuple[str, ...]
    timeframe: Timeframe
    start: float
    end: float
    limit: int
    descending: bool
    token: tuple[str, int] | None
    now: float


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

    def key(self, ask: Ask) -> str:
        """The key id, if the secret is there as well."""
        secret = ask.headers.get("APCA-API-SECRET-KEY", "")
        return ask.headers.get("APCA-API-KEY-ID", "") if secret else ""

    def symbols(self, ask: Ask) -> tuple[str, ...]:
        """The symbols asked for."""
        return tuple(s for s in ask.query.get("symbols", "").split(",") if s)

    def exceeded(self, standing: Standing) -> Answer:
        """429, whatever was used up."""
        return self.errors["rate_limit"]

    def headers(self, standing: Standing, now: float) -> Mapping[str, str]:
        """``X-Ratelimit-*`` with the epoch second at which the window ends."""
        limit = standing.limit or 10_000
        return {
            "X-Ratelimit-Limit": str(limit),
            "X-Ratelimit-Remaining": str(standing.remaining if standing.limit else limit),
            "X-Ratelimit-Reset": str(int(now + standing.reset) + 1),
        }

    def answer(self, ask: Ask, twist: str = "") -> Answer:
        """Bars or news."""
        news = ask.path == NEWS_PATH
        market = PATHS.get(ask.path)
        if not news and market is None:
            return failure(404, {"message": "endpoint not found."})
        if twist == "empty":
            return Answer(b'{"news":[],"next_page_token":null}' if news else NO_BARS)
        now = self._world.now(twist)
        try:
            return self._news(ask, now) if market is None else self._bars(ask, market, now)
        except BadAsk as bad:
            return bad.answer
        except ValueError as error:
            return failure(400, {"message": str(error)})

    def _bars(self, ask: Ask, market: Market, now: float) -> Answer:
        request = self._read(ask, market, now)
        if self._too_recent(ask, request, market):
            return self.errors["sip"]
        found: list[Instrument] = []
        parts: list[bytes] = []
        left = request.limit
        token: str | None = None
        for symbol in request.symbols:
            if left == 0:
                token = _write_token(symbol, _no_bound(request))
                break
            instrument = self._world.exchange.find(symbol, market)
            if instrument is None:
                continue
            bars, more = self._read_symbol(symbol, instrument, request, left)
            left -= len(bars)
            if len(bars):
                found.append(instrument)
                parts.append(self._encode(symbol, request, bars))
            if more:
                token = _write_token(symbol, _next_bound(bars, request))
                break
        return Answer(
            b'{"bars":{%s},"next_page_token":%s}' % (b",".join(parts), json.dumps(token).encode()),
            headers=label(found, intraday=request.timeframe.intraday),
        )

    def _read(self, ask: Ask, market: Market, now: float) -> _Request:
        query = ask.query
        symbols = tuple(sorted(set(self.symbols(ask))))
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
            raise BadAsk(self.errors["unprocessable"])
        token = _read_token(query["page_token"]) if query.get("page_token") else None
        return _Request(
            tuple(s for s in symbols if token is None or s >= token[0]),
            timeframe,
            start,
            end,
            _limit(query, 1000, MOST_BARS),
            _descending(query, default="asc"),
            token,
            now,
        )

    def _too_recent(self, ask: Ask, request: _Request, market: Market) -> bool:
        if self._world.paid or market is CRYPTO or ask.query.get("feed", "sip") != "sip":
            return False
        return request.end > request.now - SIP_DELAY and "end" in ask.query

    def _read_symbol(
        self, symbol: str, instrument: Instrument, request: _Request, limit: int
    ) -> tuple[Bars, bool]:
        start, end = request.start, request.end
        if request.token is not None and request.token[0] == symbol:
            if request.descending:
                end = min(end, request.token[1])
            else:
                start = max(start, request.token[1])
        span = Span(start, end, limit, newest_first=request.descending)
        page = read_bars(instrument, request.timeframe, span, request.now)
        return page.bars, page.more

    def _encode(self, symbol: str, request: _Request, bars: Bars) -> bytes:
        rows = self._memory.rows(symbol, request.timeframe, bars)
        if request.descending:
            rows = b",".join(b"{" + row for row in reversed(rows[1:].split(b",{")))
        return b'"%s":[%s]' % (symbol.encode(), rows)

    def _news(self, ask: Ask, now: float) -> Answer:
        query = ask.query
        start = first_second(query["start"], STOCKS) if query.get("start") else now - 30 * 86_400
        end = min(last_second(query["end"], STOCKS) if query.get("end") else now, now)
        limit = _limit(query, 10, MOST_NEWS)
        found = headlines(self._world.exchange, self.symbols(ask), start, end, self._world.seed)
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


def _limit(query: Mapping[str, str], default: int, most: int) -> int:
    text = query.get("limit") or str(default)
    if not text.isdigit() or not 1 <= int(text) <= most:
        msg = f"invalid limit: limit must be between 1 and {most}"
        raise ValueError(msg)
    return int(text)


def _descending(query: Mapping[str, str], default: str) -> bool:
    order = query.get("sort") or default
    if order not in ("asc", "desc"):
        msg = f"invalid sort: {order}"
        raise ValueError(msg)
    return order == "desc"


def _no_bound(request: _Request) -> int:
    return int(request.end if request.descending else request.start)


def _next_bound(bars: Bars, request: _Request) -> int:
    return int(bars.time[0]) - 1 if request.descending else int(bars.time[-1]) + 1


def _write_token(symbol: str, bound: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{bound}".encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        symbol, bound = base64.urlsafe_b64decode(token.encode()).decode().split("|")
        return symbol, int(bound)
    except (ValueError, binascii.Error):
        msg = "invalid page_token"
        raise ValueError(msg) from None
