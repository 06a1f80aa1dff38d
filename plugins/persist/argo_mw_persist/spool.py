"""The spool: a file that keeps rows while their sink cannot be reached, in order."""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from argo_mw.plugin import Clock, Row, Tasks, TimeLimitExceeded, fail_at
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.errors import SinkUnavailable
from argo_mw_persist.partitions import Partition
from argo_mw_persist.schema import OWN_SCHEMA, Schema
from argo_mw_persist.sink import Connections, HasClock, KeepsPartitions, Query, Sink
from argo_mw_persist.sqlite import SqliteSink
from argo_mw_persist.tables import Cells, Dialect, Table

OnWarning = Callable[[str], None]
OnDrained = Callable[[Sequence[Row]], None]

_BATCH = 1000
_RETRY = 1.0
_PATIENCE = 5.0
"""Seconds to wait for the sink, at startup and for each batch, before rows go to the spool."""


class SpooledSink:
    """A sink that accepts rows while the one behind it cannot be reached.

    Once a row is in the spool, later ones follow it there until the spool is empty. Rows leave it
    in the order in which they came; only a batch that was being sent when the sink failed may still
    arrive before an earlier one. A row in the spool is committed to this machine's disk: it is
    acknowledged as ``spool``, and reads do not see it yet. The spool has the same tables as any
    sink, and a limit of size, at which writes fail.

    Args:
        behind: The sink proper.
        spool: The file, as a sink.
        on_warning: Called with one line when the sink cannot be reached and when it can again.
        on_drained: Called with the rows that have reached the sink from the spool.
    """

    def __init__(
        self,
        behind: Sink,
        spool: SqliteSink,
        *,
        clock: Clock,
        tasks: Tasks,
        on_warning: OnWarning,
        on_drained: OnDrained,
    ) -> None:
        self._behind = behind
        self._spool = spool
        self._clock = clock
        self._tasks = tasks
        self._on_warning = on_warning
        self._on_drained = on_drained
        self._away = False
        self._schema = OWN_SCHEMA
        self._migrate = True
        self._opened = False
        self._order = asyncio.Lock()
        self._last_write = asyncio.Event()
        self._last_write.set()
        self._draining: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[str]] = set()
        self.depth = 0
        """The number of rows in the spool, as this process last saw it; others may use it too."""

    @property
    def dialect(self) -> Dialect:
        return self._behind.dialect

    @property
    def place(self) -> str:
        return self._behind.place

    @property
    def connections(self) -> Connections | None:
        """How the connections of the sink proper are used, if it counts them."""
        found = getattr(self._behind, "connections", None)
        return found if isinstance(found, Connections) else None

    async def open(self, schema: Schema, *, migrate: bool = True) -> None:
        self._schema, self._migrate = schema, migrate
        await self._spool.open(schema)
        opening = self._behind.open(schema, migrate=migrate)
        try:
            await fail_at(opening, self._clock.monotonic() + _PATIENCE, self._clock)
            self._opened = True
        except TimeLimitExceeded:
            self._bridge(SinkUnavailable(self._silent()))
        except SinkUnavailable as error:
            self._bridge(error)
        except BaseException:
            await self._spool.aclose()
            raise
        if await self._spooled():
            self.depth = await self._count()
            self._bridge(None)

    async def write(self, rows: Sequence[Row]) -> str:
        before, done = self._last_write, asyncio.Event()
        self._last_write = done
        failure: SinkUnavailable | None = None
        try:
            if not self._away:
                try:
                    # Concurrent with the previous write: the server accepts rows while it commits.
                    return await self._write_in_time(rows)
                except SinkUnavailable as error:
                    failure = error
            await before.wait()
            async with self._order:
                self._bridge(failure)
                await self._spool.write(rows)
                self.depth += len(rows)
            return "spool"
        finally:
            done.set()

    async def _write_in_time(self, rows: Sequence[Row]) -> str:
        """Write *rows* to the sink.

        A write that takes too long is not cancelled: rows that arrive twice are kept once.

        Raises:
            SinkUnavailable: The sink refused them, or did not answer in time.
        """
        writing = asyncio.create_task(self._behind.write(rows), name="argo-mw:persist:write")
        try:
            return await fail_at(_result(writing), self._clock.monotonic() + _PATIENCE, self._clock)
        except TimeLimitExceeded:
            self._late.add(writing)
            writing.add_done_callback(self._on_late)
            raise SinkUnavailable(self._silent()) from None
        except asyncio.CancelledError:
            writing.cancel()
            raise

    def _on_late(self, writing: asyncio.Task[str]) -> None:
        self._late.discard(writing)
        if not writing.cancelled():
            writing.exception()  # retrieved: its rows are in the spool

    def _silent(self) -> str:
        return f"{self.place} did not answer within {_PATIENCE:g} s"

    async def read(self, query: Query) -> Sequence[Cells]:
        return await self._behind.read(query)

    async def change(self, query: Query) -> int:
        self._check_not_away()
        return await self._behind.change(query)

    async def now(self) -> float | None:
        """Return the time of the database behind, or ``None`` if it has no clock of its own."""
        behind = self._behind
        return await behind.now() if isinstance(behind, HasClock) else None

    async def partitions(self, table: Table) -> Sequence[Partition] | None:
        self._check_not_away()
        behind = self._behind
        return await behind.partitions(table) if isinstance(behind, KeepsPartitions) else None

    async def extend(self, table: Table) -> None:
        if isinstance(self._behind, KeepsPartitions):
            await self._behind.extend(table)

    async def drop(self, table: Table, partition: Partition) -> Sequence[Cells] | None:
        behind = self._behind
        return await behind.drop(table, partition) if isinstance(behind, KeepsPartitions) else ()

    async def check(self) -> Sequence[str]:
        return [*await self._behind.check(), *await self._spool.check()]

    async def backup(self, to: Path) -> None:
        await self._behind.backup(to)

    async def aclose(self) -> None:
        draining, self._draining = self._draining, None
        if draining is not None:
            draining.cancel()
            await asyncio.gather(draining, return_exceptions=True)
        for late in self._late:
            late.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._behind.aclose()
        await self._spool.aclose()

    def _check_not_away(self) -> None:
        if self._away:
            msg = f"{self.place} cannot be reached; unlike records, changes cannot wait for it"
            raise SinkUnavailable(msg)

    async def drained(self) -> None:
        """Return once the spool is empty."""
        if self._draining is not None:
            await asyncio.shield(self._draining)

    def _bridge(self, error: SinkUnavailable | None) -> None:
        """Send rows to the spool from now on, and start draining it."""
        before, self._away = self._away, True
        if error is not None and not before:
            self._on_warning(f"records go to the spool: {error}")
        if self._draining is None or self._draining.done():
            self._draining = self._tasks.spawn("persist:drain", self._drain())

    async def _drain(self) -> None:
        while True:
            try:
                if not self._opened:
                    await self._behind.open(self._schema, migrate=self._migrate)
                    self._opened = True
                if not await self._drain_some():
                    return
            except SinkUnavailable:
                await self._clock.sleep(_RETRY)

    async def _drain_some(self) -> bool:
        """Move the oldest rows of each table; return whether there may be more."""
        moved = [await self._move(table) for table in self._schema]
        if any(moved):
            return True
        # No write may reach the spool between finding it empty and ceasing to use it.
        async with self._order:
            if await self._spooled():
                return True
            self._away = False
            self.depth = 0
        self._on_warning(f"{self.place} takes records again, and has all rows of the spool")
        return False

    async def _move(self, table: Table) -> bool:
        columns = ", ".join(table.names)
        found = await self._spool.read(
            Query(f"SELECT {columns} FROM {table.name} ORDER BY rowid LIMIT {_BATCH}")
        )
        if not found:
            return False
        rows = [table.restored(cells) for cells in found]
        written = await write_sound(self._behind, self._schema, rows, now=self._clock.time())
        if written.refused:
            self._on_warning(f"{len(written.refused)} spooled records became dead letters")
        # By identifier, not rowid: another process may have drained and refilled the spool.
        these = ", ".join("?" * len(found))
        await self._spool.change(
            Query(f"DELETE FROM {table.name} WHERE id IN ({these})", [cells[0] for cells in found])
        )
        self.depth = max(0, self.depth - len(found))
        self._on_drained([row for row in rows if row not in written.refused])
        return True

    async def _count(self) -> int:
        counts = " + ".join(f"(SELECT count(*) FROM {table.name})" for table in self._schema)
        [(count,)] = await self._spool.read(Query(f"SELECT {counts}"))
        assert isinstance(count, int)
        return count

    async def _spooled(self) -> bool:
        some = " OR ".join(f"EXISTS (SELECT 1 FROM {table.name})" for table in self._schema)
        [(found,)] = await self._spool.read(Query(f"SELECT {some}"))
        return bool(found)


async def _result(writing: asyncio.Task[str]) -> str:
    return await asyncio.shield(writing)
