"""Requests: what really goes out to an upstream, past its guards."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

from argo_mw.base.cancellation import described, is_failure, message_of
from argo_mw.base.clock import Clock
from argo_mw.base.errors import ArgoError, Refusal, UpstreamError
from argo_mw.base.tasks import Tasks
from argo_mw.chain.answering import Answering, UnderWay
from argo_mw.chain.settlement import SentRequest, Settlement
from argo_mw.counters.instance import Tallies
from argo_mw.model.call import NOTHING, ON_SENT, Call
from argo_mw.model.events import Events, RequestSent
from argo_mw.model.guard import CountingGuard, Guard, Request, Result
from argo_mw.model.outcome import Outcome
from argo_mw.model.stream import Stream
from argo_mw.model.upstream import Upstream


class Sender:
    """Sends requests to one upstream: guards reserve, the request goes out, guards settle."""

    def __init__(
        self,
        upstream: Upstream,
        guards: Sequence[Guard],
        events: Events,
        clock: Clock,
        tasks: Tasks,
        answering: Answering,
        tallies: Tallies,
    ) -> None:
        self.upstream = upstream
        self._clock = clock
        self._tasks = tasks
        self._answering = answering
        self._tallies = tallies
        self._settlement = Settlement(upstream, events, clock)
        self._guards = tuple(guards)
        self._counting = tuple(g for g in guards if isinstance(g, CountingGuard))
        self._events = events

    async def send(self, call: Call) -> Outcome:
        """Return the upstream's answer to *call*, from a request of its own."""
        request = Request(self.upstream, (call,)) if self._guards else None
        if request is not None:
            await self._reserve(request)
        sent = self._settlement.begin((call,))
        # Others are timed by their attempt.
        began = self._clock.monotonic() if call.operation.kind == "llm" else None
        self._note_sent(call, request)
        self._announce(call, 1)
        current = self._answering.current
        try:
            # By hand: `with self._answering.answer(call)` takes longer, and every request pays.
            under_way = UnderWay(call, current.get())
            before = current.set(under_way)
            try:
                outcome = await self.upstream.fetch(call)
            finally:
                current.reset(before)
                under_way.call = None
            if not isinstance(outcome, Outcome):
                raise self._no_outcome(outcome)
            if isinstance(outcome.value, Stream):
                self._answering.read_streams(call, under_way, (outcome,))
        except BaseException as error:
            # No further name for an error here: it and this frame would keep each other alive, with
            # all that they hold, until the garbage collector runs.
            foreign = _is_foreign(error)
            self._tallies.sent(self.upstream, call, self._ending(error, foreign), 1.0, began)
            if request is not None or sent is not None:
                await self._settle(request, sent, (self._ending(error, foreign),))
            if foreign:
                raise self._failure(error) from error
            raise
        self._tallies.sent(self.upstream, call, outcome, 1.0, began)
        if request is not None or sent is not None:
            await self._settle(request, sent, (outcome,))
        return outcome

    async def send_many(self, calls: Sequence[Call]) -> Sequence[Outcome | Exception]:
        """Return the upstream's answers to *calls*, from one request."""
        batching = self.upstream.batching
        assert batching is not None
        request = Request(self.upstream, tuple(calls))
        await self._reserve(request)
        sent = self._settlement.begin(request.calls)
        began = self._clock.monotonic()
        try:
            for call in calls:
                self._note_sent(call, request)
            self._announce(calls[0], len(calls))
            # All calls of a batch are one tenant's, or their answers are public.
            with self._answering.answer(calls[0]) as under_way:
                answers = await batching.fetch_many(request.calls)
            if len(answers) != len(calls):
                msg = (
                    f"upstream {self.upstream.name!r} answered {len(answers)} of {len(calls)} "
                    "batched calls; fetch_many must give one outcome or error for each"
                )
                raise UpstreamError(msg, upstream=self.upstream.name)
            answers = [self._each(answer) for answer in answers]
            self._answering.read_streams(calls[0], under_way, answers)
        except BaseException as error:
            foreign = _is_foreign(error)
            await self._end_many(request, sent, (self._ending(error, foreign),) * len(calls), began)
            if foreign:
                raise self._failure(error) from error
            raise
        await self._end_many(request, sent, answers, began)
        return answers

    async def charge_extra(self, call: Call) -> None:
        """Charge and announce one more request of the answer to *call*."""
        if self._counting:
            await self._charge_page(Request(self.upstream, (call,)))
        self._settlement.charge_extra(call)
        self._tallies.sent_extra(call)
        self._announce(call, 0)

    async def _reserve(self, request: Request) -> None:
        taken = 0
        try:
            for guard in self._guards:
                await guard.reserve(request)
                taken += 1
        except BaseException as error:
            failed = is_failure(error) and not isinstance(error, Refusal)
            await self._release(request, self._guards[:taken])
            if failed:
                why = message_of(error) or described(error)
                msg = f"guard failed, so upstream {self.upstream.name!r} is not asked: {why}"
                raise Refusal(msg) from error
            raise

    async def _charge_page(self, page: Request) -> None:
        charged = 0
        try:
            for guard in self._counting:
                await guard.charge_extra(page)
                charged += 1
        except BaseException:
            await self._release(page, self._counting[:charged])
            raise
        for guard in self._counting:
            guard.settle(page, ())

    async def _release(self, request: Request, reserved: Sequence[Guard]) -> None:
        """Let the guards that *reserved* give back what they took; *request* is not sent."""
        if reserved:
            await self._finish([guard.release(request) for guard in reversed(reserved)])

    async def _end_many(
        self, request: Request, sent: SentRequest | None, result: Result, began: float
    ) -> None:
        """Count a request of several calls, which *began* then and ended in *result*; settle it."""
        self._tallies.sent_many(self.upstream, request.calls, result, began)
        await self._settle(request, sent, result)

    async def _settle(
        self, request: Request | None, sent: SentRequest | None, result: Result
    ) -> None:
        """Settle the guards of a request that was sent, and emit what it cost."""
        if sent is not None:
            self._settlement.end(sent, result)
        remaining: list[Awaitable[None]] = []
        failures: list[Exception] = []
        # The task that settles costs more than all the rest of a request, so only guards that
        # wait get one.
        try:
            for guard in self._guards:
                assert request is not None
                try:
                    rest = guard.settle(request, result)
                except Exception as error:
                    failures.append(error)
                    continue
                if rest is not None:
                    remaining.append(rest)
            if remaining:
                failures += await self._finish(remaining)
        finally:
            if sent is not None:
                self._settlement.emit(sent)
        if failures and not isinstance(result[0], asyncio.CancelledError):
            raise failures[0]

    async def _finish(self, steps: Sequence[Awaitable[None]]) -> Sequence[Exception]:
        """Run *steps* to their end even if this caller is cancelled; return their failures."""
        finishing = self._tasks.finish(f"guards:{self.upstream.name}", _all(steps))
        return await asyncio.shield(finishing) or ()

    def _note_sent(self, call: Call, request: Request | None) -> None:
        if call.extensions is not NOTHING:
            on_sent = call.extensions.get(ON_SENT)
            if callable(on_sent):
                on_sent(request or Request(self.upstream, (call,)))

    def _announce(self, call: Call, calls: int) -> None:
        if RequestSent in self._events.wanted:
            self._events.emit(RequestSent(self.upstream.name, call.operation.name, calls))

    def _each(self, answer: object) -> Outcome | Exception:
        """Return one answer of a batch as it would be if its call had been sent alone."""
        if isinstance(answer, (Outcome, ArgoError)):
            return answer
        if not isinstance(answer, BaseException):
            return self._no_outcome(answer)
        failure = self._failure(answer)
        failure.__cause__ = answer
        return failure

    def _no_outcome(self, answer: object) -> UpstreamError:
        msg = (
            f"upstream {self.upstream.name!r} answered with a {type(answer).__name__}, not an "
            "Outcome; wrap the value: Outcome(value)"
        )
        return UpstreamError(msg, upstream=self.upstream.name)

    def _ending(self, error: BaseException, foreign: bool) -> BaseException:
        """Return what a request ended in: *error*, unless that only looks like a cancellation."""
        return self._failure(error) if foreign and not isinstance(error, Exception) else error

    def _failure(self, error: BaseException) -> UpstreamError:
        msg = f"upstream {self.upstream.name!r} failed: {described(error)}"
        failure = UpstreamError(msg, upstream=self.upstream.name)
        failure.raised = error if isinstance(error, Exception) else None
        return failure


def _is_foreign(error: BaseException) -> bool:
    """Return whether *error*, just caught, is a failure that the chain does not know."""
    return not isinstance(error, ArgoError) and is_failure(error)


async def _all(steps: Sequence[Awaitable[None]]) -> Sequence[Exception]:
    """Await all *steps*, even if some fail; return their failures."""
    ended = await asyncio.gather(*steps, return_exceptions=True)
    return [failure for failure in ended if isinstance(failure, Exception)]
