"""Alpha Vantage: bars of stocks, and news with sentiment.

Errors and throttling arrive as 200 with a single key: ``Note``, ``Information`` or ``Error
Message``. The key travels in the URL, so it is added by the transport, below all logging.
Protocol: https://www.alphavantage.co/documentation/
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import httpx2
import msgspec
import numpy as np
from msgspec import Struct, field

from argo_mw.plugin import Action, Call, Context, Limits, Outcome, Upstream
from argo_mw_market.config import MAX_DECODED_BYTES, AlphaVantageConfig
from argo_mw_market.failures import MAX_FOREIGN, TOO_MANY, ErrorRule, Failure
from argo_mw_market.frames import Floats
from argo_mw_market.hours import NEW_YORK, AgeLimits
from argo_mw_market.http import MALFORMED, Http, HttpReply
from argo_mw_market.instants import Instants
from argo_mw_market.keys import find_keys
from argo_mw_market.news import Article
from argo_mw_market.off_loop import MANY_BYTES, off_loop
from argo_mw_market.operations import since
from argo_mw_market.symbols import Spelling, Symbol, read_symbol
from argo_mw_market.timeframes import Timeframe
from argo_mw_market.vendor import BarsQuestion, FetchRequests, Vendor

NAME = "alphavantage"
FREE_PLAN = Limits(per_second=1, per_day=25)
PAID_PLAN = Limits(per_minute=75)
"""The smallest of the paid plans."""

COMPACT = 100
"""Bars that the free plan grants, the newest."""

_DAY = 86_400.0
_MINUTE = 60.0
_HOUR = 3600.0
SPELLING = Spelling("CRYPTO:{base}", "{root}-{mark}", "{root}-P-{series}", "{root}-P")
_UTC = ZoneInfo("UTC")
_STAMP = "%Y%m%dT%H%M%S"
_MAX_INTRADAY_DAYS = 30
_NOTICES = ("Error Message", "Information", "Note")
_NO_ARTICLES = "no articles found"
_DATE = "%Y-%m-%d"
_COLUMNS = ("1. open", "2. high", "3. low", "4. close", "5. volume")

# The notices quote several limits at once, so the order of these rules matters.
RULES = (
    ErrorRule(200, "per second", Action.RETRY, "it was asked too fast", 1.0, TOO_MANY),
    ErrorRule(
        200, "per minute|frequency", Action.RETRY, "it was asked too often", _MINUTE, TOO_MANY
    ),
    ErrorRule(200, "per day", Action.SWITCH, "its quota of the day is used up", _HOUR, TOO_MANY),
    ErrorRule(200, "premium", Action.SWITCH, "the plan does not include this"),
    ErrorRule(
        200,
        "apikey",
        Action.SWITCH,
        "it does not take the key: set ALPHAVANTAGE_API_KEY, or key in "
        "[plugins.market.alphavantage]",
    ),
    ErrorRule(200, "Invalid API call", Action.SWITCH, "it does not know this symbol", missing=True),
    ErrorRule(200, "Invalid inputs", Action.SWITCH, "it refuses the question"),
    ErrorRule(200, "", Action.SWITCH, "it gave a notice instead of an answer"),
    ErrorRule(TOO_MANY, "", Action.RETRY, "it was asked too often", wait=_MINUTE),
    ErrorRule(range(400, 500), "", Action.SWITCH, "it refuses the question"),
)


class _Mention(Struct):
    ticker: str
    relevance_score: float
    ticker_sentiment_score: float


class _Item(Struct):
    title: str
    time_published: str
    url: str = ""
    summary: str = ""
    source: str = ""
    ticker_sentiment: list[_Mention] = field(default_factory=list)


_Row = dict[str, str]
_TOP = msgspec.json.Decoder(dict[str, msgspec.Raw])
_TEXT = msgspec.json.Decoder(str)
_SERIES = msgspec.json.Decoder(dict[str, _Row])
# Scores are numbers in one place and strings in another: lax decoding takes both.
_FEED = msgspec.json.Decoder(list[_Item], strict=False)


class AlphaVantage(Vendor):
    """Alpha Vantage's client."""

    def __init__(
        self,
        config: AlphaVantageConfig,
        context: Context,
        limits: AgeLimits,
        max_decoded_bytes: int = MAX_DECODED_BYTES,
    ) -> None:
        keys = find_keys(NAME, {"key": ("ALPHAVANTAGE_API_KEY",)}, {"key": config.key})

        def sign(request: httpx2.Request) -> None:
            request.url = request.url.copy_merge_params({"apikey": keys.reveal("key")})

        super().__init__(
            NAME,
            keys=keys,
            http=Http(NAME, config.url, sign, max_decoded_bytes),
            rules=RULES,
            context=context,
            limits=limits,
        )
        self._paid = config.paid

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        plan = PAID_PLAN if self._paid else FREE_PLAN
        return Upstream(
            NAME,
            frozenset({"bars", "news"}),
            self.fetch,
            limits=plan,
            metered=True,
            timeout=20.0,
            unsupported=self.unsupported,
            probe=self.probe(),
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        requests = self.requests(call)
        if call.operation.name == "news":
            return await self._news(call, requests)
        question = self.bars_question(call)
        top = await self._query(requests, self._parameters(question))
        name = next((key for key in top if key.startswith("Time Series")), None)
        if name is None:
            raise self.malformed(f"no time series among {_first(top)}")
        many = len(top[name]) > MANY_BYTES
        seconds, values = await off_loop(many, self._read, top[name], question.timeframe)
        recent = seconds >= question.start
        frame = self.frame(question, seconds[recent], values[recent])
        return self.outcome(question, frame, requests.cost())

    def lacks(self, call: Call) -> str | None:
        """Name pairs, and bars beyond the plan: their refusal would cost one of 25 requests."""
        if call.operation.name == "news":
            return None
        question = self.bars_question(call)
        frame, days = question.timeframe, _days(question)
        if question.symbol.crypto:
            return f"has no bars of pairs like {question.symbol.name}"
        if not frame.daily and not self._paid:
            return "has only daily bars on the free plan"
        if not frame.daily and days > _MAX_INTRADAY_DAYS:
            return f"has {_MAX_INTRADAY_DAYS} days of {frame.name} bars: ask for fewer days"
        if frame.daily and not self._paid and _sessions(days) > COMPACT:
            return f"has {COMPACT} bars on the free plan: ask for fewer days"
        return None

    def _parameters(self, question: BarsQuestion) -> dict[str, str | int]:
        frame = question.timeframe
        whole = self._paid and (not frame.daily or _sessions(_days(question)) > COMPACT)
        parameters: dict[str, str | int] = {
            "function": "TIME_SERIES_DAILY" if frame.daily else "TIME_SERIES_INTRADAY",
            "symbol": ticker_of(question.symbol),
            "outputsize": "full" if whole else "compact",
        }
        if not frame.daily:
            parameters["interval"] = f"{frame.seconds // 60}min"
        return parameters

    async def _query(
        self, requests: FetchRequests, parameters: Mapping[str, str | int]
    ) -> dict[str, msgspec.Raw]:
        """Return the top level of an answer.

        Raises:
            UpstreamError: It is a notice, which means an error.
        """
        reply = await requests.ask("/query", parameters)
        top = await self.decode(reply, _TOP)
        for key in _NOTICES:
            if key in top:
                text = _text(top[key])[:MAX_FOREIGN]
                if _NO_ARTICLES in text.lower():
                    return {"feed": msgspec.Raw(b"[]")}
                raise self.failed(Failure(reply.status, text))
        return top

    def _read(self, series: msgspec.Raw, frame: Timeframe) -> tuple[Floats, Floats]:
        """Return starts and values of a series: strings, newest first, in naive Eastern time."""
        try:
            rows = _SERIES.decode(series)
            values = np.array([[row[c] for c in _COLUMNS] for row in rows.values()], np.float64)
            form = _DATE if frame.daily else f"{_DATE} %H:%M:%S"
            seconds = self.instants().from_local(list(rows), form, NEW_YORK)
        except (*MALFORMED, KeyError, ValueError) as error:
            raise self.malformed(f"a time series ({error})") from None
        return seconds[::-1], values[::-1].reshape(-1, len(_COLUMNS))

    async def _news(self, call: Call, requests: FetchRequests) -> Outcome:
        now = self.clock.time()
        symbol = read_symbol(call.subject)
        limit = call.parameters["limit"]
        assert isinstance(limit, int)
        top = await self._query(
            requests,
            {
                "function": "NEWS_SENTIMENT",
                "tickers": ticker_of(symbol),
                "time_from": f"{datetime.fromtimestamp(since(call, now), UTC):%Y%m%dT%H%M}",
                "sort": "LATEST",
                "limit": limit,
            },
        )
        if "feed" not in top:
            raise self.malformed(f"no feed among {_first(top)}")
        try:
            many = len(top["feed"]) > MANY_BYTES
            items = await off_loop(many, _FEED.decode, top["feed"])
            articles = _articles(items[:limit], ticker_of(symbol), self.instants())
        except (*MALFORMED, ValueError) as error:
            raise self.malformed(f"a feed ({error})") from None
        return Outcome(articles, as_of=now, cost=requests.cost())

    def error_text(self, reply: HttpReply) -> str:
        """Return the notice, or the page."""
        try:
            top = _TOP.decode(reply.body)
        except MALFORMED:
            return super().error_text(reply)
        return next((_text(top[key]) for key in _NOTICES if key in top), "")


def _days(question: BarsQuestion) -> int:
    return int((question.now - question.start) // _DAY)


def _sessions(days: int) -> float:
    """Return about how many sessions *days* days have: a year has 252."""
    return days * 252 / 365


def ticker_of(symbol: Symbol) -> str:
    """Return Alpha Vantage's spelling of *symbol*; pairs are named by their coin."""
    return SPELLING.of(symbol)


def _text(raw: msgspec.Raw) -> str:
    try:
        return _TEXT.decode(raw)
    except MALFORMED:
        return bytes(raw)[:MAX_FOREIGN].decode("utf-8", "replace")


def _first(top: Mapping[str, msgspec.Raw]) -> str:
    """Return the first of the keys in *top*, for a message."""
    return ", ".join(key[:100] for key in islice(top, 10)) or "nothing"


def _articles(items: Sequence[_Item], ticker: str, instants: Instants) -> tuple[Article, ...]:
    seconds = instants.from_local([item.time_published for item in items], _STAMP, _UTC)
    return tuple(
        _article(item, ticker, published)
        for item, published in zip(items, seconds.tolist(), strict=True)
    )


def _article(item: _Item, ticker: str, published: float) -> Article:
    about = next((one for one in item.ticker_sentiment if one.ticker == ticker), None)
    return Article(
        title=item.title,
        url=item.url,
        published=datetime.fromtimestamp(published, UTC),
        source=item.source,
        summary=item.summary,
        sentiment=None if about is None else _within(about.ticker_sentiment_score, -1.0),
        relevance=1.0 if about is None else _within(about.relevance_score, 0.0) or 0.0,
    )


def _within(score: float, least: float) -> float | None:
    """Return *score* within *least* and 1, or ``None`` where it is not a number."""
    return None if math.isnan(score) else max(least, min(1.0, score))
