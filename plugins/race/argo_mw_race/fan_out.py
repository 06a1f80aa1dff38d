"""The fan-out of one call: its branches, which of them answers next, and how the rest ends."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from argo_mw.plugin import (
    ON_SENT,
    Call,
    Closed,
    Context,
    Next,
    Outcome,
    Refusal,
    Request,
    StallAwareLimit,
    Stream,
    Unsupported,
    Upstream,
    all_failed,
    is_final,
)
from argo_mw_race.branch import Branch, ask, latency_of
from argo_mw_race.budget import PaidHedge
from argo_mw_race.ranking import Ranking
from argo_mw_race.stats import Reason

NAME = "race"

_PAYING: Final = ("first", "probe")
"""Why branches were started whose requests pay into the hedging budget."""

_MIN_STALL: Final = 0.05
"""Seconds by which a timer may fire late although the event loop was not stalled."""

Until = Callable[[], "float | None"]


def never() -> None:
    """Return no time, as a limit that never comes."""


class FanOut:
    """Starts the branches of one call, and returns them as they answer.

    Branches run in tasks of their own. The owner calls :meth:`conclude` at last, which cancels
    those that still run; they end in the background.

    Args:
        call: The question.
        call_next: Asks the upstream that a call is bound to.
        order: The upstreams, from the first to the last resort.
        context: The application's context.
        ranking: What is known about the upstreams.
        cancel_timeout: Seconds that a cancelled branch may take to end.
        unsupported: Why other upstreams cannot answer, to be listed when all have failed.

    Attributes:
        branches: Every branch, in the order of their start.
        remaining: The upstreams that were not asked yet, in their order.
        now: The monotonic time, in seconds.
    """

    def __init__(
        self,
        call: Call,
        call_next: Next,
        order: Iterable[Upstream],
        *,
        context: Context,
        ranking: Ranking,
        cancel_timeout: float,
        unsupported: Sequence[Unsupported] = (),
    ) -> None:
        self.branches: list[Branch] = []
        self.remaining = list(order)
        self.now = context.clock.monotonic
        self._call = call
        self._call_next = call_next
        self._context = context
        self._ranking = ranking
        self._cancel_timeout = cancel_timeout
        self._unsupported = unsupported
        self._ended: deque[Branch] = deque()
        self._waiter: asyncio.Future[None] | None = None

    def start(
        self,
        upstream: Upstream,
        reason: Reason,
        hedge_delay: float = math.inf,
        paid: PaidHedge | None = None,
    ) -> Branch:
        """Start a branch to *upstream*, one of the remaining; late after *hedge_delay* seconds.

        Raises:
            Closed: The application has been closed.
        """
        self.remaining.remove(upstream)
        stats = self._ranking.stats(upstream)
        now = self.now()
        lateness = StallAwareLimit(now, now + hedge_delay, _MIN_STALL)
        branch = Branch(upstream, stats, reason, lateness, paid)
        bound = self._call.bind(upstream.name)
        if upstream.batching is not None or paid is not None:
            bound = bound.extended({ON_SENT: partial(self._on_sent, branch)})
        elif reason in _PAYING:
            self._ranking.budget.deposit()
        branch.task = self._context.tasks.spawn(
            f"race:{bound.operation.name}:{upstream.name}", self._run(branch, bound), of_call=True
        )
        stats.start(reason)
        if upstream.batching is not None:
            branch.unsent = True
            stats.unsent += 1
        if reason in ("hedge", "probe"):
            self._context.acted(NAME, reason)
        self.branches.append(branch)
        return branch

    @property
    def answered(self) -> list[Branch]:
        """The branches that have answered."""
        return [branch for branch in self.branches if branch.outcome is not None]

    async def next_answer(self, until: Until = never) -> Branch | None:
        """Return the branch that answers next. Branches that fail are replaced at once.

        Upstreams with a scarce quota replace others only when no other branch runs.

        Returns:
            ``None`` when the time *until* came first, or all have ended and some answered.

        Raises:
            Closed: The application has been closed.
            ArgoError: The question is at fault, or every upstream has failed.
        """
        while True:
            if not self._ended and not self._running():
                if self.answered:
                    return None
                if not self.remaining:
                    raise self._failure()
                self._start_next()
            ended = await self._next_ended(until())
            if ended is None or ended.outcome is not None:
                return ended
            if self.answered:
                continue
            if isinstance(ended.error, Closed) or (ended.error and is_final(ended.error)):
                raise ended.error
            if self.remaining and not self._ranking.is_scarce(self.remaining[0]):
                self._start_next()

    def late_at(self) -> float | None:
        """Return when the newest branch is late, if others could still be asked."""
        newest = self.branches[-1]
        return newest.lateness.due if self.remaining and newest.running else None

    def restart_if_stalled(self) -> bool:
        """Return True and restart the hedge timer if a stalled event loop made it fire late."""
        return self.branches[-1].lateness.restart_if_stalled(self.now())

    def mark_late(self) -> None:
        """Mark the newest branch as late; it is late again when it has taken twice as long."""
        branch = self.branches[-1]
        branch.lateness.due += self.now() - branch.started
        if branch.gathering.late_epoch is None:
            branch.gathering.late_epoch = branch.stats.mark_late(branch.started)

    def hedge(self) -> None:
        """Ask the next upstream beside the newest branch, which is late, if the budget pays."""
        late = self.branches[-1]
        paid = self._ranking.pay_for_hedge(self.remaining, late.gathering)
        if paid is not None:
            late.hedged = True
            delay = self._ranking.hedge_delay(paid.upstream)
            self.start(paid.upstream, "hedge", delay, paid)

    def conclude(self, winner: Branch | None) -> None:
        """Cancel all branches that still run, and count how each of them went."""
        if winner is not None:
            winner.stats.tally.won += 1
            self._announce(winner, "won")
        for branch in self.branches:
            if branch is winner:
                continue
            if branch.outcome is not None:
                self._count_lost(branch, branch.outcome)
            elif branch.running:
                self._abandon(branch)
            else:
                branch.error = None  # that is raised may know this branch, and keep itself alive

    def _failure(self) -> Exception:
        errors = [branch.error for branch in self.branches if branch.error is not None]
        return all_failed(self._call, [*errors, *self._unsupported])

    def _start_next(self) -> None:
        upstream = self.remaining[0]
        self.start(upstream, "next", self._ranking.hedge_delay(upstream))

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

    def _on_sent(self, branch: Branch, request: Request) -> None:
        """Note that *request* goes out for *branch*, and maybe for others."""
        branch.leave_waiting_room()
        if branch.paid is not None:
            branch.paid.on_sent()
        if branch.upstream.batching is None or branch.abandoned:
            return
        own = branch.gathering
        branch.gathering = branch.stats.gather(request, own)
        if branch.gathering is own and branch.reason in _PAYING:
            self._ranking.budget.deposit()

    # -- how branches end --------------------------------------------------------------------

    async def _run(self, branch: Branch, bound: Call) -> None:
        """Ask *branch*'s upstream, and count how that ended.

        In its own task: a callback would cost one turn of the event loop more, for the caller too.
        """
        branch.begun = True
        answer: Outcome | Exception | None
        try:
            answer = await ask(bound, self._call_next)
        except asyncio.CancelledError:
            # Not passed on: nobody awaits the task, which would keep it, and all frames with it.
            answer = None
        self._on_end(branch, answer)

    def _on_end(self, branch: Branch, answer: Outcome | Exception | None) -> None:
        """Count that *branch* ended with *answer*, or was cancelled."""
        now = self.now()
        seconds = now - branch.started
        branch.leave_waiting_room()
        if branch.paid is not None:
            branch.paid.on_end()
        if branch.alarm is not None:
            branch.alarm.cancel()
            branch.alarm = None
        gathering = branch.gathering
        gathering.running -= 1
        if not gathering.running:
            branch.stats.end(gathering.late_epoch)
        last = not branch.abandoned and self._leave(branch)
        if answer is None:
            if not branch.abandoned:
                name = branch.upstream.name
                msg = f"the request to {name!r} was stopped: the application is closed"
                branch.error = Closed(msg)
        elif isinstance(answer, Exception):
            branch.error = answer
            if not branch.abandoned:
                self._count_failed(branch, answer, seconds, now, last=last)
        else:
            branch.outcome = answer
            # An answer from a layer inside shows nothing about the upstream.
            if answer.attempts and not gathering.answered:
                gathering.answered = True
                branch.stats.answered(latency_of(answer, seconds), now, branch.started)
            if branch.abandoned:
                self._count_lost(branch, answer)
        self._ended.append(branch)
        self._wake()

    def _leave(self, branch: Branch) -> bool:
        """Count *branch* out; return whether its request ends with it, and nothing is known yet."""
        last = branch.gathering.leave(self._ranking.budget, hedged=branch.hedged)
        return last and not branch.gathering.answered

    def _count_failed(
        self, branch: Branch, error: Exception, seconds: float, now: float, *, last: bool
    ) -> None:
        if isinstance(error, Refusal):
            branch.stats.refused(error.retry_at)
            self._announce(branch, "refused")
            return
        branch.stats.tally.failed += 1
        if last:
            branch.stats.failed(seconds, now, at_fault=not is_final(error))
        self._announce(branch, "failed", lambda: f"after {seconds:.4f} s: {error}")

    def _count_lost(self, branch: Branch, outcome: Outcome) -> None:
        branch.stats.tally.lost += 1
        if isinstance(outcome.value, Stream):
            outcome.value.abort("another upstream was faster")
        seconds = outcome.attempts[-1].latency if outcome.attempts else 0.0
        self._count_waste(branch, outcome.cost.usd or 0.0, "lost", seconds)

    def _abandon(self, branch: Branch) -> None:
        branch.abandoned = True
        branch.task.cancel()
        now = self.now()
        seconds = now - branch.started
        branch.stats.tally.cancelled += 1
        if self._leave(branch):
            branch.stats.cancelled(seconds, now)
        # Announced before the winner's answer is, so that an observer of the call hears of it.
        self._count_waste(branch, branch.upstream.price or 0.0, "cancelled", seconds)
        if not branch.begun:
            self._on_end(branch, None)
            return
        branch.alarm = self._context.clock.call_at(
            now + self._cancel_timeout, partial(self._report_hanging, branch)
        )

    def _report_hanging(self, branch: Branch) -> None:
        self._context.warn_once(
            NAME,
            f"a cancelled request to {branch.upstream.name!r} has not ended within "
            f"{self._cancel_timeout:g} s: its fetch must not swallow CancelledError",
        )

    def _count_waste(self, branch: Branch, usd: float, action: str, seconds: float) -> None:
        branch.stats.tally.wasted_usd += usd
        self._announce(branch, action, lambda: f"after {seconds:.4f} s, wasted {usd:.6f} USD")

    def _announce(self, branch: Branch, action: str, detail: Callable[[], str] = str) -> None:
        """Count *action* of *branch*; where calls are observed, say so, and its *detail*."""
        events = self._context.events
        if not (events.calls and events.wants_of(self._call)):
            self._context.acted(NAME, action)
            return
        name = branch.upstream.name
        bound = self._call.bind(name)
        self._context.announce(NAME, action, bound, f"{name} {detail()}".rstrip())
