"""The store: records and reads rows, with or without a chain around it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from argo_mw.plugin import BadParameter, Clock, Log, Row, TimeOrderedIds
from argo_mw_persist import queries, results
from argo_mw_persist.queries import AnswerFilter, ChargeFilter, PageKey
from argo_mw_persist.records import Answer
from argo_mw_persist.results import AnswerPage, Spending
from argo_mw_persist.retention import KEEP_FOREVER, Retention, RetentionOptions
from argo_mw_persist.schema import OWN_SCHEMA, Schema
from argo_mw_persist.sink import Query, Sink
from argo_mw_persist.tables import Cells
from argo_mw_persist.writer import Receipt, Writer, WriterOptions

log = Log("argo_mw_persist")

Invalidate = Callable[[Iterable[str]], Awaitable[object]]

StoreInUse = Callable[[], "RecordStore"]
"""Returns the store in use, which changes with the configuration. Calls that began before such a
change record to the new store, since the one that they began with is closed."""

MAX_ROWS = 10_000
"""The most rows in a page."""


async def _invalidate_nothing(tags: Iterable[str]) -> None:
    return None


class RecordStore:
    """A store that keeps rows in a sink.

    Use it inside ``async with``, or call :meth:`open` and :meth:`aclose`.

    Args:
        sink: Where rows are kept; the store opens and closes it.
        options: How rows are queued and batched.
        clock: The clock.
        schema: The tables of the rows.
        invalidate: Awaited with tags after each commit and before its rows are acknowledged.
        on_warning: Called with one line when something fails, and when it works again.
        retention: For how long rows are kept.

    Raises:
        ConfigError: The retention names a table that no plugin declares.
    """

    def __init__(
        self,
        sink: Sink,
        options: WriterOptions,
        *,
        clock: Clock,
        schema: Schema = OWN_SCHEMA,
        invalidate: Invalidate = _invalidate_nothing,
        on_warning: Callable[[str], None] = log.warning,
        retention: RetentionOptions = KEEP_FOREVER,
    ) -> None:
        self.sink = sink
        self.schema = schema
        self.clock = clock
        self._invalidate = invalidate
        self.writer = Writer(
            sink,
            options,
            schema=schema,
            clock=clock,
            on_committed=self._committed,
            on_warning=on_warning,
        )
        self._retention = Retention(
            sink,
            retention,
            schema=schema,
            clock=clock,
            invalidate=invalidate,
            on_warning=on_warning,
        )
        self._prunes = bool(retention.days)
        self._run: asyncio.Task[None] | None = None
        self._pruning: asyncio.Task[None] | None = None

    async def open(self, *, migrate: bool = True) -> None:
        """Open the sink and start writing.

        Args:
            migrate: Whether tables of an older version may be changed.

        Raises:
            SinkUnavailable: The sink cannot be reached, and there is no spool.
            SchemaError: Its tables are newer than the code, or not ours.
        """
        await self.sink.open(self.schema, migrate=migrate)
        self._run = asyncio.create_task(self.writer.run(), name="argo-mw:persist:writer")
        if self._prunes:
            self._pruning = asyncio.create_task(
                self._retention.run(), name="argo-mw:persist:retention"
            )

    async def aclose(self, *, timeout: float = 10.0) -> None:
        """Write what is queued, for *timeout* seconds at most, and close the sink. Idempotent."""
        run, self._run = self._run, None
        if run is None:
            return
        await self._stop_pruning()
        self.writer.close(timeout=timeout)
        try:
            await asyncio.shield(run)
        finally:
            if not run.done():
                run.cancel()
                await asyncio.gather(run, return_exceptions=True)
            await self.sink.aclose()

    async def __aenter__(self) -> RecordStore:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def record(self, row: Row, *, hasty: bool = False) -> Awaitable[Receipt]:
        """Queue *row*, waiting while the queue is full.

        Await the returned receipt to know that the row is safe; its result names the place.

        Args:
            row: The row.
            hasty: Whether to raise instead of waiting while the sink cannot write.

        Raises:
            ConfigError: No plugin declares the row's table.
            QueueFull: The queue is full, and ``overflow`` is ``refuse``, or the caller is hasty.
        """
        self.schema.check(row.table)
        return self.writer.put(row, hasty=hasty)

    def try_record(self, row: Row) -> Receipt | None:
        """Queue *row* if there is room, and return its receipt; ``None`` if it has to wait.

        Raises:
            ConfigError: No plugin declares the row's table.
            Closed: The store is shutting down.
        """
        self.schema.check(row.table)
        return self.writer.try_put(row)

    async def flush(self) -> None:
        """Return once all rows recorded before are written or refused."""
        await self.writer.flush()

    async def read(self, query: Query) -> Sequence[Cells]:
        """Return the rows that *query* finds."""
        return await self.sink.read(query)

    async def change(self, query: Query, tags: Collection[str]) -> int:
        """Run *query*, a changing statement, and invalidate *tags*.

        Returns:
            How many rows it changed.
        """
        changed = await self.sink.change(query)
        await self.invalidate(tags)
        return changed

    async def invalidate(self, tags: Collection[str]) -> None:
        """Invalidate reads that name one of *tags*."""
        if tags:
            await self._invalidate(tags)

    async def answers(
        self, wanted: AnswerFilter, *, limit: int = 100, after: str | None = None
    ) -> AnswerPage:
        """Return the recorded answers that *wanted* describes, newest first, a page at a time.

        Args:
            wanted: Which answers.
            limit: The most answers in a page.
            after: The ``next`` of an earlier page.

        Raises:
            BadParameter: *after* is not from an earlier page.
        """
        key = None if after is None else _page_key(after)
        rows = await self.read(queries.answers(wanted, _checked(limit), key))
        answers = tuple([Answer.from_cells(row) for row in rows])
        return AnswerPage(answers, _next(answers, limit))

    async def spending(self, wanted: ChargeFilter) -> tuple[Spending, ...]:
        """Return what *wanted* adds up to, by upstream and operation, the most expensive
        first.
        """
        rows = await self.read(queries.spending(wanted))
        return tuple(results.spending(row) for row in rows)

    async def prune(self) -> Mapping[str, int]:
        """Delete what has been kept long enough, and return how many rows of each table.

        Raises:
            SinkUnavailable: The sink cannot be changed now; part of the work may be done.
        """
        return await self._retention.prune()

    async def _stop_pruning(self) -> None:
        pruning, self._pruning = self._pruning, None
        if pruning is not None:
            pruning.cancel()
            await asyncio.gather(pruning, return_exceptions=True)

    async def _committed(self, rows: Sequence[Row]) -> None:
        # Rows of one subject share one tuple of tags, so the set of tuples is small.
        await self.invalidate({tag for some in {row.tags for row in rows} for tag in some})


def _checked(limit: int) -> int:
    if not 1 <= limit <= MAX_ROWS:
        msg = f"limit is {limit}; give a number of rows from 1 to {MAX_ROWS}"
        raise BadParameter(msg)
    return limit


def _next(found: Sequence[Answer], limit: int) -> str | None:
    if len(found) < limit:
        return None
    return f"{found[-1].timestamp}:{TimeOrderedIds.text(found[-1].id)}"


def _page_key(after: str) -> PageKey:
    timestamp, _, identifier = after.partition(":")
    try:
        return int(timestamp), TimeOrderedIds.parse(identifier)
    except ValueError:
        msg = f"after is {after!r}; give the `next` of an earlier page"
        raise BadParameter(msg) from None
