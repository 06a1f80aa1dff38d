"""Alpha Vantage: daily and intraday stock prices, news with sentiment.

Errors and throttling arrive as 200 with a single key, ``Information``, ``Note`` or
``Error Message``. Protocol: https://www.alphavantage.co/documentation/
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime

from argo_mw_sandbox.bars import DAY, Bars, Timeframe
from argo_mw_sandbox.exchange import Span, read_bars
from argo_mw_sandbox.instruments import Instrument, completed
from argo_mw_sandbox.news import Headline, headlines, sentiment_label
from argo_mw_sandbox.quotas import Standing
from argo_mw_sandbox.sessions import NEW_YORK, STOCKS, Market
from argo_mw_sandbox.splits import adjusted
from argo_mw_sandbox.vendors.headers import label
from argo_mw_sandbox.vendors.protocol import MARKET_TWISTS, Answer, BadRequest, VendorRequest, World
from argo_mw_sandbox.vendors.rows import RowMemory, volumes

_MONTH = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
COMPACT = 100
FULL = 100_000
INTERVALS = {f"{n}min": Timeframe(n, "minute") for n in (1, 5, 15, 30, 60)}
DAILY = Timeframe(1, "day")
MAX_NEWS = 1000
SCORE_DEFINITION = (
    "x <= -0.35: Bearish; -0.35 < x <= -0.15: Somewhat-Bearish; -0.15 < x < 0.15: Neutral; "
    "0.15 <= x < 0.35: Somewhat_Bullish; x >= 0.35: Bullish"
)
RELEVANCE_DEFINITION = "0 < x <= 1, with a higher score indicating higher relevance."


def _notice(key: str, text: str) -> Answer:
    return Answer(json.dumps({key: text}, indent=4).encode(), error=True)


def _invalid(function: str) -> Answer:
    return _notice(
        "Error Message",
        "Invalid API call. Please retry or visit the documentation "
        f"(https://www.alphavantage.co/documentation/) for {function}.",
    )


class AlphaVantage:
    """Alpha Vantage's query endpoint.

    Args:
        world: What it answers from.
    """

    name = "alphavantage"
    errors: Mapping[str, Answer] = {
        "unauthorized": _notice(
            "Error Message",
            "the parameter apikey is invalid or missing. Please claim your free API key on "
            "(https://www.alphavantage.co/support/#api-key). It should take less than 20 seconds.",
        ),
        "per_day": _notice(
            "Information",
            "Thank you for using Alpha Vantage! Our standard API rate limit is 25 requests per "
            "day. Please subscribe to any of the premium plans at "
            "https://www.alphavantage.co/premium/ to instantly remove all daily rate limits.",
        ),
        "per_second": _notice(
            "Information",
            "Thank you for using Alpha Vantage! Please consider spreading out your free API "
            "requests more sparingly (1 request per second). You may subscribe to any of the "
            "premium plans at https://www.alphavantage.co/premium/ to lift the free key rate "
            "limit (25 requests per day), raise the per-second burst limit, and instantly unlock "
            "all premium endpoints",
        ),
        "note": _notice(
            "Note",
            "Thank you for using Alpha Vantage! Our standard API call frequency is 5 calls per "
            "minute and 500 calls per day. Please visit https://www.alphavantage.co/premium/ if "
            "you would like to target a higher API call frequency.",
        ),
        "premium": _notice(
            "Information",
            "Thank you for using Alpha Vantage! This is a premium endpoint. You may subscribe to "
            "any of the premium plans at https://www.alphavantage.co/premium/ to instantly unlock "
            "all premium endpoints",
        ),
        "error_message": _invalid("TIME_SERIES_DAILY"),
        "invalid_inputs": _notice(
            "Information",
            "Invalid inputs. Please refer to the API documentation "
            "https://www.alphavantage.co/documentation#newsapi and try again.",
        ),
        "no_articles": _notice(
            "Information",
            "No articles found. Please adjust the time range or refer to the API documentation "
            "https://www.alphavantage.co/documentation#newsapi and try again.",
        ),
        "server_error": Answer(
            b"<h1>Server Error (500)</h1>", 500, content_type="text/html", error=True
        ),
        "unavailable": Answer(
            b"<h1>503 Service Unavailable</h1>", 503, content_type="text/html", error=True
        ),
        "garbage": Answer(b'{"Meta Data": {"1. Information": "Da', error=True),
    }

    twists = MARKET_TWISTS

    def __init__(self, world: World) -> None:
        self._world = world
        self._daily = RowMemory(_encoder("%Y-%m-%d"))
        self._intraday = RowMemory(_encoder("%Y-%m-%d %H:%M:%S"))

    def key(self, request: VendorRequest) -> str:
        """Return the key in the query."""
        return request.query.get("apikey", "")

    def is_public(self, request: VendorRequest) -> bool:
        """Return whether it needs no key: none does."""
        return False

    def symbols(self, request: VendorRequest) -> tuple[str, ...]:
        """Return the symbol of a series, or the tickers of a question for news."""
        named = request.query.get("symbol") or request.query.get("tickers") or ""
        return tuple(s.removeprefix("CRYPTO:").upper() for s in named.split(",") if s)

    def exceeded(self, standing: Standing) -> Answer:
        """200 with an ``Information``."""
        return self.errors["per_day" if standing.exceeded == "day" else "per_second"]

    def headers(
        self,
        standing: Standing,
        now: float,
    ) -> Mapping[str, str]:
        """Return nothing: this vendor reports no quotas."""
        return {}

    def answer(self, request: VendorRequest, twist: str = "") -> Answer:
        """Return a series or a feed."""
        if request.path != "/query":
            return Answer(b"<h1>Not Found</h1>", 404, content_type="text/html", error=True)
        functions: dict[str, Callable[[VendorRequest, float], Answer]] = {
            "TIME_SERIES_DAILY": self._read_daily,
            "TIME_SERIES_INTRADAY": self._read_intraday,
            "NEWS_SENTIMENT": self._read_news,
        }
        function = request.query.get("function", "").upper()
        if function not in functions:
            return _notice(
                "Error Message",
                f"This API function ({function}) does not exist.",
            )
        try:
            return functions[function](request, 0.0 if twist == "empty" else self._world.now(twist))
        except BadRequest as bad:
            return bad.answer

    def _read_daily(self, request: VendorRequest, now: float) -> Answer:
        instrument = self._instrument(request)
        size = self._size(request)
        done = completed(instrument, now)
        end = float(instrument.daily.time[done - 1]) if done else 0.0
        bars = read_bars(instrument, DAILY, Span(0.0, end, size, newest_first=True), now).bars
        rows = self._daily.rows(instrument.symbol, DAILY, bars)
        meta = {
            "1. Information": "Daily Prices (open, high, low, close) and Volumes",
            "2. Symbol": request.query["symbol"],
            "3. Last Refreshed": _last(bars, "%Y-%m-%d"),
            "4. Output Size": "Compact" if size == COMPACT else "Full size",
            "5. Time Zone": "US/Eastern",
        }
        source = label([instrument], intraday=False)
        if _wants_csv(request):
            return _csv(bars, "%Y-%m-%d", source)
        return _series(meta, "Time Series (Daily)", rows, source)

    def _read_intraday(self, request: VendorRequest, now: float) -> Answer:
        if not self._world.paid:
            raise BadRequest(self.errors["premium"])
        instrument = self._instrument(request)
        interval = request.query.get("interval", "")
        timeframe = INTERVALS.get(interval)
        if timeframe is None:
            raise BadRequest(_invalid("TIME_SERIES_INTRADAY"))
        size = self._size(request)
        start, end = _month(request.query.get("month"), instrument.market, now)
        bars = read_bars(instrument, timeframe, Span(start, end, size, newest_first=True), now).bars
        as_traded = request.query.get("adjusted") == "false"
        bars = bars if as_traded else adjusted(bars, instrument)
        meta = {
            "1. Information": f"Intraday ({interval}) open, high, low, close prices and volume",
            "2. Symbol": request.query["symbol"],
            "3. Last Refreshed": _last(bars, "%Y-%m-%d %H:%M:%S"),
            "4. Interval": interval,
            "5. Output Size": "Compact" if size == COMPACT else "Full size",
            "6. Time Zone": "US/Eastern",
        }
        rows = self._intraday.rows(instrument.symbol, (timeframe, as_traded), bars)
        source = label([instrument], intraday=True)
        if _wants_csv(request):
            return _csv(bars, "%Y-%m-%d %H:%M:%S", source)
        return _series(meta, f"Time Series ({interval})", rows, source)

    def _instrument(self, request: VendorRequest) -> Instrument:
        found = self._world.exchange.find(request.query.get("symbol", ""), STOCKS)
        if found is None:
            raise BadRequest(_invalid(request.query["function"].upper()))
        return found

    def _size(self, request: VendorRequest) -> int:
        size = request.query.get("outputsize") or "compact"
        if size not in ("compact", "full"):
            raise BadRequest(_invalid(request.query["function"].upper()))
        if size == "full" and not self._world.paid:
            raise BadRequest(self.errors["premium"])
        return COMPACT if size == "compact" else FULL

    def _read_news(self, request: VendorRequest, now: float) -> Answer:
        query = request.query
        limit = query.get("limit") or "50"
        order = (query.get("sort") or "LATEST").upper()
        if not limit.isdigit() or order not in ("LATEST", "EARLIEST", "RELEVANCE"):
            raise BadRequest(self.errors["invalid_inputs"])
        try:
            start = _stamp(query["time_from"]) if query.get("time_from") else 0.0
            end = min(_stamp(query["time_to"]) if query.get("time_to") else now, now)
        except ValueError:
            raise BadRequest(self.errors["invalid_inputs"]) from None
        found = headlines(self._world.exchange, self.symbols(request), start, end, self._world.seed)
        if order == "EARLIEST":
            found.reverse()
        return _feed(found[: min(int(limit), MAX_NEWS)])


def _encoder(form: str) -> Callable[[Bars], bytes]:
    def encode(bars: Bars) -> bytes:
        times = [datetime.fromtimestamp(t, NEW_YORK).strftime(form) for t in bars.time.tolist()]
        columns = (bars.open, bars.high, bars.low, bars.close)
        rows = zip(times, *(column.tolist() for column in columns), volumes(bars), strict=True)
        row = (
            '"%s":{"1. open":"%.4f","2. high":"%.4f","3. low":"%.4f","4. close":"%.4f",'
            '"5. volume":"%s"}'
        )
        return ",".join([row % values for values in rows][::-1]).encode()

    return encode


def _series(meta: Mapping[str, str], name: str, rows: bytes, headers: Mapping[str, str]) -> Answer:
    body = b'{"Meta Data":%s,"%s":{%s}}' % (json.dumps(meta).encode(), name.encode(), rows)
    return Answer(body, headers=headers)


def _wants_csv(request: VendorRequest) -> bool:
    return request.query.get("datatype") == "csv"


def _csv(bars: Bars, form: str, headers: Mapping[str, str]) -> Answer:
    """Return a series as a table, newest first; only errors come as JSON then."""
    lines = ["timestamp,open,high,low,close,volume"]
    columns = (bars.open, bars.high, bars.low, bars.close)
    rows = zip(bars.time.tolist(), *(c.tolist() for c in columns), volumes(bars), strict=True)
    for time, *prices, volume in [*rows][::-1]:
        texts = (f"{price:.4f}" for price in prices)
        lines.append(
            ",".join([datetime.fromtimestamp(time, NEW_YORK).strftime(form), *texts, str(volume)])
        )
    body = "".join(f"{line}\r\n" for line in lines).encode()
    return Answer(body, headers=headers, content_type="application/x-download")


def _last(bars: Bars, form: str) -> str:
    return datetime.fromtimestamp(int(bars.time[-1]), NEW_YORK).strftime(form) if len(bars) else ""


def _month(text: str | None, market: Market, now: float) -> tuple[float, float]:
    """Return the named month, or the 30 days before now."""
    if not text:
        return now - 30 * DAY, now
    if _MONTH.fullmatch(text) is None:
        raise BadRequest(_invalid("TIME_SERIES_INTRADAY"))
    year, month = map(int, text.split("-"))
    after = date(year + month // 12, month % 12 + 1, 1)
    epoch = date(1970, 1, 1)
    first = market.midnight((date(year, month, 1) - epoch).days)
    return float(first), float(market.midnight((after - epoch).days) - 1)


def _stamp(text: str) -> float:
    return datetime.strptime(text, "%Y%m%dT%H%M").replace(tzinfo=UTC).timestamp()


def _feed(found: list[Headline]) -> Answer:
    content = {
        "items": str(len(found)),
        "sentiment_score_definition": SCORE_DEFINITION,
        "relevance_score_definition": RELEVANCE_DEFINITION,
        "feed": [_article(item) for item in found],
    }
    return Answer(json.dumps(content).encode())


def _article(item: Headline) -> dict[str, object]:
    return {
        "title": item.title,
        "url": item.url,
        "time_published": f"{item.published:%Y%m%dT%H%M%S}",
        "authors": ["argo-mw sandbox"],
        "summary": item.summary,
        "banner_image": None,
        "source": "synthetic",
        "category_within_source": "n/a",
        "source_domain": "127.0.0.1",
        "topics": [{"topic": "Financial Markets", "relevance_score": "0.99"}],
        "overall_sentiment_score": item.score,
        "overall_sentiment_label": item.label,
        "ticker_sentiment": [
            {
                "ticker": item.symbol,
                "relevance_score": "0.95",
                "ticker_sentiment_score": str(item.score),
                "ticker_sentiment_label": sentiment_label(item.score),
            }
        ],
    }
