"""The upstream caller: the innermost step of the chain, around the upstream itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Literal

from argo_mw.base.ages import Ages
from argo_mw.base.cancellation import described, message_of
from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import (
    Action,
    ArgoError,
    DeadlineExceeded,
    InvalidAnswer,
    NotFound,
    Refusal,
    Unsupported,
    UpstreamError,
    hide_causes,
)
from argo_mw.base.secret import redact
from argo_mw.base.tasks import Tasks
from argo_mw.chain.answering import Answering
from argo_mw.chain.batching import CallBatcher
from argo_mw.chain.sender import Sender
from argo_mw.counters.instance import Tallies
from argo_mw.model.call import Call
from argo_mw.model.events import AnswerSeen, AttemptEnded, Events
from argo_mw.model.guard import Guard
from argo_mw.model.lineage import Lineage
from argo_mw.model.outcome import NO_COST, Attempt, Cost, Outcome
from argo_mw.model.upstream import Upstream

_FIRST_DELAY = 0.1
Status = Literal["ok", "rejected", "failed", "refused", "timeout", "cancelled"]
Send = Callable[[Call], Coroutine[object, object, Outcome]]


class UpstreamCaller:
    """Asks one upstream: within a deadline, with retries, and checks its answer.

    Args:
        upstream: Which.
        guards: What may refuse a request.
        clock: The time.
        events: Delivers events.
        tasks: The owner of background tasks.
        answering: Where the calls that it answers are noted.
        tallies: Count its requests, and how they end.
        lacking_ttl: Seconds that an answer which lacks something lives at most.
    """

    def __init__(
        self,
        upstream: Upstream,
        guards: Sequence[Guard],
        *,
        clock: Clock,
        ages: Ages,
        events: Events,
        tasks: Tasks,
        answering: Answering,
        tallies: Tallies,
        lacking_ttl: float,
    ) -> None:
        self._upstream = upstream
        self._lacking_ttl = lacking_ttl
        self._unsupported = upstream.unsupported
        self._clock = clock
        self._ages = ages
        self._events = events
        self._tallies = tallies
        sender = Sender(upstream, guards, events, clock, tasks, answering, tallies)
        self.charge_extra = sender.charge_extra
        self._send: Send = sender.send
        if upstream.batching is not None:
            batcher = CallBatcher(upstream.name, upstream.batching, sender.send_many, clock, tasks)
            self._send = batcher.send

    async def __call__(self, call: Call) -> Outcome:
        """Return the upstream's acceptable answer to *call*.

        Raises:
            Refusal: A guard refused.
            UpstreamError: The upstream failed, or its answer is not acceptable.
            DeadlineExceeded: The call's own deadline passed.
        """
        if self._unsupported is not None:
            reason = self._unsupported(call)
            if reason is not None:
                msg = f"upstream {self._upstream.name!r} {reason}"
                raise Unsupported(msg, upstream=self._upstream.name)
        tried: list[Attempt] = []
        delay = _FIRST_DELAY
        while True:
            try:
                return await self._once(call, tried)
            except UpstreamError as error:
                pause = delay if error.retry_after is None else error.retry_after
                if not self._worth_retrying(call, error, len(tried), pause):
                    raise
            await self._clock.sleep(pause)
            delay *= 2

    def _worth_retrying(self, call: Call, error: UpstreamError, tries: int, pause: float) -> bool:
        if error.action is not Action.RETRY or tries > self._upstream.retries:
            return False
        return call.deadline is None or self._clock.monotonic() + pause < call.deadline

    async def _once(self, call: Call, tried: list[Attempt]) -> Outcome:
        started = self._clock.monotonic()
        asked_at = self._ages.observe(started)
        lineage = None
        if call.operation.kind != "fetch":
            lineage = Lineage()
            call = call.evolve(lineage=lineage)
        deadline = started + self._upstream.timeout
        if call.deadline is not None and call.deadline < deadline:
            deadline = call.deadline
        try:
            outcome = await fail_at(self._send(call), deadline, self._clock)
            complaint = _complaint(call, outcome.value)
            if complaint is not None:
                raise self._invalid(call, complaint)
        except TimeLimitExceeded as error:
            raise self._too_late(call, started, deadline, tried) from error
        except BaseException as error:
            if isinstance(error, ArgoError):
                hide_causes(error)
            text = redact(message_of(error)) or type(error).__name__
            absent = isinstance(error, NotFound)
            tried.append(self._ended(call, started, _status(error), text, absent=absent))
            raise
        tried.append(self._ended(call, started, "ok", "", outcome.cost))
        # First, so that a computed answer is dated by its inputs, not by when it was computed.
        answer = outcome if lineage is None else lineage.inherit(outcome)
        answer = self._complete(call, answer, asked_at, tuple(tried))
        if answer.lacks:
            answer = self._short_lived(answer)
        if AnswerSeen in self._events.wanted:
            self._events.emit(AnswerSeen(call, answer, "upstream"))
        return answer

    def _short_lived(self, answer: Outcome) -> Outcome:
        """Return *answer*, which lacks something, with an expiry after which it is tried again."""
        soon = self._clock.time() + self._lacking_ttl
        expires_at = soon if answer.expires_at is None else min(answer.expires_at, soon)
        return answer.evolve(expires_at=expires_at)

    def _complete(
        self, call: Call, outcome: Outcome, asked_at: float, attempts: tuple[Attempt, ...]
    ) -> Outcome:
        as_of = outcome.as_of
        # No answer is dated later than it has come.
        if as_of is None or not (as_of <= asked_at or as_of <= self._clock.time()):
            as_of = asked_at
        expires_at = outcome.expires_at
        if expires_at is None and (ttl := call.fixed_ttl) is not None:
            expires_at = self._clock.time() + ttl
        return outcome.evolve(
            upstream=call.upstream,
            as_of=as_of,
            expires_at=expires_at,
            tags=outcome.tags | call.tags if outcome.tags else call.tags,
            attempts=attempts,
        )

    def _too_late(
        self, call: Call, started: float, deadline: float, tried: list[Attempt]
    ) -> ArgoError:
        """Add an attempt whose time was up to *tried*, and return its error."""
        waited = self._clock.monotonic() - started
        msg = f"upstream {self._upstream.name!r} did not answer within {waited:.3g} s"
        late: ArgoError
        if deadline == call.deadline:
            late = DeadlineExceeded(f"{msg}, the caller's deadline")
        else:
            late = UpstreamError(msg, upstream=self._upstream.name)
        tried.append(self._ended(call, started, "timeout", str(late)))
        return late

    def _invalid(self, call: Call, complaint: str) -> InvalidAnswer:
        msg = f"upstream {self._upstream.name!r} gave no answer to {call.label}: {complaint}"
        return InvalidAnswer(msg, upstream=self._upstream.name)

    def _ended(
        self,
        call: Call,
        started: float,
        status: Status,
        error: str,
        cost: Cost = NO_COST,
        *,
        absent: bool = False,
    ) -> Attempt:
        latency = self._clock.monotonic() - started
        attempt = Attempt(self._upstream.name, latency, status, error, cost)
        self._tallies.attempted(call, attempt, absent=absent)
        if AttemptEnded in self._events.wanted:
            self._events.emit(AttemptEnded(call, attempt))
        return attempt


def _complaint(call: Call, value: object) -> str | None:
    try:
        return call.operation.accept(value)
    except Exception as error:  # accept() is written for good answers, and gets any
        return f"accept() of {call.operation.name} failed: {described(error)}"


def _status(error: BaseException) -> Status:
    match error:
        case InvalidAnswer():
            return "rejected"
        case Refusal():
            return "refused"
        case DeadlineExceeded():
            return "timeout"
        case Exception():
            return "failed"
        case _:
            return "cancelled"
