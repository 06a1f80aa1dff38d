"""What the clients of all vendors have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from attrs import evolve, frozen

from argo_mw.plugin import Call, Context, Cost, InvalidAnswer, Outcome, UpstreamError
from argo_mw_market.failures import Failure, Rule, judge
from argo_mw_market.frames import Floats, make_frame
from argo_mw_market.hours import Freshness, spoken_for
from argo_mw_market.http import Http, Reply
from argo_mw_market.keys import Keys
from argo_mw_market.operations import since
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.timeframes import Timeframe, read_timeframe

_OK = 200

Parameters = Mapping[str, str | int] | None


@frozen
class BarsQuestion:
    """What a call of ``bars`` asks.

    Attributes:
        symbol: About what.
        timeframe: The length of a bar.
        start: The earliest start of a bar, in seconds since the epoch.
        now: When it is asked, in seconds since the epoch.
    """

    symbol: Symbol
    timeframe: Timeframe
    start: int
    now: float


class Trip:
    """The requests of one fetch: pages, and what has to be asked apart.

    The framework charges and announces the first request of a fetch itself; the further ones are
    charged and announced here, so that what is counted is what was sent.
    """

    def __init__(self, vendor: Vendor, call: Call) -> None:
        self._vendor = vendor
        self._call = call
        self._requests = 0

    async def ask(self, path: str, parameters: Parameters = None) -> Reply:
        """The reply to a request, if it is an answer.

        Raises:
            UpstreamError: The vendor cannot be reached, or answers an error.
            Refusal: The quota does not suffice for one more request.
        """
        vendor = self._vendor
        if self._requests:
            await vendor.context.charge_extra(self._call)
        self._requests += 1
        reply = await vendor.http.get(path, parameters)
        vendor.heed(reply)
        if reply.status != _OK:
            raise vendor.failed(Failure(reply.status, vendor.error_text(reply), vendor.wait(reply)))
        return reply

    def cost(self, calls: int = 1) -> Cost:
        """What each of *calls* calls owes."""
        return Cost(requests=self._requests / calls)


class Vendor:
    """The client of one vendor.

    Args:
        name: The name of its upstream and of its table.
        keys: Its keys.
        http: Its connections.
        rules: What its errors mean.
        context: Where the time comes from, and further requests are charged.
        limits: How old answers may be.
    """

    def __init__(
        self,
        name: str,
        *,
        keys: Keys,
        http: Http,
        rules: Sequence[Rule],
        context: Context,
        limits: Freshness,
    ) -> None:
        self.name = name
        self.keys = keys
        self.http = http
        self.rules = rules
        self.clock = context.clock
        self.context = context
        self._limits = limits

    def bars_question(self, call: Call) -> BarsQuestion:
        """What *call* asks, with the time of asking."""
        now = self.clock.time()
        return BarsQuestion(
            read_symbol(call.subject),
            read_timeframe(call.parameters["timeframe"]),
            since(call, now),
            now,
        )

    def unsupported(self, call: Call) -> str | None:
        """Why *call* cannot be answered at all, or ``None``."""
        return self.keys.missing() or self.lacks(call)

    def lacks(self, call: Call) -> str | None:
        """What *call* asks for that the vendor does not have, or ``None``."""
        return None

    def trip(self, call: Call) -> Trip:
        """The requests that answer *call*, and those gathered with it."""
        return Trip(self, call)

    def heed(self, reply: Reply) -> None:
        """Take note of what *reply* says about quotas."""

    def error_text(self, reply: Reply) -> str:
        """What an error says."""
        return reply.body.decode("utf-8", "replace")

    def wait(self, reply: Reply) -> float | None:
        """Seconds after which an error says that one may ask again."""
        return seconds_of(reply.headers.get("retry-after"))

    def failed(self, failure: Failure) -> UpstreamError:
        """The error to raise for *failure*."""
        # Alpha Vantage tells whose quota is used up by the key.
        told = evolve(failure, text=self.keys.hide(failure.text))
        return judge(self.name, self.rules, told)

    def frame(self, question: BarsQuestion, seconds: Floats, values: Floats) -> pd.DataFrame:
        """The frame that answers *question*.

        Raises:
            Unacceptable: There are no bars, or they are malformed or too old.
        """
        what = f"upstream {self.name!r}"
        symbol, timeframe = question.symbol, question.timeframe
        try:
            frame = make_frame(seconds, values)
        except ValueError as error:
            msg = f"{what} sent malformed bars of {symbol.name}: {error}"
            raise InvalidAnswer(msg, upstream=self.name) from None
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
        moment = spoken_for(last, question.symbol, question.timeframe, question.now)
        return Outcome(frame, as_of=moment, cost=cost)

    def malformed(self, what: str) -> InvalidAnswer:
        """The error for an answer that is well-formed JSON and still makes no sense."""
        msg = f"upstream {self.name!r} sent a malformed answer: {self.keys.hide(what)}"
        return InvalidAnswer(msg, upstream=self.name)


def seconds_of(text: str | None) -> float | None:
    """A number of seconds in a header, or ``None``."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
