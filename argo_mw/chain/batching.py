"""Batching: calls of a short window that differ in their subject only share one request."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextvars import Context, copy_context

from attrs import define, field

from argo_mw.base.clock import Clock, Timer
from argo_mw.base.error_copies import copy_error
from argo_mw.base.errors import NotShareable, UpstreamError
from argo_mw.base.tasks import Tasks
from argo_mw.model.call import Call
from argo_mw.model.copies import own_value
from argo_mw.model.outcome import Outcome
from argo_mw.model.upstream import Batching

_MAX_WINDOWS = 20

SendMany = Callable[[Sequence[Call]], Awaitable[Sequence[Outcome | Exception]]]


@define(eq=False)
class _Batch:
    calls: list[Call] = field(factory=list)
    waiters: list[asyncio.Future[Outcome]] = field(factory=list)
    # Of the call that begins it: its request is in that call's trace.
    context: Context = field(factory=copy_context)
    timer: Timer | None = None
    windows: int = 0
    task: asyncio.Task[None] | None = None

    @property
    def abandoned(self) -> bool:
        return all(waiter.cancelled() for waiter in self.waiters)


class CallBatcher:
    """Collects calls to one upstream into requests.

    A batch is sent when it is full, or after a window in which no call joined it: on a busy machine
    the calls of one burst arrive over several windows. Cancelling one call leaves the others alone;
    when the last one leaves, the request itself is cancelled.
    """

    def __init__(
        self, name: str, batching: Batching, send_many: SendMany, clock: Clock, tasks: Tasks
    ) -> None:
        self._name = name
        self._batching = batching
        self._send_many = send_many
        self._clock = clock
        self._tasks = tasks
        self._open: dict[str, _Batch] = {}

    async def send(self, call: Call) -> Outcome:
        """Return the answer to *call*, from a request that it may share."""
        key = call.batch_key
        batch = self._open.get(key)
        if batch is None:
            batch = self._open[key] = _Batch()
            self._send_after_window(key, batch, 1)
        waiter: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        batch.calls.append(call)
        batch.waiters.append(waiter)
        if len(batch.calls) >= self._batching.max_size:
            self._dispatch(key, batch)
        try:
            return await waiter
        finally:
            if batch.task is not None and batch.abandoned:
                batch.task.cancel()

    def _send_after_window(self, key: str, batch: _Batch, size: int) -> None:
        """Send *batch* after a window in which it has not grown beyond *size*."""
        batch.windows += 1

        def look() -> None:
            if len(batch.calls) > size and batch.windows < _MAX_WINDOWS:
                self._send_after_window(key, batch, len(batch.calls))
            else:
                self._dispatch(key, batch)

        closes = self._clock.monotonic() + self._batching.window
        batch.timer = self._clock.call_at(closes, look)

    def _dispatch(self, key: str, batch: _Batch) -> None:
        if self._open.get(key) is batch:
            del self._open[key]
        if batch.timer is not None:
            batch.timer.cancel()
        if batch.task is None and not batch.abandoned:
            batch.task = self._tasks.spawn(
                f"batch:{self._name}", self._run(batch), context=batch.context, of_call=True
            )

    async def _run(self, batch: _Batch) -> None:
        wanted = [
            (call, waiter)
            for call, waiter in zip(batch.calls, batch.waiters, strict=True)
            if not waiter.done()
        ]
        try:
            answers = await self._send_many([call for call, _ in wanted])
        except Exception as error:
            _fail(wanted, error)
            return
        except BaseException:  # cancelled, or the program ends: nobody may wait on
            _fail(wanted, _stopped(self._name))
            raise
        results = answers if len(wanted) == 1 else list(_apart(answers))
        for (_, waiter), result in zip(wanted, results, strict=True):
            if waiter.done():
                continue
            if isinstance(result, Outcome):
                waiter.set_result(result)
            else:
                waiter.set_exception(result)


def _apart(answers: Sequence[Outcome | Exception]) -> Iterator[Outcome | Exception]:
    """Yield *answers* without the parts that they share: a frame, a row, one error for all.

    A value that cannot be copied is given to the first call that it answers, and to no other.
    """
    given: set[int] = set()
    for answer in answers:
        if not isinstance(answer, Outcome):
            yield copy_error(answer)
            continue
        try:
            yield own_value(answer)
        except NotShareable as error:
            yield error if id(answer.value) in given else answer
            given.add(id(answer.value))


def _fail(wanted: Sequence[tuple[Call, asyncio.Future[Outcome]]], error: Exception) -> None:
    for _, waiter in wanted:
        if not waiter.done():
            waiter.set_exception(copy_error(error))


def _stopped(name: str) -> Exception:
    msg = f"the batched request to {name!r} was stopped by shutdown; ask again"
    return UpstreamError(msg, upstream=name)
