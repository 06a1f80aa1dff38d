"""The PostgreSQL sink: asyncpg, and COPY straight into the tables.

COPY has no ON CONFLICT. Identifiers are made once per record, so a conflict means that a batch is
repeated; it is then written by INSERT … ON CONFLICT DO NOTHING. So is a batch with rows whose
identifiers are derived from their contents, since other instances may have written them too. See
docs/decisions for measurements.
"""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import cast
from urllib.parse import parse_qs, urlsplit

import asyncpg  # type: ignore[import-untyped]
from attrs import field, frozen, validators

from argo_mw.plugin import Row, TimeOrderedIds
from argo_mw_persist.errors import PersistError, RowsRefused, SchemaError, SinkUnavailable
from argo_mw_persist.partitions import Partition, Slots
from argo_mw_persist.pooler import DURABLE, borrowed, direct, is_pooled
from argo_mw_persist.postgres_connection import Connection
from argo_mw_persist.postgres_partitions import (
    LOCK,
    divide,
    divided,
    drop,
    lacks_partition,
    make_room,
)
from argo_mw_persist.schema import OWN_SCHEMA, READ_VERSIONS, VERSION_TABLE, Schema
from argo_mw_persist.sink import Connections, Query
from argo_mw_persist.tables import TYPES, Cells, Dialect, Table, by_table

_AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What asyncpg raises when a connection breaks during a COPY.
    asyncpg.InternalClientError,
    OSError,
)
_DIVISIONS = 3
"""How often a batch is tried, if each time a partition is missing."""
_LONG = 3600.0
"""The timeout in seconds of statements that read a whole table, for which no caller waits."""


@frozen
class PostgresOptions:
    """The use of PostgreSQL.

    Attributes:
        max_connections: The most connections, of which at most two write at any time.
        timeout: Seconds for one statement, and for connecting.
        partitions: Whether tables whose rows are kept for some days are divided by time, so that
            old rows are dropped and not deleted one by one. New tables are divided when they are
            created, others by ``argo-mw db migrate``. The user must own the tables.
    """

    max_connections: int = field(default=4, validator=validators.ge(2))
    timeout: float = field(default=30.0, validator=validators.gt(0))
    partitions: bool = False


DEFAULTS = PostgresOptions()
NO_DAYS: Mapping[str, float] = {}


class PostgresSink:
    """A sink that keeps rows in a PostgreSQL database, directly or through a pooler.

    Args:
        url: A connection URI, as libpq reads it.
        options: How PostgreSQL is used.
        days: For how many days rows are kept, by table; decides the width of partitions.
        now: Seconds since the epoch.
    """

    dialect: Dialect = "postgresql"

    def __init__(
        self,
        url: str,
        options: PostgresOptions = DEFAULTS,
        *,
        days: Mapping[str, float] = NO_DAYS,
        now: Callable[[], float] = time.time,
    ) -> None:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["local"])[0]
        self.place = f"postgresql database {parts.path.lstrip('/') or 'default'} at {host}"
        self._url = url
        self._options = options
        self._days = days
        self._now = now
        self._pool: asyncpg.Pool | None = None
        self._pooled = False
        self._schema = OWN_SCHEMA

    @property
    def connections(self) -> Connections | None:
        """How connections are used, or ``None`` while it is closed."""
        pool = self._pool
        if pool is None:
            return None
        idle = pool.get_idle_size()
        return Connections(pool.get_size() - idle, idle, self._options.max_connections)

    async def open(self, schema: Schema, *, migrate: bool = True) -> None:
        self._schema = schema
        with self._translated():
            self._pooled = await is_pooled(self._url, self._options.timeout)
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._options.max_connections,
                timeout=self._options.timeout,
                command_timeout=self._options.timeout,
                init=_prepare,
                **(borrowed() if self._pooled else direct()),
            )
        try:
            async with self._connection() as connection, connection.transaction():
                await self._migrate(connection, migrate)
        except BaseException:
            # Terminated, since closing would wait for a server that may not answer.
            pool, self._pool = self._pool, None
            pool.terminate()
            raise

    async def write(self, rows: Sequence[Row]) -> str:
        async with self._connection() as connection:
            groups = {self._schema[name]: cells for name, cells in by_table(rows).items()}
            own = not any(map(_may_be_there, rows))
            for _ in range(_DIVISIONS):
                try:
                    await self._write(connection, groups, own=own)
                    return "sink"
                except asyncpg.CheckViolationError as error:
                    # A row without an identifier fits no partition, so making some does not help.
                    if not lacks_partition(error) or not all(map(_has_identifier, rows)):
                        raise
                for table, cells in groups.items():
                    identifiers = [cast("bytes", row[0]) for row in cells]
                    await make_room(connection, table, identifiers, self._slots(table))
        msg = f"{self.place}: partitions are dropped as fast as they are made; is the clock right?"
        raise SinkUnavailable(msg)

    async def _write(
        self, connection: Connection, groups: dict[Table, list[Cells]], *, own: bool
    ) -> None:
        if own:
            try:
                async with self._committed(connection, alone=len(groups) == 1):
                    await _copy(connection, groups)
                return
            except asyncpg.UniqueViolationError:
                pass
        async with self._committed(connection):
            await _insert(connection, groups)

    async def read(self, query: Query) -> Sequence[Cells]:
        async with self._connection() as connection:
            records = await connection.fetch(_numbered(query.sql), *query.parameters)
        return [tuple(record) for record in records]

    async def change(self, query: Query) -> int:
        async with self._connection() as connection, self._committed(connection, alone=True):
            status = await connection.execute(_numbered(query.sql), *query.parameters)
        # "UPDATE 1", but only "ANALYZE" from statements that change no rows.
        changed = status.rpartition(" ")[2]
        return int(changed) if changed.isdigit() else 0

    async def check(self) -> Sequence[str]:
        broken = await self.read(
            Query("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
        )
        return [f"index {row[0]!s} is not valid; REINDEX it" for row in broken]

    async def backup(self, to: Path) -> None:
        msg = f"{self.place} is backed up by its own tools; use pg_dump"
        raise PersistError(msg)

    async def now(self) -> float:
        """Return the server's time, in seconds since the epoch."""
        [(seconds,)] = await self.read(Query("SELECT extract(epoch FROM clock_timestamp())"))
        return float(str(seconds))

    async def partitions(self, table: Table) -> Sequence[Partition] | None:
        """Return the partitions of *table*, the oldest first, or ``None`` if it is not divided."""
        async with self._connection() as connection:
            found = await divided(connection, table)
        return None if found is None else found.partitions

    async def extend(self, table: Table) -> None:
        """Make the partitions into which rows of *table* will soon go."""
        async with self._connection() as connection:
            await make_room(connection, table, (), self._slots(table))

    async def drop(self, table: Table, partition: Partition) -> Sequence[Cells] | None:
        """Drop *partition* of *table* with its rows; return ``None`` if it is in use."""
        async with self._unhurried() as connection:
            return await drop(connection, table, partition)

    async def divide(self) -> Sequence[str]:
        """Divide the tables that should be divided; return one line for each.

        A table cannot be used while it is divided. If the process dies, it stays as it was.
        """
        done: list[str] = []
        async with self._unhurried() as connection:
            for table in self._divisible():
                try:
                    if await divide(connection, table, self._slots(table)):
                        done.append(f"{table.name} is divided into partitions")
                except SchemaError as error:
                    done.append(f"{table.name} is not divided: {error}")
        return done

    async def aclose(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(self._options.timeout):
                await pool.close()
        except _AWAY:
            pool.terminate()

    async def _migrate(self, connection: Connection, migrate: bool) -> None:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        names = [VERSION_TABLE, *(table.name for table in self._schema)]
        found = await connection.fetch(
            "SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL", names
        )
        existing = {str(name) for (name,) in found}
        versions: dict[str, int] | None = None
        if VERSION_TABLE in existing:
            rows = await connection.fetch(READ_VERSIONS)
            versions = {str(name): int(str(version)) for name, version in rows}
        for statement in self._schema.pending(
            "postgresql", versions, existing, migrate=migrate, where=self.place
        ):
            await connection.execute(statement)
        for table in self._divisible():
            if table.name not in existing:
                # A table that cannot be divided stays in use as it is.
                with contextlib.suppress(SchemaError):
                    await divide(connection, table, self._slots(table))

    def _divisible(self) -> Iterator[Table]:
        if self._options.partitions:
            yield from (table for table in self._schema if table.name in self._days)

    def _slots(self, table: Table) -> Slots:
        return Slots.of(table.name, self._days, self._now())

    @contextlib.asynccontextmanager
    async def _committed(
        self, connection: Connection, *, alone: bool = False
    ) -> AsyncIterator[None]:
        """Commit the block to disk; a statement *alone* needs no transaction of its own."""
        if alone and not self._pooled:
            yield
            return
        async with connection.transaction():
            if self._pooled:
                await connection.execute(f"SET LOCAL {DURABLE} = on")
            yield

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        if self._pool is None:
            msg = f"{self.place} is not open"
            raise SinkUnavailable(msg)
        with self._translated():
            async with self._pool.acquire(timeout=self._options.timeout) as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def _unhurried(self) -> AsyncIterator[Connection]:
        """Open a connection of its own, for statements that take long."""
        with self._translated():
            connection = await asyncpg.connect(
                self._url,
                timeout=self._options.timeout,
                command_timeout=_LONG,
                **(borrowed() if self._pooled else direct()),
            )
            try:
                await _prepare(connection)
                yield connection
            except BaseException:
                connection.terminate()
                raise
            await connection.close(timeout=self._options.timeout)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (
            asyncpg.DataError,
            asyncpg.IntegrityConstraintViolationError,
            # A cell that is too long for an index.
            asyncpg.ProgramLimitExceededError,
            # A cell that is not of its column's type, when COPY encodes it.
            TypeError,
            OverflowError,
            UnicodeEncodeError,
        ) as error:
            msg = f"{self.place} refuses: {error}"
            raise RowsRefused(msg) from error
        except _AWAY as error:
            msg = f"{self.place}: {error or type(error).__name__}"
            raise SinkUnavailable(msg) from error


async def _prepare(connection: Connection) -> None:
    # Identifiers are 16 bytes everywhere; making uuid objects of them would be wasted work.
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
    )


async def _copy(connection: Connection, groups: dict[Table, list[Cells]]) -> None:
    for table, cells in groups.items():
        await connection.copy_records_to_table(table.name, records=cells, columns=table.names)


async def _insert(connection: Connection, groups: dict[Table, list[Cells]]) -> None:
    for table, cells in groups.items():
        # Sorted, so that two instances that write the same rows lock them in one order and do not
        # deadlock.
        ordered = sorted(cells, key=itemgetter(0))
        await connection.execute(_insert_missing(table), *_columns(ordered))


def _may_be_there(row: Row) -> bool:
    identifier = row.cells[0]
    return isinstance(identifier, bytes) and TimeOrderedIds.is_derived(identifier)


def _has_identifier(row: Row) -> bool:
    return isinstance(row.cells[0], bytes)


def _columns(rows: Sequence[Cells]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


@cache
def _insert_missing(table: Table) -> str:
    types = TYPES["postgresql"]
    kinds = enumerate(table.columns.values(), 1)
    arrays = ", ".join(f"${place}::{types[kind]}[]" for place, kind in kinds)
    return (
        f"INSERT INTO {table.name} ({', '.join(table.names)}) "
        f"SELECT * FROM unnest({arrays}) ON CONFLICT (id) DO NOTHING"
    )


@lru_cache(maxsize=256)
def _numbered(sql: str) -> str:
    first, *rest = sql.split("?")
    return first + "".join(f"${i}{part}" for i, part in enumerate(rest, 1))
