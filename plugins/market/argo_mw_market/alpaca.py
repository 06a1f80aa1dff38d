"""Alpaca: bars of stocks and crypto pairs, a hundred symbols in a request, and news.

Protocol: https://docs.alpaca.markets/reference/stockbars
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated

import httpx2
import msgspec
import numpy as np
from attrs import evolve
from msgspec import Meta, Struct, field

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
    Upstream,
    UpstreamError,
    copy_error,
)
from argo_mw_market.config import MAX_DECODED_BYTES, AlpacaConfig
from argo_mw_market.failures import TOO_MANY, ErrorRule
from argo_mw_market.header_quota import HeaderQuota
from argo_mw_market.hours import AgeLimits
from argo_mw_market.http import MALFORMED, Http, HttpReply
from argo_mw_market.instants import Instants
from argo_mw_market.keys import find_keys
from argo_mw_market.news import Article
from argo_mw_market.off_loop import MANY_BARS, MANY_BYTES, off_loop
from argo_mw_market.operations import since
from argo_mw_market.symbols import Spelling, Symbol, read_symbol
from argo_mw_market.vendor import BarsQuestion, FetchRequests, Vendor, seconds_of

NAME = "alpaca"
PLAN = Limits(per_minute=200)
MAX_SYMBOLS = 100
MAX_PAGES = 50
_MAX_BARS = 10_000
_MAX_NEWS = 50
_MINUTE = 60.0
SPELLING = Spelling("{base}/{quote}", "{root}.{mark}", "{root}.PR{series}", "{root}.PR")
NEWS_SPELLING = evolve(SPELLING, pair="{base}{quote}")
_FRAMES_AT_ONCE = 10
# A frame takes 0.15 ms to build: a hundred in a row would block the loop for 15 ms.
_INVALID_SYMBOL = "invalid symbol"
_NAMED = re.compile(rf"{_INVALID_SYMBOL}:? *([^\s,)]+)")

RULES = (
    ErrorRule(TOO_MANY, "", Action.RETRY, "its quota of requests is used up", wait=_MINUTE),
    ErrorRule(400, _INVALID_SYMBOL, Action.SWITCH, "it does not know this symbol", missing=True),
    ErrorRule((400, 422), "", Action.STOP, "it refuses the question"),
    ErrorRule(
        403,
        "subscription",
        Action.SWITCH,
        'the plan does not include this; set feed = "iex" in [plugins.market.alpaca]',
    ),
    ErrorRule(
        (401, 403),
        "",
        Action.SWITCH,
        "it does not take the key: set APCA_API_KEY_ID and APCA_API_SECRET_KEY, or key and "
        "secret in [plugins.market.alpaca]",
    ),
    ErrorRule(404, "", Action.SWITCH, "there is no such thing there: check url"),
)


_Moment = Annotated[datetime, Meta(tz=True)]


class _Bar(Struct, gc=False):
    t: _Moment
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
    created_at: _Moment
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

    def __init__(
        self,
        config: AlpacaConfig,
        context: Context,
        limits: AgeLimits,
        max_decoded_bytes: int = MAX_DECODED_BYTES,
    ) -> None:
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
            http=Http(NAME, config.url, sign, max_decoded_bytes),
            rules=RULES,
            context=context,
            limits=limits,
        )
        self._feed = config.feed
        self._closed_until = 0.0

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        return Upstream(
            NAME,
            frozenset({"bars", "news"}),
            self.fetch,
            batching=Batching(self.fetch_many, max_size=MAX_SYMBOLS),
            limits=PLAN,
            timeout=15.0,
            unsupported=self.unsupported,
            probe=self.probe(),
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        (answer,) = await self.fetch_many([call])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def fetch_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        """Return the answers to *calls*, which differ in their symbol only."""
        if calls[0].operation.name == "news":
            return await self._news(calls)
        return await self._bars(calls)

    # -- bars --------------------------------------------------------------------------------

    async def _bars(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        requests = self.requests(calls[0], len(calls))
        questions = [self.bars_question(call) for call in calls]
        found: Found = {}
        markets = [[q for q in questions if q.symbol.crypto is crypto] for crypto in (False, True)]
        asked = [market for market in markets if market]
        # A failure of one market leaves the other's request alone.
        parts = await asyncio.gather(
            *(self._read_bars(requests, market) for market in asked), return_exceptions=True
        )
        for market, part in zip(asked, parts, strict=True):
            if isinstance(part, Exception):
                found.update({_spelling(q.symbol): copy_error(part) for q in market})
            elif isinstance(part, BaseException):
                raise part
            else:
                found.update(part)
        cost = requests.cost(len(calls))
        answers: list[Outcome | Exception] = []
        for number, question in enumerate(questions, 1):
            bars = found.get(_spelling(question.symbol), [])
            many = isinstance(bars, list) and len(bars) > MANY_BARS
            answers.append(await off_loop(many, self._answer, question, bars, cost))
            if number % _FRAMES_AT_ONCE == 0:
                await asyncio.sleep(0)
        return answers

    async def _read_bars(self, requests: FetchRequests, questions: Sequence[BarsQuestion]) -> Found:
        """Return the bars of symbols of one market, in common requests.

        When Alpaca refuses a symbol, the others are requested again without it.
        """
        refused: Found = {}
        wanted = [_spelling(question.symbol) for question in questions]
        while wanted:
            try:
                return {**await self._read_pages(requests, wanted, questions[0]), **refused}
            except NotFound as error:
                named = _NAMED.search(str(error))
                if named is None or named[1] not in wanted:
                    raise
                refused[named[1]] = error
                wanted = [spelling for spelling in wanted if spelling != named[1]]
        return refused

    async def _read_pages(
        self, requests: FetchRequests, spellings: Sequence[str], question: BarsQuestion
    ) -> Found:
        crypto = question.symbol.crypto
        parameters: dict[str, str | int] = {
            "symbols": ",".join(dict.fromkeys(spellings)),
            "timeframe": question.timeframe.name,
            "start": _stamp(question.start),
            "limit": _MAX_BARS,
        }
        if not crypto:
            parameters["adjustment"] = "split"
            if self._feed is not None:
                parameters["feed"] = self._feed
        path = "/v1beta3/crypto/us/bars" if crypto else "/v2/stocks/bars"
        bars: dict[str, list[_Bar]] = {}
        wanted = frozenset(spellings)
        # Together symbols take as many pages as they would one by one.
        max_pages = MAX_PAGES * len(spellings)
        for _ in range(max_pages):
            page = await self.decode(await requests.ask(path, parameters), _BARS)
            found = page.bars or {}
            for spelling in wanted & found.keys():  # whatever else it sends
                bars.setdefault(spelling, []).extend(found[spelling])
            if not page.next_page_token:
                return {**bars}
            parameters["page_token"] = page.next_page_token
        raise self.malformed(f"more than {max_pages} pages; ask for fewer days")

    def _answer(
        self, question: BarsQuestion, bars: list[_Bar] | Exception, cost: Cost
    ) -> Outcome | Exception:
        if isinstance(bars, Exception):
            return bars
        values = np.array([(b.o, b.h, b.l, b.c, b.v) for b in bars], np.float64)
        try:
            with self.reading(f"bars of {question.symbol.name}"):
                seconds = self.instants().from_datetimes([bar.t for bar in bars])
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
            "limit": _MAX_NEWS,
        }
        requests = self.requests(calls[0], len(calls))
        for _ in range(MAX_PAGES):
            reply = await requests.ask("/v1beta1/news", parameters)
            page = await self.decode(reply, _NEWS)
            many = len(reply.body) > MANY_BYTES
            with self.reading("articles"):
                await off_loop(many, _sort_out, page.news or [], self.instants(), found)
            if not page.next_page_token or all(len(a) >= limit for a in found.values()):
                break
            parameters["page_token"] = page.next_page_token
        cost = requests.cost(len(calls))
        return [
            Outcome(tuple(found[_plain(call.subject)][:limit]), as_of=now, cost=cost)
            for call in calls
        ]

    # -- errors and quotas -------------------------------------------------------------------

    def error_text(self, reply: HttpReply) -> str:
        """Return the message."""
        try:
            return _ERROR.decode(reply.body).message
        except MALFORMED:
            return super().error_text(reply)

    def wait(self, reply: HttpReply) -> float | None:
        """Return the seconds until the window ends, as the headers state it."""
        wait = super().wait(reply)
        return self._until_reset(reply) if wait is None and reply.status == TOO_MANY else wait

    def note_quota(self, reply: HttpReply) -> None:
        """Remember that the quota is used up, until its window ends."""
        if reply.headers.get("x-ratelimit-remaining") == "0":
            wait = self._until_reset(reply)
            if wait is not None:
                self._closed_until = self.clock.time() + wait

    def _until_reset(self, reply: HttpReply) -> float | None:
        reset = seconds_of(reply.headers.get("x-ratelimit-reset"))
        wait = -1.0 if reset is None else reset - self.clock.time()
        # Its clock and ours may differ; a window is a minute.
        return wait if 0.0 < wait <= _MINUTE else None

    def guard(self) -> HeaderQuota:
        """Return the guard that believes the headers."""
        return HeaderQuota(self)

    @property
    def closed_until(self) -> float:
        """Return the seconds since the epoch until which the quota is used up."""
        return self._closed_until


def _spelling(symbol: Symbol) -> str:
    """Return Alpaca's spelling of *symbol*."""
    return SPELLING.of(symbol)


def _plain(name: str) -> str:
    """Return Alpaca's spelling of a symbol in news."""
    return NEWS_SPELLING.of(read_symbol(name))


def _stamp(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _mentioned(item: _Item) -> set[str]:
    """Return the symbols of *item* that have a spelling here: not ``TSX:SHOP``."""
    mentioned = set()
    for name in item.symbols:
        with suppress(BadParameter):
            mentioned.add(_plain(name))
    return mentioned


def _sort_out(
    items: Sequence[_Item], instants: Instants, found: Mapping[str, list[Article]]
) -> None:
    """Add each article to those that were *found* of each symbol that it mentions."""
    for item, article in zip(items, _articles(items, instants), strict=True):
        for symbol in found.keys() & _mentioned(item):
            found[symbol].append(article)


def _articles(items: Sequence[_Item], instants: Instants) -> list[Article]:
    seconds = instants.from_datetimes([item.created_at for item in items])
    return [
        Article(
            title=item.headline,
            url=item.url or "",
            published=datetime.fromtimestamp(published, UTC),
            source=item.source,
            summary=item.summary,
        )
        for item, published in zip(items, seconds.tolist(), strict=True)
    ]
