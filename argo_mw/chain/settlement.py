"""Settlement: tells what a request cost, once for each request, when all of it is known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from attrs import define, evolve

from argo_mw.base.clock import Clock
from argo_mw.base.errors import Refusal
from argo_mw.model.call import Call
from argo_mw.model.charge import Charge, ChargeStatus
from argo_mw.model.events import Events, RequestSettled
from argo_mw.model.guard import Result
from argo_mw.model.outcome import Cost, Outcome
from argo_mw.model.stream import Stream
from argo_mw.model.upstream import Upstream


@define(eq=False)
class SentRequest:
    """A request under way.

    Attributes:
        calls: The calls that it answers.
        started: When it was sent, by the monotonic clock.
        requests: How many requests it has taken: one, and one for each further page.
    """

    calls: Sequence[Call]
    started: float
    requests: int = 1


@define(eq=False)
class Settled:
    """What a request cost, as far as it is known.

    Attributes:
        sent: The request.
        charges: What each of its calls cost.
        streams: The answers that are streams, whose cost is known at their end, by place.
    """

    sent: SentRequest
    charges: list[Charge]
    streams: dict[int, Stream[object]]


class Settlement:
    """Emits :class:`RequestSettled` for the requests to one upstream, if anything observes it."""

    def __init__(self, upstream: Upstream, events: Events, clock: Clock) -> None:
        self._upstream = upstream
        self._events = events
        self._clock = clock
        self._sent: dict[int, SentRequest] = {}

    def begin(self, calls: Sequence[Call]) -> SentRequest | None:
        """Note that a request for *calls* goes out; ``None`` while nothing observes its cost."""
        if RequestSettled not in self._events.wanted:
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

    def end(self, sent: SentRequest, result: Result) -> Settled:
        """Work out what *sent* cost, which ended in *result*."""
        latency = self._clock.monotonic() - sent.started
        settled = Settled(sent, [], {})
        for place, (call, answer) in enumerate(zip(sent.calls, result, strict=True)):
            self._sent.pop(id(call), None)
            settled.charges.append(self._charge(sent, call, answer, latency))
            if isinstance(answer, Outcome) and isinstance(answer.value, Stream):
                settled.streams[place] = answer.value
        return settled

    def emit(self, settled: Settled) -> None:
        """Emit what a request cost: now, or when the last of its streams has ended."""
        if not settled.streams:
            self._emit(settled.charges)
            return
        for place, stream in list(settled.streams.items()):
            stream.on_done(partial(self._stream_ended, settled, place))

    def _stream_ended(self, settled: Settled, place: int, stream: Stream[object]) -> None:
        charge = settled.charges[place]
        cost = charge.cost if stream.cost is None else self._shared(settled.sent, stream.cost)
        status: ChargeStatus = "aborted" if stream.aborted else "ok"
        settled.charges[place] = evolve(charge, cost=cost, status=status)
        del settled.streams[place]
        if not settled.streams:
            now = self._clock.time()
            self._emit([evolve(one, at=now) for one in settled.charges])

    def _charge(
        self, sent: SentRequest, call: Call, answer: Outcome | BaseException, latency: float
    ) -> Charge:
        return Charge(
            self._clock.time(),
            call.tenant,
            call.operation.name,
            call.subject,
            self._upstream.name,
            _status(answer),
            self._shared(sent, self._upstream.cost_of(call, answer)),
            latency,
        )

    def _shared(self, sent: SentRequest, cost: Cost) -> Cost:
        """Return *cost* with the call's share of the requests, where the upstream names none."""
        if cost.requests:
            return cost
        return evolve(cost, requests=sent.requests / len(sent.calls))

    def _emit(self, charges: Sequence[Charge]) -> None:
        upstream = self._upstream
        self._events.emit(RequestSettled(upstream.name, upstream.priced, tuple(charges)))


def _status(answer: Outcome | BaseException) -> ChargeStatus:
    match answer:
        case Outcome():
            return "ok"
        case Refusal():
            return "refused"
        case Exception():
            return "failed"
        case _:
            return "cancelled"
