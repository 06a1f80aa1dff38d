"""Settlement: emits the cost of each request once, when all of it is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Final

from attrs import define, evolve, field

from argo_mw.base.clock import Clock
from argo_mw.base.errors import Refusal
from argo_mw.base.printable import printable
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge, ChargeStatus
from argo_mw.model.events import Events, RequestSettled
from argo_mw.model.guard import Result
from argo_mw.model.outcome import NO_COST, Cost, Outcome
from argo_mw.model.stream import Stream
from argo_mw.model.upstream import Upstream

_MOST_USD: Final = 1e9
"""More than any request costs."""
_MOST_TOKENS: Final = 2**40
_MAX_WORD: Final = 200
_INTS: Final = frozenset([int])


@define(eq=False)
class SentRequest:
    """A request under way, and then what it cost, as far as that is known.

    Attributes:
        calls: The calls that it answers.
        started: When it was sent, by the monotonic clock.
        requests: How many requests it has taken: one, and one for each further page.
        charges: What each of its calls cost.
        streams: The answers that are streams, whose cost is known at their end, by place.
    """

    calls: Sequence[Call]
    started: float
    requests: int = 1
    charges: list[Charge] = field(factory=list)
    streams: dict[int, Stream[object]] | None = None


class Settlement:
    """Emits :class:`RequestSettled` for the requests to one upstream, if anything observes it."""

    def __init__(self, upstream: Upstream, events: Events, clock: Clock) -> None:
        self._upstream = upstream
        self._name = upstream.name
        self._priced = upstream.priced
        self._events = events
        self._clock = clock
        self._sent: dict[int, SentRequest] = {}

    def begin(self, calls: Sequence[Call]) -> SentRequest | None:
        """Note that a request for *calls* goes out; ``None`` while nothing observes its cost."""
        events = self._events
        if RequestSettled not in events.wanted or not (self._priced or events.unpriced):
            return None
        sent = SentRequest(calls, self._clock.monotonic())
        for call in calls:
            self._sent[id(call)] = sent
        return sent

    def charge_extra(self, call: Call) -> None:
        """Note that the request for *call*, which is under way, takes one more request."""
        sent = self._sent.get(id(call))
        if sent is not None:
            sent.requests += 1

    def end(self, sent: SentRequest, result: Result) -> None:
        """Work out what *sent* cost, which ended in *result*."""
        now = self._clock.time()
        latency = self._clock.monotonic() - sent.started
        for call, answer in zip(sent.calls, result, strict=True):
            self._sent.pop(id(call), None)
            status: ChargeStatus = "ok"
            if isinstance(answer, Outcome):
                cost = answer.cost
                if isinstance(answer.value, Stream):
                    sent.streams = sent.streams or {}
                    sent.streams[len(sent.charges)] = answer.value
            else:
                status = _status(answer)
                cost = self._upstream.cost_of(call, answer)
            cost = _possible(cost)
            if not cost.requests:
                cost = _share(sent, cost)
            sent.charges.append(
                Charge(
                    now,
                    call.tenant,
                    call.operation.name,
                    _word(call.subject),
                    self._name,
                    status,
                    cost,
                    latency,
                )
            )

    def emit(self, sent: SentRequest) -> None:
        """Emit what a request cost: now, or when the last of its streams has ended."""
        if sent.streams is None:
            self._events.emit(RequestSettled(self._name, self._priced, tuple(sent.charges)))
            return
        for place, stream in list(sent.streams.items()):
            stream.on_done(partial(self._stream_ended, sent, sent.streams, place))

    def _stream_ended(
        self,
        sent: SentRequest,
        streams: dict[int, Stream[object]],
        place: int,
        stream: Stream[object],
    ) -> None:
        charge = sent.charges[place]
        cost = charge.cost if stream.cost is None else _possible(stream.cost)
        if not cost.requests:
            cost = _share(sent, cost)
        status: ChargeStatus = "aborted" if stream.aborted else "ok"
        sent.charges[place] = evolve(charge, cost=cost, status=status)
        del streams[place]
        if not streams:
            now = self._clock.time()
            charges = tuple(evolve(one, at=now) for one in sent.charges)
            self._events.emit(RequestSettled(self._name, self._priced, charges))


def _possible(cost: Cost) -> Cost:
    """Return *cost*, or an unknown one if no request can cost that: less than 0, or infinity."""
    if cost is NO_COST:
        return cost
    model = _word(cost.model)
    if model != cost.model:
        cost = evolve(cost, model=model)
    usd = cost.usd
    tokens = (cost.tokens_in, cost.tokens_out, cost.tokens_cached, cost.tokens_written)
    counted = (
        _INTS.issuperset(map(type, tokens)) and 0 <= min(tokens) <= max(tokens) <= _MOST_TOKENS
    )
    if counted and (usd is None or 0 <= usd <= _MOST_USD) and 0 <= cost.requests < inf:
        return cost
    return evolve(
        cost,
        usd=None,
        tokens_in=_count(cost.tokens_in),
        tokens_out=_count(cost.tokens_out),
        tokens_cached=_count(cost.tokens_cached),
        tokens_written=_count(cost.tokens_written),
        requests=cost.requests if 0 <= cost.requests < inf else 0.0,
    )


def _is_count(tokens: object) -> bool:
    return isinstance(tokens, int) and 0 <= tokens <= _MOST_TOKENS


def _count(tokens: int) -> int:
    return tokens if _is_count(tokens) else 0


def _word(text: object) -> str:
    """Return *text* as what every table takes: one line of at most 200 characters, or ""."""
    if not isinstance(text, str):
        return ""
    if len(text) <= _MAX_WORD and text.isprintable():
        return text
    return printable(text[:_MAX_WORD])[:_MAX_WORD]


def _share(sent: SentRequest, cost: Cost) -> Cost:
    """Return *cost* with a call's share of the requests: the upstream has named none."""
    share = sent.requests / len(sent.calls)
    # Most upstreams name no cost at all, and copying one takes longer than all else here.
    return Cost(requests=share) if cost is NO_COST else evolve(cost, requests=share)


def _status(error: BaseException) -> ChargeStatus:
    if isinstance(error, Refusal):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
