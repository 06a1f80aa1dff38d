"""Massive (formerly Polygon.io): aggregates of stocks and crypto pairs.

Protocol: https://massive.com/docs/rest/stocks/aggregates/custom-bars
"""

from __future__ import annotations

from collections.abc import Sequence

import httpx2
import msgspec
import numpy as np
import pandas as pd
from msgspec import Struct, field

from argo_mw.plugin import Action, Call, Context, Limits, Outcome, Upstream
from argo_mw_market.config import MAX_DECODED_BYTES, MassiveConfig
from argo_mw_market.failures import MAX_FOREIGN, TOO_MANY, ErrorRule, Failure
from argo_mw_market.hours import AgeLimits
from argo_mw_market.http import MALFORMED, Http, HttpReply
from argo_mw_market.keys import find_keys
from argo_mw_market.off_loop import MANY_BARS, off_loop
from argo_mw_market.symbols import Spelling, Symbol
from argo_mw_market.vendor import BarsQuestion, Vendor

NAME = "massive"
FREE_PLAN = Limits(per_minute=5)
MAX_PAGES = 20
_MAX_BARS = 50_000
_MINUTE = 60.0
SPELLING = Spelling("X:{base}{quote}", "{root}.{mark}", "{root}p{series}", "{root}p")

RULES = (
    ErrorRule(TOO_MANY, "", Action.RETRY, "its quota of requests is used up", wait=_MINUTE),
    ErrorRule(
        401,
        "",
        Action.SWITCH,
        "it does not take the key: set MASSIVE_API_KEY, or key in [plugins.market.massive]",
    ),
    ErrorRule((402, 403), "", Action.SWITCH, "the plan does not include this"),
    ErrorRule(404, "", Action.SWITCH, "it does not know what was asked for", missing=True),
    ErrorRule((400, 422), "", Action.STOP, "it refuses the question"),
    ErrorRule(200, "NOT_AUTHORIZED", Action.SWITCH, "the plan does not include this"),
    ErrorRule(200, "maximum requests", Action.RETRY, "its quota is used up", _MINUTE, TOO_MANY),
    ErrorRule(200, "", Action.RETRY, "it answered with an error of its own"),
)


class _Bar(Struct, gc=False):
    t: int
    o: float
    h: float
    l: float  # noqa: E741 - the vendor's name
    c: float
    v: float


class _Page(Struct):
    status: str = "OK"
    results: list[_Bar] = field(default_factory=list)
    next_url: str = ""
    error: str = ""
    message: str = ""


class _Error(Struct):
    status: str = ""
    error: str = ""
    message: str = ""


_PAGE = msgspec.json.Decoder(_Page)
_ERROR = msgspec.json.Decoder(_Error)
_FINE = frozenset({"OK", "DELAYED"})


class Massive(Vendor):
    """Massive's client."""

    def __init__(
        self,
        config: MassiveConfig,
        context: Context,
        limits: AgeLimits,
        max_decoded_bytes: int = MAX_DECODED_BYTES,
    ) -> None:
        keys = find_keys(NAME, {"key": ("MASSIVE_API_KEY", "POLYGON_API_KEY")}, {"key": config.key})

        def sign(request: httpx2.Request) -> None:
            request.headers["Authorization"] = f"Bearer {keys.reveal('key')}"

        super().__init__(
            NAME,
            keys=keys,
            http=Http(NAME, config.url, sign, max_decoded_bytes),
            rules=RULES,
            context=context,
            limits=limits,
        )

    def upstream(self) -> Upstream:
        """Return the upstream to register."""
        return Upstream(
            NAME,
            frozenset({"bars"}),
            self.fetch,
            limits=FREE_PLAN,
            timeout=15.0,
            unsupported=self.unsupported,
            probe=self.probe(),
        )

    async def fetch(self, call: Call) -> Outcome:
        """Return the answer to *call*."""
        question = self.bars_question(call)
        path = _path(question)
        parameters: dict[str, str | int] = {
            "adjusted": "true",
            "sort": "asc",
            "limit": _MAX_BARS,
        }
        requests = self.requests(call)
        page = await self._read(await requests.ask(path, parameters))
        bars, pages = page.results, 1
        while page.next_url:
            if pages == MAX_PAGES:
                raise self.malformed(f"more than {MAX_PAGES} pages; ask for fewer days")
            page = await self._read(await requests.ask(self._next_page(page.next_url)))
            bars += page.results
            pages += 1
        frame = await off_loop(len(bars) > MANY_BARS, self._frame, question, bars)
        return self.outcome(question, frame, requests.cost())

    def _frame(self, question: BarsQuestion, bars: Sequence[_Bar]) -> pd.DataFrame:
        with self.reading(f"bars of {question.symbol.name}"):
            seconds = self.instants().from_milliseconds([bar.t for bar in bars])
        values = np.array([(b.o, b.h, b.l, b.c, b.v) for b in bars], np.float64)
        return self.frame(question, seconds, values)

    def _next_page(self, link: str) -> str:
        try:
            return self.http.path_of(link)
        except ValueError:
            raise self.malformed(f"a link to its next page, {link!r}") from None

    async def _read(self, reply: HttpReply) -> _Page:
        page = await self.decode(reply, _PAGE)
        if page.status not in _FINE:
            text = f"{page.status[:100]} {(page.error or page.message)[:MAX_FOREIGN]}"
            raise self.failed(Failure(reply.status, text))
        return page

    def error_text(self, reply: HttpReply) -> str:
        """Return the status and its text."""
        try:
            error = _ERROR.decode(reply.body)
        except MALFORMED:
            return super().error_text(reply)
        return f"{error.status} {error.error or error.message}".strip()


def _path(question: BarsQuestion) -> str:
    frame = question.timeframe
    start, end = question.start * 1000, int(question.now * 1000)
    ticker = ticker_of(question.symbol)
    return f"/v2/aggs/ticker/{ticker}/range/{frame.count}/{frame.unit}/{start}/{end}"


def ticker_of(symbol: Symbol) -> str:
    """Return Massive's spelling of *symbol*."""
    return SPELLING.of(symbol)
