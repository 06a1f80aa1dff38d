"""The common part of the vendors' clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import msgspec
import pandas as pd
from attrs import evolve, frozen

from argo_mw.plugin import Call, Context, Cost, InvalidAnswer, Outcome, Probe, UpstreamError
from argo_mw_market.failures import MAX_FOREIGN, ErrorRule, Failure, judge
from argo_mw_market.frames import Floats, make_frame
from argo_mw_market.hours import AgeLimits, moment_of
from argo_mw_market.http import Http, HttpReply, decode
from argo_mw_market.instants import Instants
from argo_mw_market.keys import Keys
from argo_mw_market.operations import since
from argo_mw_market.shapes import differences
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.timeframes import Timeframe, read_timeframe

_OK = 200
T = TypeVar("T")

Parameters = Mapping[str, str | int] | None


@frozen
class BarsQuestion:
    """A call of ``bars``, read.

    Attributes:
        symbol: The symbol.
        timeframe: The length of a bar.
        start: The earliest start of a bar, in seconds since the epoch.
        now: When it is asked, in seconds since the epoch.
    """

    symbol: Symbol
    timeframe: Timeframe
    start: int
    now: float


class FetchRequests:
    """The requests of one fetch, such as pages.

    The framework charges and announces the first request of a fetch itself; the others are charged
    and announced here, so that every request that is sent is counted.
    """

    def __init__(self, vendor: Vendor, call: Call, calls: int) -> None:
        self._vendor = vendor
        self._call = call
        self._requests = 0
        self._bytes_left = vendor.http.max_decoded_bytes * calls

    async def ask(self, path: str, parameters: Parameters = None) -> HttpReply:
        """Send a request and return the reply, if it is an answer.

        Raises:
            UpstreamError: The vendor cannot be reached, or answers an error.
            Refusal: The quota does not suffice for one more request.
        """
        vendor = self._vendor
        if self._requests:
            await vendor.context.charge_extra(self._call)
        self._requests += 1
        reply = await vendor.http.get(path, parameters, self._bytes_left)
        self._bytes_left -= len(reply.body)
        vendor.note_quota(reply)
        if reply.status != _OK:
            raise vendor.failed(Failure(reply.status, vendor.error_text(reply), vendor.wait(reply)))
        return reply

    def cost(self, calls: int = 1) -> Cost:
        """Return the share of each of *calls* calls in the cost."""
        return Cost(requests=self._requests / calls)


class Vendor:
    """The client of one vendor.

    Args:
        name: The name of its upstream and of its table.
        keys: Its keys.
        http: Its connections.
        rules: What its errors mean.
        context: The clock, and what charges further requests.
        limits: How old answers may be.
    """

    def __init__(
        self,
        name: str,
        *,
        keys: Keys,
        http: Http,
        rules: Sequence[ErrorRule],
        context: Context,
        limits: AgeLimits,
    ) -> None:
        self.name = name
        self.keys = keys
        self.http = http
        self.rules = rules
        self.clock = context.clock
        self.context = context
        self._limits = limits
        self._differences: list[str] | None = None

    async def decode(self, reply: HttpReply, decoder: msgspec.json.Decoder[T]) -> T:
        """Return the body of *reply*, checked against the decoder's type.

        Raises:
            InvalidAnswer: It is malformed.
        """
        value = await decode(self.name, reply, decoder)
        if self._differences is not None:
            self._differences += differences(self.name, reply.body, decoder.type)
        return value

    def probe(self) -> Probe:
        """Return the question for a few days of a stock that every vendor has."""
        parameters = {"symbol": "IBM", "timeframe": "1Day", "days": 7}
        return Probe("bars", parameters, watch=self._watch)

    @contextmanager
    def _watch(self) -> Iterator[Callable[[Outcome], Iterable[str]]]:
        """Note what is unknown in answers, and give what returns it."""
        self._differences = found = list[str]()
        try:
            yield lambda _: dict.fromkeys(found)
        finally:
            self._differences = None

    def bars_question(self, call: Call) -> BarsQuestion:
        """Return what *call* asks, with the time of asking."""
        now = self.clock.time()
        return BarsQuestion(
            read_symbol(call.subject),
            read_timeframe(call.parameters["timeframe"]),
            since(call, now),
            now,
        )

    def unsupported(self, call: Call) -> str | None:
        """Return why *call* cannot be answered at all, or ``None``."""
        return self.keys.missing() or self.lacks(call)

    def lacks(self, call: Call) -> str | None:
        """Return what the vendor lacks to answer *call*, or ``None``."""
        return None

    def requests(self, call: Call, calls: int = 1) -> FetchRequests:
        """Return the requests that answer *call*, and the *calls* that are batched with it."""
        return FetchRequests(self, call, calls)

    def note_quota(self, reply: HttpReply) -> None:
        """Note the state of the quota in *reply*."""

    def error_text(self, reply: HttpReply) -> str:
        """Return the text of an error."""
        return reply.body.decode("utf-8", "replace")

    def wait(self, reply: HttpReply) -> float | None:
        """Return the seconds after which an error allows another request, or ``None``."""
        return seconds_of(reply.headers.get("retry-after"))

    def failed(self, failure: Failure) -> UpstreamError:
        """Return the error to raise for *failure*."""
        # Alpha Vantage names the key whose quota is used up.
        hidden = evolve(failure, text=self.keys.hide(failure.text[:MAX_FOREIGN]))
        return judge(self.name, self.rules, hidden)

    def instants(self) -> Instants:
        """Return the reader of the times in an answer that has just arrived."""
        return Instants(self.clock.time())

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Turn a ``ValueError`` into the error for an answer whose *what* is malformed.

        Raises:
            InvalidAnswer: There was one.
        """
        try:
            yield
        except ValueError as error:
            hidden = self.keys.hide(str(error))
            msg = f"upstream {self.name!r} sent malformed {what}: {hidden}"
            raise InvalidAnswer(msg, upstream=self.name) from None

    def frame(self, question: BarsQuestion, seconds: Floats, values: Floats) -> pd.DataFrame:
        """Return the frame that answers *question*, of bars that start at *seconds*.

        Raises:
            InvalidAnswer: There are no bars, or they are malformed or too old.
        """
        what = f"upstream {self.name!r}"
        symbol, timeframe = question.symbol, question.timeframe
        with self.reading(f"bars of {symbol.name}"):
            frame = make_frame(seconds, values)
        if frame.empty:
            start = pd.Timestamp(question.start, unit="s", tz="UTC")
            msg = (
                f"{what} has no {timeframe.name} bars of {symbol.name} since {start.date()}: "
                "check the symbol, or ask for more days"
            )
            raise InvalidAnswer(msg, upstream=self.name)
        last = frame.index[-1]
        if self._limits.stale(last.timestamp(), symbol, timeframe, question.now):
            msg = f"{what}: the last {timeframe.name} bar of {symbol.name} is stale, of {last}"
            raise InvalidAnswer(msg, upstream=self.name)
        return frame

    def outcome(self, question: BarsQuestion, frame: pd.DataFrame, cost: Cost) -> Outcome:
        """The outcome with *frame*."""
        last = frame.index[-1].timestamp()
        moment = moment_of(last, question.symbol, question.timeframe, question.now)
        return Outcome(frame, as_of=moment, cost=cost)

    def malformed(self, what: str) -> InvalidAnswer:
        """Return the error for an answer that is well-formed JSON of an unexpected shape."""
        what = self.keys.hide(what[:MAX_FOREIGN])
        msg = f"upstream {self.name!r} sent a malformed answer: {what}"
        return InvalidAnswer(msg, upstream=self.name)


def seconds_of(text: str | None) -> float | None:
    """Return the number of seconds in a header, or ``None``."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
