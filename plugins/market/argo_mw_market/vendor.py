"""What the clients of all vendors have in common."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from attrs import frozen

from argo_mw import Call, Clock, Cost, Outcome, Unacceptable
from argo_mw_market.failures import Failure, Rule, judge
from argo_mw_market.frames import Floats, make_frame
from argo_mw_market.hours import spoken_for, stale
from argo_mw_market.http import Http, Reply
from argo_mw_market.keys import Keys
from argo_mw_market.operations import since
from argo_mw_market.symbols import Symbol, read_symbol
from argo_mw_market.timeframes import Timeframe, read_timeframe

_DAY = 86_400.0
_OK = 200


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


class Vendor:
    """The client of one vendor.

    Args:
        name: The name of its upstream and of its table.
        keys: Its keys.
        http: Its connections.
        rules: What its errors mean.
        clock: The time.
        stale_days: Days after which a stock's last bar is too old.
    """

    def __init__(
        self,
        name: str,
        *,
        keys: Keys,
        http: Http,
        rules: Sequence[Rule],
        clock: Clock,
        stale_days: float,
    ) -> None:
        self.name = name
        self.keys = keys
        self.http = http
        self.rules = rules
        self.clock = clock
        self._stale = stale_days * _DAY

    def bars_question(self, call: Call) -> BarsQuestion:
        """What *call* asks, with the time of asking."""
        now = self.clock.time()
        return BarsQuestion(
            read_symbol(call.subject),
            read_timeframe(call.parameters["timeframe"]),
            since(call, now),
            now,
        )

    async def ask(self, path: str, parameters: dict[str, str | int] | None = None) -> Reply:
        """The reply to a question, if it is one.

        Raises:
            UpstreamError: A key is missing, or the vendor cannot be reached or answers an error.
        """
        if not self.keys.complete:
            raise self.keys.missing()
        reply = await self.http.get(path, parameters)
        self.heed(reply)
        if reply.status != _OK:
            raise self.failed(Failure(reply.status, self.error_text(reply), self.wait(reply)))
        return reply

    def heed(self, reply: Reply) -> None:
        """Take note of what *reply* says about quotas."""

    def error_text(self, reply: Reply) -> str:
        """What an error says."""
        return reply.body.decode("utf-8", "replace")

    def wait(self, reply: Reply) -> float | None:
        """Seconds after which an error says that one may ask again."""
        return seconds_of(reply.headers.get("retry-after"))

    def failed(self, failure: Failure) -> Exception:
        """The error to raise for *failure*."""
        return judge(self.name, self.rules, failure)

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
            raise Unacceptable(msg, upstream=self.name) from None
        start = pd.Timestamp(question.start, unit="s", tz="UTC")
        if frame.empty:
            msg = (
                f"{what} has no {timeframe.name} bars of {symbol.name} since {start.date()}: "
                "check the symbol, or ask for more days"
            )
            raise Unacceptable(msg, upstream=self.name)
        last = frame.index[-1]
        if stale(last.timestamp(), symbol, timeframe, question.now, self._stale):
            msg = f"{what}: the last {timeframe.name} bar of {symbol.name} is stale, of {last}"
            raise Unacceptable(msg, upstream=self.name)
        return frame

    def outcome(self, question: BarsQuestion, frame: pd.DataFrame, requests: float) -> Outcome:
        """The outcome with *frame*, which took *requests* requests, or a part of one."""
        last = frame.index[-1].timestamp()
        moment = spoken_for(last, question.symbol, question.timeframe, question.now)
        return Outcome(frame, as_of=moment, cost=Cost(requests=requests))

    def malformed(self, what: str) -> Unacceptable:
        """The error for an answer that is well-formed JSON and still makes no sense."""
        msg = f"upstream {self.name!r} sent a malformed answer: {what}"
        return Unacceptable(msg, upstream=self.name)


def seconds_of(text: str | None) -> float | None:
    """A number of seconds in a header, or ``None``."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
