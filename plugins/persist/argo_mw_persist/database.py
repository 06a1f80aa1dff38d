"""The database as other plugins see it: they record, read and change their rows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence

from argo_mw.plugin import Action, Cell, ConfigError, Row, UpstreamError
from argo_mw_persist import queries
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.errors import PersistError
from argo_mw_persist.sink import KeepsNewest, Query
from argo_mw_persist.store import StoreInUse
from argo_mw_persist.tables import Cells, Dialect, Table
from argo_mw_persist.writer import Receipt

NAME = "persist"
_AT_ONCE = 1_000
"""Rows that ``make`` is given at once, which takes a millisecond or two."""


class Database:
    """The database in use, across changes of the configuration.

    Plugins that declare tables receive it through the hook ``database_opened``. Their upstreams
    call it while they answer, so it raises :class:`~argo_mw.plugin.UpstreamError` if the database
    cannot answer now.

    Args:
        store: Returns the store in use.
    """

    def __init__(self, store: StoreInUse) -> None:
        self._store = store

    @property
    def dialect(self) -> Dialect:
        """Whose SQL it speaks: ``sqlite`` or ``postgresql``."""
        return self._store().sink.dialect

    async def read(self, sql: str, parameters: Sequence[Cell] = ()) -> Sequence[Cells]:
        """Return the rows that *sql* finds, with ``?`` for each of *parameters*."""
        try:
            return await self._store().read(Query(sql, parameters))
        except PersistError as error:
            raise unavailable(error) from error

    async def newest(
        self, table: str, subjects: Iterable[str], tenant: str = ""
    ) -> Mapping[str, object]:
        """Return the newest row of each of *subjects* in *table* that has any.

        Args:
            table: A table that declares ``newest``; what its ``make`` returns is returned.
            subjects: The subjects.
            tenant: The tenant that asks: it sees its own rows, and those that all share.

        Raises:
            ConfigError: No plugin declares the table, or it does not say what its newest rows are.
        """
        store = self._store()
        declared, wanted = store.schema[table], dict.fromkeys(subjects)
        if declared.newest is None:
            msg = f"the table {table!r} does not declare its newest rows; declare `newest`"
            raise ConfigError(msg)
        try:
            if isinstance(store.sink, KeepsNewest):
                return await store.sink.newest(declared, wanted, tenant)
            rows = await store.read(queries.newest(self.dialect, declared, list(wanted), tenant))
        except PersistError as error:
            raise unavailable(error) from error
        return await _made(declared, rows)

    async def change(
        self, sql: str, parameters: Sequence[Cell] = (), *, tags: Collection[str] = ()
    ) -> int:
        """Run *sql*, one changing statement, invalidate *tags*, return how many rows changed.

        Args:
            sql: The statement.
            parameters: One for each ``?`` in it.
            tags: The tags of the reads that it makes stale.
        """
        try:
            return await self._store().change(Query(sql, parameters), tags)
        except PersistError as error:
            raise unavailable(error) from error

    async def record(self, row: Row) -> Receipt:
        """Queue *row*, waiting while the queue is full, and return its receipt.

        Await the receipt to know that the row is safe; its result names the place.

        Raises:
            ConfigError: No plugin declares the row's table.
            QueueFull: The queue is full, and ``overflow`` is ``refuse``.
        """
        return await self._store().record(row)

    async def write(self, rows: Sequence[Row]) -> Mapping[Row, str]:
        """Write *rows* at once, past the queue, and return why each refused one was refused.

        For imports of many rows; rows of single calls are better queued, and written in batches.
        """
        store = self._store()
        try:
            written = await write_sound(store.sink, store.schema, rows, now=store.clock.time())
        except PersistError as error:
            raise unavailable(error) from error
        sound = (row for row in rows if row not in written.refused)
        await store.invalidate({tag for row in sound for tag in row.tags})
        return {row: str(error) for row, error in written.refused.items()}

    async def flush(self) -> None:
        """Return once every row that was queued before is written or refused."""
        await self._store().flush()


def unavailable(error: PersistError) -> UpstreamError:
    """Return *error* as an error of an upstream that may be asked again."""
    return UpstreamError(str(error), upstream=NAME, action=Action.RETRY)


async def _made(table: Table, rows: Sequence[Cells]) -> dict[str, object]:
    """Return what *table* makes of the newest rows; if many, yield to other tasks in between."""
    assert table.newest is not None
    place, made = table.names.index(table.newest.subject), dict[str, object]()
    for start in range(0, len(rows), _AT_ONCE):
        if start:
            await asyncio.sleep(0)
        some = rows[start : start + _AT_ONCE]
        made |= zip([str(row[place]) for row in some], table.make(some), strict=True)
    return made
