"""The PostgreSQL sink: asyncpg, and COPY straight into the tables.

COPY has no ON CONFLICT. Identifiers are made once per record, so a conflict means that a batch
is repeated: then the batch goes in by INSERT … ON CONFLICT DO NOTHING. So does a batch with rows
that other instances may have written too, whose identifiers are derived from what they hold.
docs/decisions holds the measurements.
"""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache, lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import asyncpg  # type: ignore[import-untyped]
from attrs import field, frozen, validators

from argo_mw.plugin import Cell, Row, TimeOrderedIds
from argo_mw_persist.errors import PersistError, RowsRefused, SinkUnavailable
from argo_mw_persist.pooler import DURABLE, borrowed, direct, is_pooled
from argo_mw_persist.schema import OWN_SCHEMA, READ_VERSIONS, VERSION_TABLE, Schema
from argo_mw_persist.sink import Connections, Query
from argo_mw_persist.tables import TYPES, Cells, Dialect, Table, by_table

_AWAY = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # What a connection that dies in the midst of a COPY leaves behind.
    asyncpg.InternalClientError,
    OSError,
)
_MIGRATION_LOCK = 0x6172676F  # "argo"; any number that all of our processes share


class Connection(Protocol):
    """What is used of asyncpg's connections."""

    async def execute(self, query: str, *arguments: object) -> str: ...

    async def fetch(self, query: str, *arguments: object) -> Sequence[Sequence[Cell]]: ...

    async def fetchval(self, query: str, *arguments: object) -> object: ...

    async def copy_records_to_table(
        self, name: str, *, records: Sequence[Cells], columns: Sequence[str]
    ) -> str: ...

    async def set_type_codec(
        self,
        name: str,
        *,
        schema: str,
        encoder: Callable[[bytes], bytes],
        decoder: Callable[[bytes], bytes],
        format: str,  # noqa: A002 - asyncpg's own name
    ) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...


@frozen
class PostgresOptions:
    """The use of PostgreSQL.

    Attributes:
        max_connections: The most connections, of which at most two write at any time.
        timeout: Seconds for one statement, and for connecting.
    """

    max_connections: int = field(default=4, validator=validators.ge(2))
    timeout: float = field(default=30.0, validator=validators.gt(0))


DEFAULTS = PostgresOptions()


class PostgresSink:
    """A sink that keeps rows in a PostgreSQL database, directly or through a pooler.

    Args:
        url: A connection URI, as libpq reads it.
        options: How PostgreSQL is used.
    """

    dialect: Dialect = "postgresql"

    def __init__(self, url: str, options: PostgresOptions = DEFAULTS) -> None:
        parts = urlsplit(url)
        host = parts.hostname or parse_qs(parts.query).get("host", ["local"])[0]
        self.place = f"postgresql database {parts.path.lstrip('/') or 'default'} at {host}"
        self._url = url
        self._options = options
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
            # Not closed, which would wait for a server that may have stopped to answer.
            pool, self._pool = self._pool, None
            pool.terminate()
            raise

    async def write(self, rows: Sequence[Row]) -> str:
        async with self._connection() as connection:
            groups = {self._schema[name]: cells for name, cells in by_table(rows).items()}
            if not any(map(_may_be_there, rows)):
                try:
                    async with self._committed(connection, alone=len(groups) == 1):
                        await _copy(connection, groups)
                    return "sink"
                except asyncpg.UniqueViolationError:
                    pass
            async with self._committed(connection):
                await _insert(connection, groups)
        return "sink"

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
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
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

    @contextlib.asynccontextmanager
    async def _committed(
        self, connection: Connection, *, alone: bool = False
    ) -> AsyncIterator[None]:
        """Commit to disk what the block changes; a statement *alone* is a transaction already."""
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
    # Identifiers are 16 bytes everywhere; uuid objects would be made only to be taken apart.
    await connection.set_type_codec(
        "uuid", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary"
    )


async def _copy(connection: Connection, groups: dict[Table, list[Cells]]) -> None:
    for table, cells in groups.items():
        await connection.copy_records_to_table(table.name, records=cells, columns=table.names)


async def _insert(connection: Connection, groups: dict[Table, list[Cells]]) -> None:
    for table, cells in groups.items():
        # In one order everywhere: two instances that write the same rows wait for each other, and
        # must not do so in a circle.
        ordered = sorted(cells, key=itemgetter(0))
        await connection.execute(_insert_missing(table), *_columns(ordered))


def _may_be_there(row: Row) -> bool:
    identifier = row.cells[0]
    return isinstance(identifier, bytes) and TimeOrderedIds.is_derived(identifier)


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
