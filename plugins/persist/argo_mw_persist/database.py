"""The database, as other plugins get it: to record, read and change their rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from argo_mw.plugin import Action, Cell, Row, UpstreamError
from argo_mw_persist.dead_letters import write_sound
from argo_mw_persist.errors import PersistError
from argo_mw_persist.newest import NewestRows
from argo_mw_persist.sink import KeepsNewest, Query
from argo_mw_persist.store import StoreInUse
from argo_mw_persist.tables import Cells, Dialect
from argo_mw_persist.writer import Receipt

NAME = "persist"


class Database:
    """The database in use, across changes of the configuration.

    Plugins that declare tables receive it through the hook ``database_opened``. Their upstreams
    call it while they answer, so it raises :class:`~argo_mw.plugin.UpstreamError` where the
    database cannot answer now.

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

    async def newest(self, table: str, subjects: Sequence[str], tenant: str = "") -> NewestRows:
        """Return the newest row of each of *subjects* in *table*, as far as they are at hand.

        Args:
            table: A table that declares ``newest``.
            subjects: Which.
            tenant: The tenant that asks: it sees its own rows, and those that all share.
        """
        sink = self._store().sink
        if not isinstance(sink, KeepsNewest):
            return NewestRows("[]", (), tuple(subjects))
        try:
            return await sink.newest(table, subjects, tenant)
        except PersistError as error:
            raise unavailable(error) from error

    async def change(
        self, sql: str, parameters: Sequence[Cell] = (), *, tags: Collection[str] = ()
    ) -> int:
        """Run *sql*, one changing statement, invalidate *tags*, return how many rows changed.

        Args:
            sql: The statement.
            parameters: One for each ``?`` in it.
            tags: The tags of reads that it makes stale.
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

        For imports of many rows; what calls are answered is queued and written in batches.
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
    """Return *error* as that of an upstream, which may be asked again."""
    return UpstreamError(str(error), upstream=NAME, action=Action.RETRY)
