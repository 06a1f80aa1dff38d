"""Alpaca: bars of stocks and crypto pairs, a hundred symbols in a request, and news.

Protocol: https://docs.alpaca.markets/reference/stockbars
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import httpx2
import msgspec
import numpy as np
from msgspec import Struct, field

from argo_mw.plugin import (
    Action,
    BadParameter,
    Batching,
    Call,
    Context,
    Cost,
    Limits,
    NotFound,
    Outcome,
    QuotaExceeded,
    Request,
    Result,
    Upstream,
    UpstreamError,
    copy_error,
)
from argo_mw_market.config import AlpacaConfig
from argo_mw_market.failures import TOO_MANY, Rule
from argo_mw_market.hours import Freshness
from argo_mw_market.http import Http, Reply, decode
from argo_mw_market.keys import find_keys
from argo_mw_market.news import Article
from argo_mw_market.operations import since
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.vendor import BarsQuestion, Trip, Vendor, seconds_of

NAME = "alpaca"
PLAN = Limits(per_minute=200)
MOST_SYMBOLS = 100
MOST_PAGES = 50
_MOST_BARS = 10_000
_MOST_NEWS = 50
_MINUTE = 60.0
_FRAMES_AT_ONCE = 10
# A frame takes 0.15 ms to build: a hundred in one go would hold the loop for 15 ms.
_INVALID_SYMBOL = "invalid symbol"
_NAMED = re.compile(rf"{_INVALID_SYMBOL}:? *([^\s,)]+)")

RULES = (
    Rule(TOO_MANY, "", Action.RETRY, "its quota of requests is used up", wait=_MINUTE),
    Rule(400, _INVALID_SYMBOL, Action.SWITCH, "it does not know this symbol", missing=True),
    Rule((400, 422), "", Action.STOP, "it refuses the question"),
    Rule(
        403,
        "subscription",
        Action.SWITCH,
        'the plan does not include this; set feed = "iex" in [plugins.market.alpaca]',
    ),
    Rule(
        (401, 403),
        "",
        Action.SWITCH,
        "it does not take the key: set APCA_API_KEY_ID and APCA_API_SECRET_KEY, or key and "
        "secret in [plugins.market.alpaca]",
    ),
    Rule(404, "", Action.SWITCH, "there is no such thing there: check url"),
)


class _Bar(Struct):
    t: datetime
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: float


class _Bars(Struct):
    bars: dict[str, list[_Bar]] | None
    next_page_token: str | None = None


Found = dict[str, "list[_Bar] | Exception"]
"""Bars, or why there are none, by Alpaca's spelling of the symbol."""


class _Item(Struct):
    headline: str
    created_at: datetime
    symbols: list[str]
    url: str | None = None
    source: str = ""
    summary: str = ""


class _News(Struct):
    news: list[_Item] | None
    next_page_token: str | None = None


class _Error(Struct):
    message: str = ""
    code: int | None = field(default=None)


_BARS = msgspec.json.Decoder(_Bars)
_NEWS = msgspec.json.Decoder(_News)
_ERROR = msgspec.json.Decoder(_Error)


class Alpaca(Vendor):
    """Alpaca's client."""

    def __init__(self, config: AlpacaConfig, context: Context, limits: Freshness) -> None:
        keys = find_keys(
            NAME,
            {"key": ("APCA_API_KEY_ID",), "secret": ("APCA_API_SECRET_KEY",)},
            {"key": config.key, "secret": config.secret},
        )

        def sign(request: httpx2.Request) -> None:
            request.headers["APCA-API-KEY-ID"] = keys.reveal("key")
            request.headers["APCA-API-SECRET-KEY"] = keys.reveal("secret")

        super().__init__(
            NAME,
            keys=keys,
            http=Http(NAME, config.url, sign),
            rules=RULES,
            context=context,
            limits=limits,
        )
        self._feed = config.feed
        self._closed_until = 0.0

    def upstream(self) -> Upstream:
        """The upstream to register."""
        return Upstream(
            NAME,
            frozenset({"bars", "news"}),
            self.fetch,
            batching=Batching(self.fetch_many, max_size=MOST_SYMBOLS),
            limits=PLAN,
            timeout=15.0,
            unsupported=self.unsupported,
        )

    async def fetch(self, call: Call) -> Outcome:
        """The answer to *call*."""
        (answer,) = await self.fetch_many([call])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        """The answers to *calls*, which differ in their symbol only."""
        if calls[0].operation.name == "news":
            return await self._news(calls)
        return await self._bars(calls)

    # -- bars --------------------------------------------------------------------------------

    async def _bars(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        trip = self.trip(calls[0])
        questions = [self.bars_question(call) for call in calls]
        found: Found = {}
        markets = [[q for q in questions if q.symbol.crypto is crypto] for crypto in (False, True)]
        asked = [market for market in markets if market]
        # What goes wrong with one market is not the other's: no failure cancels its neighbour.
        parts = await asyncio.gather(
            *(self._read_bars(trip, market) for market in asked), return_exceptions=True
        )
        for market, part in zip(asked, parts, strict=True):
            if isinstance(part, Exception):
                found.update({_spelling(q.symbol): copy_error(part) for q in market})
            elif isinstance(part, BaseException):
                raise part
            else:
                found.update(part)
        cost = trip.cost(len(calls))
        answers: list[Outcome | Exception] = []
        for number, question in enumerate(questions, 1):
            answers.append(self._answer(question, found, cost))
            if number % _FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return answers

    async def _read_bars(self, trip: Trip, questions: Sequence[BarsQuestion]) -> Found:
        """The bars of symbols of one market, in common requests.

        A symbol that Alpaca refuses takes itself out; the others are asked again without it.
        """
        refused: Found = {}
        wanted = [_spelling(question.symbol) for question in questions]
        while wanted:
            try:
                return {**await self._read_pages(trip, wanted, questions[0]), **refused}
            except NotFound as error:
                named = _NAMED.search(str(error))
                if named is None or named[1] not in wanted:
                    raise
                refused[named[1]] = error
                wanted = [spelling for spelling in wanted if spelling != named[1]]
        return refused

    async def _read_pages(
        self, trip: Trip, spellings: Sequence[str], question: BarsQuestion
    ) -> Found:
        crypto = question.symbol.crypto
        parameters: dict[str, str | int] = {
            "symbols": ",".join(dict.fromkeys(spellings)),
            "timeframe": question.timeframe.name,
            "start": _stamp(question.start),
            "limit": _MOST_BARS,
        }
        if not crypto:
            parameters["adjustment"] = "split"
            if self._feed is not None:
                parameters["feed"] = self._feed
        path = "/v1beta3/crypto/us/bars" if crypto else "/v2/stocks/bars"
        bars: dict[str, list[_Bar]] = {}
        # Together symbols take as many pages as they would one by one.
        most = MOST_PAGES * len(spellings)
        for _ in range(most):
            page = decode(NAME, await trip.ask(path, parameters), _BARS)
            for spelling, more in (page.bars or {}).items():
                bars.setdefault(spelling, []).extend(more)
            if not page.next_page_token:
                return {**bars}
            parameters["page_token"] = page.next_page_token
        raise self.malformed(f"more than {most} pages; ask for fewer days")

    def _answer(self, question: BarsQuestion, found: Found, cost: Cost) -> Outcome | Exception:
        bars = found.get(_spelling(question.symbol), [])
        if isinstance(bars, Exception):
            return bars
        seconds = np.array([bar.t.timestamp() for bar in bars], np.float64)
        values = np.array([(b.o, b.h, b.l, b.c, b.v) for b in bars], np.float64)
        try:
            return self.outcome(question, self.frame(question, seconds, values), cost)
        except UpstreamError as error:
            return error

    # -- news --------------------------------------------------------------------------------

    async def _news(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        now = self.clock.time()
        limit = calls[0].parameters["limit"]
        assert isinstance(limit, int)
        found: dict[str, list[Article]] = {_plain(call.subject): [] for call in calls}
        parameters: dict[str, str | int] = {
            "symbols": ",".join(found),
            "start": _stamp(since(calls[0], now)),
            "sort": "desc",
            "limit": _MOST_NEWS,
        }
        trip = self.trip(calls[0])
        for _ in range(MOST_PAGES):
            page = decode(NAME, await trip.ask("/v1beta1/news", parameters), _NEWS)
            for item in page.news or ():
                article = _article(item)
                for symbol in found.keys() & _mentioned(item):
                    found[symbol].append(article)
            if not page.next_page_token or all(len(a) >= limit for a in found.values()):
                break
            parameters["page_token"] = page.next_page_token
        cost = trip.cost(len(calls))
        return [
            Outcome(tuple(found[_plain(call.subject)][:limit]), as_of=now, cost=cost)
            for call in calls
        ]

    # -- errors and quotas -------------------------------------------------------------------

    def error_text(self, reply: Reply) -> str:
        """The message."""
        try:
            return _ERROR.decode(reply.body).message
        except msgspec.MsgspecError:
            return super().error_text(reply)

    def wait(self, reply: Reply) -> float | None:
        """Until the window ends, as the headers have it."""
        told = super().wait(reply)
        return self._until_reset(reply) if told is None and reply.status == TOO_MANY else told

    def heed(self, reply: Reply) -> None:
        """Remember that nothing is left of the quota, until its window ends."""
        if reply.headers.get("x-ratelimit-remaining") == "0":
            wait = self._until_reset(reply)
            if wait is not None:
                self._closed_until = self.clock.time() + wait

    def _until_reset(self, reply: Reply) -> float | None:
        reset = seconds_of(reply.headers.get("x-ratelimit-reset"))
        wait = -1.0 if reset is None else reset - self.clock.time()
        # Its clock and ours may differ; a window is a minute.
        return wait if 0.0 < wait <= _MINUTE else None

    def guard(self) -> Standing:
        """The guard that believes the headers."""
        return Standing(self)

    @property
    def closed_until(self) -> float:
        """Seconds since the epoch until which nothing is left of the quota."""
        return self._closed_until


class Standing:
    """Refuses requests while Alpaca's own count says that none is left."""

    name = "alpaca_standing"

    def __init__(self, alpaca: Alpaca) -> None:
        self._alpaca = alpaca

    async def reserve(self, request: Request) -> None:
        """Let the request pass, unless the window is used up.

        Raises:
            QuotaExceeded: It is.
        """
        opens = self._alpaca.closed_until
        left = opens - self._alpaca.clock.time()
        if left > 0:
            msg = f"upstream {NAME!r} says that its quota is used up; ask again in {left:.0f} s"
            raise QuotaExceeded(msg, retry_at=opens)

    def settle(self, request: Request, result: Result) -> None:
        """Nothing: the client reads the headers itself."""

    async def release(self, request: Request) -> None:
        """Nothing was charged."""


def _spelling(symbol: Symbol) -> str:
    """Alpaca's word for *symbol*."""
    return f"{symbol.base}/{symbol.quote}" if symbol.crypto else symbol.name


def _plain(name: str) -> str:
    """Alpaca's word for a symbol in news: pairs have no separator there."""
    symbol = read_symbol(name)
    return f"{symbol.base}{symbol.quote}" if symbol.crypto else symbol.name


def _stamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _mentioned(item: _Item) -> set[str]:
    """The symbols of *item*, less those that have no spelling here, such as ``TSX:SHOP``."""
    mentioned = set()
    for name in item.symbols:
        with suppress(BadParameter):
            mentioned.add(_plain(name))
    return mentioned


def _article(item: _Item) -> Article:
    return Article(
        title=item.headline,
        url=item.url or "",
        published=item.created_at.astimezone(UTC),
        source=item.source,
        summary=item.summary,
    )
