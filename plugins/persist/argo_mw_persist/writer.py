"""The writer: a bounded queue, batches, and acknowledgement only after commit."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal

from attrs import field, frozen, validators

from argo_mw.plugin import Clock, Closed, Log, Row
from argo_mw_persist.batch_size import BatchSize
from argo_mw_persist.capacity_limiter import CapacityLimiter
from argo_mw_persist.dead_letters import Written, write_sound
from argo_mw_persist.errors import NotRecorded, QueueFull, SinkUnavailable
from argo_mw_persist.schema import Schema
from argo_mw_persist.sink import Sink

log = Log("argo_mw_persist")

Receipt = asyncio.Future[str]
"""Completes once the row is safe, with ``sink`` or ``spool``. Fails if it was refused."""

OnCommitted = Callable[[Sequence[Row]], Awaitable[None]]
OnWarning = Callable[[str], None]
_Held = tuple[Row, Receipt]

RESERVE = 1_000
"""How many rows :meth:`Writer.offer` may queue beyond the capacity."""

_WRITES_UNDER_WAY = 2
_MAX_UNDER_WAY = 4
_FIRST_PAUSE = 0.05
_MAX_PAUSE = 1.0


@frozen
class WriterOptions:
    """The settings of the queue and of batches.

    Attributes:
        max_queued: The most rows that are queued or being written.
        overflow: What happens to a row beyond that: ``wait`` for room, or ``refuse`` it with
            :class:`~argo_mw_persist.QueueFull`. While the sink cannot write, an answer waits for
            room only if ``durable`` is set.
        linger: Seconds that a row may wait for others before it is written.
        target: Seconds that the rows of one batch should take to write.
        min_batch: The rows of the first batch, and the fewest of a full one.
        max_batch: The most rows in a batch.
        retry_timeout: Seconds for which to keep trying while the sink cannot write; then the
            receipts of the rows fail with :class:`~argo_mw_persist.NotRecorded`.
    """

    max_queued: int = field(default=10_000, validator=validators.ge(1))
    overflow: Literal["wait", "refuse"] = "wait"
    linger: float = field(default=0.05, validator=validators.ge(0))
    target: float = field(default=0.1, validator=validators.gt(0))
    min_batch: int = field(default=128, validator=validators.ge(1))
    max_batch: int = field(default=4096, validator=validators.ge(1))
    retry_timeout: float = field(default=30.0, validator=validators.ge(0))


async def _nothing_more(rows: Sequence[Row]) -> None:
    return None


class Writer:
    """A queue that takes rows one by one and writes them in batches.

    Args:
        sink: The open sink.
        options: How rows are queued and batched.
        schema: The tables that the sink was opened with.
        clock: The clock.
        on_committed: Awaited with the rows of each batch once they are committed and before they
            are acknowledged.
        on_warning: Called with one line when something fails, and when it works again.
    """

    def __init__(
        self,
        sink: Sink,
        options: WriterOptions,
        *,
        schema: Schema,
        clock: Clock,
        on_committed: OnCommitted = _nothing_more,
        on_warning: OnWarning = log.warning,
    ) -> None:
        self._sink = sink
        self._options = options
        self._clock = clock
        self._schema = schema
        self._on_committed = on_committed
        self._on_warning = on_warning
        self._limiter = CapacityLimiter(options.max_queued)
        self._queue: deque[_Held] = deque()
        self._batch_size = BatchSize(
            target=options.target,
            smallest=min(options.min_batch, options.max_batch),
            largest=options.max_batch,
        )
        self._wake = asyncio.Event()
        self._due: float | None = None
        self._closing = False
        self._why_not = ""
        self._gives_up_at: float | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._last_batch: asyncio.Task[None] | None = None
        self._last_write = 0.0
        self._taken = 0
        self._settled = 0
        self._flushes: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held(self) -> int:
        """The number of rows that were accepted and are not acknowledged yet."""
        return self._limiter.held

    @property
    def capacity(self) -> int:
        """The most rows that are held, without the reserve of :meth:`offer`."""
        return self._limiter.capacity

    @property
    def batch_size(self) -> int:
        """The number of rows in the next full batch."""
        return self._batch_size.size

    async def put(self, row: Row, *, hasty: bool = False) -> Receipt:
        """Enqueue *row*, waiting if the queue is full, and return its receipt.

        Args:
            row: The row.
            hasty: Whether to raise instead of waiting while the sink cannot write.

        Raises:
            QueueFull: The queue is full, and ``overflow`` is ``refuse``, or the caller is hasty.
            Closed: The writer is shutting down.
        """
        if not self._limiter.try_acquire():
            self._refuse_if_full(hasty=hasty)
            if not await self._limiter.acquire(hasty=hasty):
                raise self._full()
        return self._take(row)

    def try_put(self, row: Row) -> Receipt | None:
        """Enqueue *row* if there is room, and return its receipt; ``None`` if it has to wait.

        Raises:
            Closed: The writer is shutting down.
        """
        return self._take(row) if self._limiter.try_acquire() else None

    def offer(self, row: Row) -> Receipt:
        """Enqueue *row* without waiting, and return its receipt.

        May exceed the capacity by :data:`RESERVE`, so that rows whose callers cannot wait are not
        crowded out by rows whose callers can.

        Raises:
            QueueFull: The reserve is used up too.
            Closed: The writer is shutting down.
        """
        if not self._limiter.try_acquire(beyond=RESERVE):
            raise self._full()
        return self._take(row)

    def flush_soon(self) -> None:
        """Write what is queued without lingering, since a caller waits for it."""
        if self._queue:
            self._due = self._clock.monotonic()
            self._wake.set()

    async def flush(self) -> None:
        """Write all rows accepted before this call, and return once they are settled."""
        if self._settled >= self._taken:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushes.append((self._taken, done))
        self._wake.set()
        await done

    async def run(self) -> None:
        """Write batches until :meth:`close` has been called and everything is settled."""
        places = asyncio.Semaphore(_WRITES_UNDER_WAY)
        try:
            while await self._something_due():
                # The sink gets its next batch before it is done with this one, so that it need not
                # wait for the event loop: twice the rows per second beside a busy one.
                await places.acquire()
                # Batches are acknowledged one after the other. If invalidating takes longer than
                # writing, the next batch grows, in place of more batches that wait.
                if len(self._under_way) >= _MAX_UNDER_WAY:
                    await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
                self._last_batch = task = asyncio.create_task(
                    self._process(self._next_batch(), places, self._last_batch),
                    name="argo-mw:persist:batch",
                )
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.gather(*self._under_way)
        finally:
            await self._stop()

    def close(self, *, timeout: float) -> None:
        """Accept no more rows, and let :meth:`run` end once all are written or given up.

        Args:
            timeout: Seconds for which to keep trying while the sink cannot write.
        """
        self._closing = True
        self._gives_up_at = self._clock.monotonic() + timeout
        self._wake.set()

    def _refuse_if_full(self, *, hasty: bool) -> None:
        refuses = self._options.overflow == "refuse" or self._closing
        if refuses or (hasty and self._why_not):
            raise self._full()

    def _full(self) -> Exception:
        if self._closing:
            return Closed("the writer is shutting down and takes no more records")
        msg = (
            f"{self._limiter.held} records wait for {self._sink.place}, the most that "
            "[plugins.persist.writer] max_queued allows; try again, or raise it"
        )
        return QueueFull(f"{msg}: {self._why_not}" if self._why_not else msg)

    def _take(self, row: Row) -> Receipt:
        if self._closing:
            self._limiter.release(1)
            raise self._full()
        receipt: Receipt = asyncio.get_running_loop().create_future()
        self._taken += 1
        self._queue.append((row, receipt))
        if self._due is None:
            self._due = self._clock.monotonic() + self._options.linger
            self._wake.set()
        elif len(self._queue) >= self._batch_size.size:
            self._wake.set()
        return receipt

    async def _something_due(self) -> bool:
        """Wait until a batch should be written; return false if there will be no more."""
        while True:
            if not self._queue:
                self._due = None
                if self._closing:
                    return False
            elif self._is_due():
                return True
            await self._woken()

    def _is_due(self) -> bool:
        if self._closing or self._is_flushed() or len(self._queue) >= self._batch_size.size:
            return True
        return self._due is not None and self._clock.monotonic() >= self._due

    def _is_flushed(self) -> bool:
        oldest_queued = self._taken - len(self._queue)
        return bool(self._flushes) and self._flushes[-1][0] > oldest_queued

    async def _woken(self) -> None:
        self._wake.clear()
        if self._due is None:
            await self._wake.wait()
            return
        timer = self._clock.call_at(self._due, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    def _next_batch(self) -> list[_Held]:
        size = min(self._batch_size.size, len(self._queue))
        batch = [self._queue.popleft() for _ in range(size)]
        # The rows left have waited no longer than this batch has.
        if self._queue:
            self._due = self._clock.monotonic() + self._options.linger
        return batch

    async def _process(
        self,
        batch: Sequence[_Held],
        places: asyncio.Semaphore,
        before: asyncio.Task[None] | None,
    ) -> None:
        written: Written | SinkUnavailable = _stopped()
        try:
            try:
                written = await self._write(batch)
            finally:
                places.release()
            if before is not None and not before.done():
                await asyncio.wait([before])
        finally:
            await self._settle(batch, written)

    async def _stop(self) -> None:
        self._closing = True
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._settle(list(self._queue), _stopped())
        self._queue.clear()

    async def _write(self, batch: Sequence[_Held]) -> Written | SinkUnavailable:
        rows = [row for row, _ in batch]
        began = self._clock.monotonic()
        pause = _FIRST_PAUSE
        warned = False
        while True:
            started = self._clock.monotonic()
            try:
                written = await write_sound(self._sink, self._schema, rows, now=self._clock.time())
            except SinkUnavailable as error:
                # Hasty callers do not wait for a sink that may not write for a long time.
                self._why_not = str(error)
                self._limiter.refuse()
                if self._clock.monotonic() + pause > self._give_up(began):
                    self._on_warning(f"{len(batch)} records are given up: {error}")
                    return error
                if not warned:
                    self._on_warning(f"records wait until they can be written: {error}")
                warned = True
            except Exception as error:
                log.exception("a batch could not be written", records=len(batch))
                return SinkUnavailable(f"{type(error).__name__}: {error}")
            else:
                self._why_not = ""
                now = self._clock.monotonic()
                # The time that the batch waited for the previous one does not count.
                self._batch_size.learn(len(rows), now - max(started, self._last_write))
                self._last_write = now
                if warned:
                    self._on_warning(f"{self._sink.place} takes records again")
                return written
            await self._clock.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)

    def _give_up(self, began: float) -> float:
        until = began + self._options.retry_timeout
        return until if self._gives_up_at is None else min(until, self._gives_up_at)

    async def _settle(self, batch: Sequence[_Held], written: Written | SinkUnavailable) -> None:
        try:
            if isinstance(written, SinkUnavailable):
                for _, receipt in batch:
                    _fail(receipt, NotRecorded(str(written)))
                return
            refused = written.refused
            await self._announce([row for row, _ in batch if row not in refused])
            for row, receipt in batch:
                if refused and row in refused:
                    _fail(receipt, NotRecorded(f"kept as a dead letter: {refused[row]}"))
                elif not receipt.done():
                    receipt.set_result(written.where)
        finally:
            self._limiter.release(len(batch))
            self._settled += len(batch)
            while self._flushes and self._flushes[0][0] <= self._settled:
                _, done = self._flushes.popleft()
                if not done.done():
                    done.set_result(None)

    async def _announce(self, rows: Sequence[Row]) -> None:
        try:
            await self._on_committed(rows)
        except Exception as error:
            # The rows are safe: that reads may be stale must not make them look lost.
            self._on_warning(f"what depends on new records may be stale: {error!r}")


def _stopped() -> SinkUnavailable:
    return SinkUnavailable("the writer was stopped before it knew that this record was written")


def _fail(receipt: Receipt, error: Exception) -> None:
    if not receipt.done():
        receipt.set_exception(error)
        # A receipt need not be awaited; what went wrong has been logged.
        receipt.exception()
