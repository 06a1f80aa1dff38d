"""A contest: the branches of one call, who of them has answered, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from attrs import define

from argo_mw.plugin import (
    Attempt,
    Call,
    Closed,
    Context,
    InvalidAnswer,
    LayerActed,
    Next,
    Outcome,
    Refusal,
    Stream,
    Unsupported,
    Upstream,
    all_failed,
    is_final,
)
from argo_mw_race.record import Record, Why
from argo_mw_race.standings import Standings

NAME = "race"

_HELD_UP, _A_MOMENT = 0.1, 0.05
"""The share of its time, and the seconds, by which a timer rings late when the loop was busy."""

Until = Callable[[], "float | None"]


def never() -> None:
    """No time limit."""


@define(eq=False)
class Branch:
    """One upstream that was asked.

    Attributes:
        upstream: Whom.
        record: What is known about it.
        why: Why it was started: ``first``, ``together`` with others, as a ``hedge`` or a
            ``probe``, or ``next`` after another had failed.
        task: What asks it.
        started: Monotonic seconds.
        late_at: Monotonic seconds from which on it takes longer than usual.
        outcome: Its acceptable answer, once there is one.
        error: Its error, once there is one.
        noted_late: The record's era in which it was found to be late, or ``None``.
        given_up: Whether it was cancelled because nobody waits for it any more.
    """

    upstream: Upstream
    record: Record
    why: Why
    task: asyncio.Task[Outcome | Exception]
    started: float
    late_at: float
    outcome: Outcome | None = None
    error: Exception | None = None
    noted_late: int | None = None
    given_up: bool = False

    @property
    def running(self) -> bool:
        """Whether it may still answer."""
        return self.outcome is None and self.error is None and not self.given_up


class Contest:
    """Starts branches, and tells which one answers next.

    Branches run in tasks of their own. Whoever made the contest calls :meth:`conclude`, which
    cancels those that still run; they end in the background.

    Args:
        call: The question.
        call_next: What asks an upstream.
        order: The upstreams, from the first to the last resort.
        context: What the framework gives.
        standings: What is known about the upstreams.
        reap_timeout: Seconds that a cancelled branch may take to end.
        unable: Why other upstreams cannot answer, to be told beside what went wrong.

    Attributes:
        branches: Every branch, in the order of their start.
        waiting: The upstreams that were not asked yet, in their order.
        now: The monotonic time, in seconds.
    """

    def __init__(
        self,
        call: Call,
        call_next: Next,
        order: Iterable[Upstream],
        *,
        context: Context,
        standings: Standings,
        reap_timeout: float,
        unable: Sequence[Unsupported] = (),
    ) -> None:
        self.branches: list[Branch] = []
        self.waiting = list(order)
        self.now = context.clock.monotonic
        self._call = call
        self._call_next = call_next
        self._context = context
        self._standings = standings
        self._reap_timeout = reap_timeout
        self._unable = unable
        self._ended: deque[Branch] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def ask(self, upstream: Upstream, why: Why, patience: float = math.inf) -> Branch:
        """Start a branch to *upstream*, one of those waiting; late after *patience* seconds.

        Raises:
            Closed: The application has been closed.
        """
        self.waiting.remove(upstream)
        record = self._standings.record(upstream)
        task = self._context.tasks.spawn(
            f"race:{self._call.operation.name}:{upstream.name}",
            _answer(self._call.bind(upstream.name), self._call_next),
        )
        now = self.now()
        branch = Branch(upstream, record, why, task, now, now + patience)
        record.start(why)
        self.branches.append(branch)
        task.add_done_callback(lambda ended: self._on_end(branch, ended))
        return branch

    @property
    def answered(self) -> list[Branch]:
        """The branches that have answered."""
        return [branch for branch in self.branches if branch.outcome is not None]

    async def next_answer(self, until: Until = never) -> Branch | None:
        """The branch that answers next. Those that fail are replaced at once.

        Upstreams with a scarce quota replace others only when nothing else is under way.

        Returns:
            ``None`` when the time *until* came first, or everybody has ended and some answered.

        Raises:
            ArgoError: The question is at fault, or every upstream has failed.
        """
        while True:
            if not self._ended and not self._running():
                if self.answered:
                    return None
                if not self.waiting:
                    raise self.failure()
                self._ask_next()
            ended = await self._next_ended(until())
            if ended is None or ended.outcome is not None:
                return ended
            if self.answered:
                continue
            if ended.error is not None and is_final(ended.error):
                raise ended.error
            if self.waiting and not self._standings.is_scarce(self.waiting[0]):
                self._ask_next()

    def late_at(self) -> float | None:
        """Monotonic seconds at which the newest branch is late, if others could still be asked."""
        newest = self.branches[-1]
        return newest.late_at if self.waiting and newest.running else None

    def held_up(self) -> bool:
        """Whether the loop was busy while the newest branch became late; it then has as long again.

        What it answered meanwhile would lie in the socket, unread, and what it was to be asked
        may not have left.
        """
        branch, now = self.branches[-1], self.now()
        patience = branch.late_at - branch.started
        if now - branch.late_at <= max(_HELD_UP * patience, _A_MOMENT):
            return False
        branch.late_at = now + patience
        return True

    def note_lateness(self) -> None:
        """Note that the newest branch is late; it is again when it has taken twice as long."""
        branch = self.branches[-1]
        branch.late_at += self.now() - branch.started
        if branch.noted_late is None:
            branch.noted_late = branch.record.late(branch.started)

    def failure(self) -> Exception:
        """The one error for a contest that nobody won, with every cause."""
        errors = [branch.error for branch in self.branches if branch.error is not None]
        return all_failed(self._call, [*errors, *self._unable])

    def conclude(self, winner: Branch | None) -> None:
        """Give up whatever still runs, and count how everybody did."""
        if winner is not None:
            winner.record.tally.won += 1
            self._tell(winner, "won")
        for branch in self.branches:
            if branch is winner:
                continue
            if branch.outcome is not None:
                self._lose(branch, branch.outcome)
            elif branch.running:
                self._give_up(branch)

    def result(self, winner: Branch, strategy: str) -> Outcome:
        """The winner's answer, with what the others did and cost."""
        outcome = winner.outcome
        assert outcome is not None
        if len(self.branches) == 1:
            return outcome
        others = [branch for branch in self.branches if branch is not winner]
        cost = outcome.cost
        for branch in others:
            if branch.outcome is not None:
                cost += branch.outcome.cost
        tries = [self._attempt(branch) for branch in others]
        told = ", ".join(f"{one.upstream} {one.status}" for one in tries)
        seconds = self.now() - winner.started
        note = f"{strategy}: {winner.upstream.name} ({winner.why}) won in {seconds:.3g} s; {told}"
        shaped = outcome.shaped_by(NAME, note)
        # Built directly, not evolved, which takes three times as long.
        return Outcome(
            shaped.value,
            shaped.upstream,
            shaped.via,
            shaped.as_of,
            shaped.expires_at,
            shaped.tags,
            cost,
            (*tries, *outcome.attempts),
            shaped.notes,
        )

    def _attempt(self, branch: Branch) -> Attempt:
        if branch.outcome is not None and branch.outcome.attempts:
            return branch.outcome.attempts[-1]
        seconds = self.now() - branch.started
        name = branch.upstream.name
        match branch.error:
            case None:
                return Attempt(name, seconds, "cancelled")
            case InvalidAnswer():
                return Attempt(name, seconds, "rejected", str(branch.error))
            case Refusal():
                return Attempt(name, seconds, "refused", str(branch.error))
            case error:
                return Attempt(name, seconds, "failed", str(error))

    def _ask_next(self) -> None:
        upstream = self.waiting[0]
        self.ask(upstream, "next", self._standings.patience(upstream))

    def _running(self) -> bool:
        return any(branch.running for branch in self.branches)

    async def _next_ended(self, until: float | None) -> Branch | None:
        if not self._ended:
            self._waiter = waiter = asyncio.get_running_loop().create_future()
            timer = None if until is None else self._context.clock.call_at(until, self._wake)
            try:
                await waiter
            finally:
                self._waiter = None
                if timer is not None:
                    timer.cancel()
        return self._ended.popleft() if self._ended else None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _on_end(self, branch: Branch, task: asyncio.Task[Outcome | Exception]) -> None:
        now = self.now()
        seconds = now - branch.started
        record = branch.record
        record.end(branch.noted_late)
        if task.cancelled():
            if not branch.given_up:
                msg = f"the request to {branch.upstream.name!r} was stopped by shutdown"
                branch.error = Closed(msg)
        elif isinstance(answer := task.result(), Exception):
            branch.error = answer
            if not branch.given_up:
                self._fail(branch, answer, seconds, now)
        else:
            branch.outcome = answer
            # What a layer inside answered says nothing about the upstream.
            if answer.attempts:
                record.answered(_latency(answer, seconds), now, branch.started)
            if branch.given_up:
                self._lose(branch, answer)
        self._ended.append(branch)
        self._wake()

    def _fail(self, branch: Branch, error: Exception, seconds: float, now: float) -> None:
        record = branch.record
        if isinstance(error, Refusal):
            record.refused(error.retry_at)
            self._tell(branch, "refused")
            return
        record.failed(seconds, now, at_fault=not is_final(error))
        self._tell(branch, "failed", f"after {seconds:.4f} s: {error}")

    def _lose(self, branch: Branch, outcome: Outcome) -> None:
        branch.record.tally.lost += 1
        if isinstance(outcome.value, Stream):
            outcome.value.abort("another upstream was faster")
        seconds = outcome.attempts[-1].latency if outcome.attempts else 0.0
        self._waste(branch, outcome.cost.usd or 0.0, "lost", seconds)

    def _give_up(self, branch: Branch) -> None:
        branch.given_up = True
        branch.task.cancel()
        now = self.now()
        seconds = now - branch.started
        branch.record.cancelled(seconds, now)
        # Told before the winner's answer is, so that whoever watches the call hears of it.
        self._waste(branch, branch.upstream.price or 0.0, "cancelled", seconds)
        timer = self._context.clock.call_at(
            now + self._reap_timeout, lambda: self._report_undead(branch)
        )
        branch.task.add_done_callback(lambda _: timer.cancel())

    def _report_undead(self, branch: Branch) -> None:
        self._context.warn_once(
            NAME,
            f"a cancelled request to {branch.upstream.name!r} has not ended within "
            f"{self._reap_timeout:g} s: its fetch must not swallow CancelledError",
        )

    def _waste(self, branch: Branch, usd: float, action: str, seconds: float) -> None:
        branch.record.tally.wasted_usd += usd
        self._tell(branch, action, f"after {seconds:.4f} s, wasted {usd:.6f} USD")

    def _tell(self, branch: Branch, action: str, detail: str = "") -> None:
        events = self._context.events
        if events.active:
            name = branch.upstream.name
            bound = self._call.bind(name)
            events.emit(LayerActed(NAME, action, bound, f"{name} {detail}".rstrip()))


def _latency(outcome: Outcome, seconds: float) -> float:
    """How long *outcome* took whoever waited *seconds* for it.

    An attempt ends when the upstream begins a stream, but it wins with its first chunk.
    """
    return seconds if isinstance(outcome.value, Stream) else outcome.attempts[-1].latency


async def _answer(call: Call, call_next: Next) -> Outcome | Exception:
    """The answer to *call*, or why there is none.

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
