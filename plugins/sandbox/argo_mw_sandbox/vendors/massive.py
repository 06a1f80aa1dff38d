"""Massive (formerly Polygon.io): aggregates of stocks and crypto.

Protocol: https://massive.com/docs/rest/stocks/aggregates/custom-bars
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Mapping

from attrs import frozen

from argo_mw_sandbox.bars import Bars, Timeframe
from argo_mw_sandbox.exchange import Span, read_bars
from argo_mw_sandbox.instruments import Instrument
from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.sessions import CRYPTO, STOCKS, Market
from argo_mw_sandbox.splits import adjusted
from argo_mw_sandbox.vendors.dates import first_second, last_second
from argo_mw_sandbox.vendors.headers import label
from argo_mw_sandbox.vendors.protocol import MARKET_TWISTS, Answer, VendorRequest, World, failure
from argo_mw_sandbox.vendors.rows import RowMemory, average_price, trades, volumes

MAX_RESULTS = 50_000
DEFAULT = 5000
PATH = re.compile(
    r"/v2/aggs/ticker/(?P<ticker>[^/]+)/range/(?P<count>\d+)/(?P<unit>[a-z]+)"
    r"/(?P<start>[^/]+)/(?P<end>[^/]+)"
)
TICKER = re.compile(r"/v2/aggs/ticker/([^/]+)/")
UNITS = ("second", "minute", "hour", "day", "week", "month", "quarter", "year")
REQUEST_ID = "6a7e466379af0a71039d60cc78e72282"


def _error(status: int, code: str, **texts: str) -> Answer:
    return failure(status, {"status": code, "request_id": REQUEST_ID, **texts})


@frozen
class _BarsQuery:
    ticker: str
    market: Market
    timeframe: Timeframe
    start: float
    end: float
    limit: int
    descending: bool
    adjusted: bool


class Massive:
    """Massive's aggregates.

    Args:
        world: What it answers from.
    """

    name = "massive"
    errors: Mapping[str, Answer] = {
        "unauthorized": _error(401, "ERROR", error="Unknown API Key"),
        "missing_key": _error(401, "ERROR", error="API Key was not provided"),
        "rate_limit": _error(
            429,
            "ERROR",
            error="You've exceeded the maximum requests per minute, please wait or upgrade your "
            "subscription to continue. https://massive.com/pricing",
        ),
        "not_authorized": _error(
            403,
            "NOT_AUTHORIZED",
            message="You are not entitled to this data. Please upgrade your plan at "
            "https://massive.com/pricing",
        ),
        "bad_request": _error(400, "ERROR", error="The parameter 'to' cannot be before 'from'"),
        "not_found": _error(404, "NOT_FOUND", message="Data not found."),
        "server_error": _error(500, "ERROR", error="An internal error occurred"),
        "unavailable": _error(503, "ERROR", error="Service unavailable"),
        "in_body_error": Answer(
            b'{"status":"ERROR","request_id":"%s","error":"Internal timeout while reading '
            b'aggregates"}' % REQUEST_ID.encode(),
            error=True,
        ),
        "garbage": Answer(b'{"ticker":"AAPL","queryCount":', error=True),
    }

    twists = MARKET_TWISTS

    def __init__(self, world: World) -> None:
        self._world = world
        self._memory = RowMemory(_rows)

    def key(self, request: VendorRequest) -> str:
        """Return the bearer token, or the key in the query."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme == "Bearer" else request.query.get("apiKey", "")

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether it needs no key: none does."""
        return False

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the ticker."""
        match = TICKER.match(request.path)
        return (match[1],) if match else ()

    def exceeded(self, standing: Standing) -> Answer:
        """429, whatever was used up."""
        return self.errors["rate_limit"]

    def headers(
        self,
        standing: Standing,
        now: float,
    ) -> Mapping[str, str]:
        """Return nothing: this vendor reports no quotas."""
        return {}

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return aggregates."""
        match = PATH.fullmatch(request.path)
        if match is None:
            return failure(404, {"status": "ERROR", "error": "404 page not found"})
        try:
            wanted = _read(match, request.query)
        except ValueError as error:
            return _error(400, "ERROR", error=str(error))
        instrument = self._world.exchange.find(wanted.ticker, wanted.market)
        if instrument is None or twist == "empty":
            return Answer(_body(wanted, (0, 0), b"", ""))
        return self._aggregates(request, wanted, instrument, self._world.now(twist))

    def _aggregates(
        self, request: VendorRequest, wanted: _BarsQuery, instrument: Instrument, now: float
    ) -> Answer:
        span = Span(
            wanted.start, wanted.end, wanted.limit, newest_first=wanted.descending, of_base=True
        )
        page = read_bars(instrument, wanted.timeframe, span, now)
        bars = adjusted(page.bars, instrument) if wanted.adjusted else page.bars
        rows = self._memory.rows(wanted.ticker, (wanted.timeframe, wanted.adjusted), bars)
        if wanted.descending and rows:
            rows = b",".join(b"{" + row for row in reversed(rows[1:].split(b",{")))
        link = _next_url(request, wanted, page.bars) if page.more else ""
        return Answer(
            _body(wanted, (page.base, len(page.bars)), rows, link),
            headers=label([instrument], intraday=wanted.timeframe.intraday),
        )


def _read(match: re.Match[str], query: Mapping[str, str]) -> _BarsQuery:
    ticker = match["ticker"]
    market = CRYPTO if ticker.startswith("X:") else STOCKS
    if match["unit"] not in UNITS or match["count"] == "0":
        msg = f"Could not parse the time parameter: 'timespan'. Use one of {', '.join(UNITS)}."
        raise ValueError(msg)
    limit = query.get("limit") or str(DEFAULT)
    if not limit.isdigit() or not 1 <= int(limit) <= MAX_RESULTS:
        msg = f"Could not parse the parameter: 'limit'. Use a number from 1 to {MAX_RESULTS}."
        raise ValueError(msg)
    start = _instant(match["start"], market, "from", first_second)
    end = _instant(match["end"], market, "to", last_second)
    if end < start:
        msg = "The parameter 'to' cannot be a time that occurs before 'from'"
        raise ValueError(msg)
    return _BarsQuery(
        ticker,
        market,
        Timeframe(int(match["count"]), match["unit"]),
        start,
        end,
        int(limit),
        query.get("sort") == "desc",
        query.get("adjusted", "true").lower() != "false",
    )


def _instant(text: str, market: Market, name: str, read: Callable[[str, Market], float]) -> float:
    if text.isdigit():
        return int(text) / 1000
    try:
        return read(text, market)
    except ValueError:
        msg = f"Could not parse the time parameter: '{name}'. Use YYYY-MM-DD or Unix MS Timestamps"
        raise ValueError(msg) from None


def _next_url(request: VendorRequest, wanted: _BarsQuery, bars: Bars) -> str:
    start, end = int(wanted.start * 1000), int(wanted.end * 1000)
    if wanted.descending:
        end = int(bars.time[0]) * 1000 - 1
    else:
        start = int(bars.time[-1]) * 1000 + 1
    frame = wanted.timeframe
    order = "desc" if wanted.descending else "asc"
    return (
        f"{request.base}/v2/aggs/ticker/{wanted.ticker}/range/{frame.count}/{frame.unit}"
        f"/{start}/{end}?adjusted={json.dumps(wanted.adjusted)}&limit={wanted.limit}&sort={order}"
    )


def _body(wanted: _BarsQuery, counts: tuple[int, int], rows: bytes, link: str) -> bytes:
    """Return an answer; *counts* are of the bars that were read and of those that were made."""
    base, count = counts
    head = (
        f'{{"ticker":{json.dumps(wanted.ticker)},"queryCount":{base},"resultsCount":{count},'
        f'"adjusted":{json.dumps(wanted.adjusted)},"status":"OK","request_id":"{zlib.crc32(rows):032x}","count":{count}'
    )
    results = b',"results":[%s]' % rows if count else b""
    tail = f',"next_url":"{link}"}}' if link else "}"
    return head.encode() + results + tail.encode()


def _rows(bars: Bars) -> bytes:
    rows = zip(
        volumes(bars),
        average_price(bars),
        bars.open.tolist(),
        bars.close.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        (bars.time * 1000).tolist(),
        trades(bars),
        strict=True,
    )
    row = '{"v":%r,"vw":%r,"o":%r,"c":%r,"h":%r,"l":%r,"t":%d,"n":%d}'
    return ",".join([row % values for values in rows]).encode()
