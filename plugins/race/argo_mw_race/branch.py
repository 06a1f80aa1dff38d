"""A branch: one upstream that is asked for one call."""

from __future__ import annotations

import asyncio

from attrs import define, field

from argo_mw.plugin import (
    Attempt,
    Call,
    InvalidAnswer,
    Next,
    Outcome,
    Refusal,
    StallAwareLimit,
    Stream,
    Timer,
    Upstream,
)
from argo_mw_race.budget import PaidHedge
from argo_mw_race.gathering import Gathering
from argo_mw_race.stats import Reason, UpstreamStats


@define(eq=False)
class Branch:
    """One upstream that was asked.

    Attributes:
        upstream: The upstream.
        stats: What is known about it.
        reason: Why it was started.
        lateness: When its answer is late.
        paid: What was paid for it, if it is a hedge.
        outcome: Its acceptable answer, once there is one.
        error: Its error, once there is one.
        task: The task that asks it.
        begun: Whether that has begun: if it is cancelled before, it notes no end.
        alarm: What reports that it does not end although it was cancelled.
        gathering: The branches whose calls travel in the same request.
        unsent: Whether its call may still travel with others, in a request to come.
        hedged: Whether it was late and another was asked.
        abandoned: Whether it was cancelled because the call has ended without it.
    """

    upstream: Upstream
    stats: UpstreamStats
    reason: Reason
    lateness: StallAwareLimit
    paid: PaidHedge | None = None
    outcome: Outcome | None = None
    error: Exception | None = None
    task: asyncio.Task[None] = field(init=False)
    begun: bool = False
    alarm: Timer | None = None
    gathering: Gathering = field(factory=Gathering)
    unsent: bool = False
    hedged: bool = False
    abandoned: bool = False

    def leave_waiting_room(self) -> None:
        """Note that its call can share no request from now on: it was sent, or need not be."""
        self.stats.unsent -= self.unsent
        self.unsent = False

    @property
    def started(self) -> float:
        """Monotonic seconds at which it was started."""
        return self.lateness.started

    @property
    def running(self) -> bool:
        """Whether it may still answer."""
        return self.outcome is None and self.error is None and not self.abandoned

    def attempt(self, now: float) -> Attempt:
        """Return how it went, for the outcome of the call."""
        if self.outcome is not None and self.outcome.attempts:
            return self.outcome.attempts[-1]
        seconds = now - self.started
        name = self.upstream.name
        match self.error:
            case None:
                return Attempt(name, seconds, "cancelled")
            case InvalidAnswer():
                return Attempt(name, seconds, "rejected", str(self.error))
            case Refusal():
                return Attempt(name, seconds, "refused", str(self.error))
            case error:
                return Attempt(name, seconds, "failed", str(error))


async def ask(call: Call, call_next: Next) -> Outcome | Exception:
    """Return the answer to *call*, or the error in its place.

    A stream is an answer as soon as its first chunk has come.
    """
    try:
        outcome = await call_next(call)
        if isinstance(outcome.value, Stream) and await outcome.value.first() is None:
            msg = f"upstream {call.upstream!r} gave an empty stream"
            return InvalidAnswer(msg, upstream=call.upstream or "")
    except Exception as error:
        return error
    return outcome


def latency_of(outcome: Outcome, waited: float) -> float:
    """Return the seconds that *outcome* took, for a branch that *waited* so long for it.

    An attempt ends when the upstream begins a stream, but it wins with its first chunk.
    """
    return waited if isinstance(outcome.value, Stream) else outcome.attempts[-1].latency
