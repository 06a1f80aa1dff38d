"""The SQLite sink: one writer thread, a few readers, never on the event loop.

A batch is one ``BEGIN IMMEDIATE`` transaction of statements with many rows each. SQLite releases
the interpreter lock once per statement, so beside a busy event loop a batch waits for it a few
times instead of once per row. The statements have powers of two of rows: any batch consists of a
few of them, which stay prepared. See docs/decisions for measurements.
"""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from attrs import field, frozen, validators

from argo_mw.plugin import Cell, Row
from argo_mw_persist.errors import PersistError, RowsRefused, SinkUnavailable
from argo_mw_persist.schema import OWN_SCHEMA, READ_VERSIONS, VERSION_TABLE, Schema
from argo_mw_persist.sink import Query
from argo_mw_persist.sqlite_connection import FollowingConnection
from argo_mw_persist.sqlite_newest import NewestEntries, entries_of
from argo_mw_persist.sqlite_newest_reads import NewestReads
from argo_mw_persist.tables import Cells, Dialect, Table, by_table

T = TypeVar("T")

_MAX_ROWS = 2048
# The limit of parameters in some builds of SQLite.
_MAX_VALUES = 32_766
_REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
_LOCKED = ("database is locked", "database table is locked")
_REPLACEMENTS = 5
"""How often the file may be replaced during one write."""


@frozen
class SqliteOptions:
    """How SQLite is used.

    Attributes:
        synchronous: ``FULL``: an acknowledged row survives a power cut. ``NORMAL``: it survives
            the end of the process, even by ``kill -9``; a power cut may take the last commits.
        readers: Read-only connections, each with a thread of its own.
        busy_timeout: Seconds to wait for another process that writes.
        checkpoint_pages: Pages in the write-ahead log after which a commit also copies it into
            the database. A page is 4 KiB.
        max_bytes: The largest size of the database, or ``None``.
    """

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    readers: int = field(default=2, validator=validators.ge(1))
    busy_timeout: float = field(default=5.0, validator=validators.ge(0))
    checkpoint_pages: int = field(default=16_000, validator=validators.ge(1))
    max_bytes: int | None = None


DEFAULTS = SqliteOptions()
MAX_HELD = 20_000
"""The number of newest rows that are held in memory by default."""


class SqliteSink:
    """A sink that keeps rows in one SQLite file.

    If the file is removed or replaced while it is open, later rows are written to the file that is
    at the path. Rows of the removed file are lost unless the sink *rescues* them.

    Args:
        path: The file; it and its directory are created if missing, for this user only.
        options: How SQLite is used.
        rescues: Whether the rows of a file that was removed or replaced are written again.
        held: How many newest rows are held in memory at most.
    """

    dialect: Dialect = "sqlite"

    def __init__(
        self,
        path: Path,
        options: SqliteOptions = DEFAULTS,
        *,
        rescues: bool = False,
        held: int = MAX_HELD,
    ) -> None:
        self.path = path.absolute()  # right even if the program changes its directory
        self.place = f"sqlite file {path}"
        self._options = options
        self._writing: ThreadPoolExecutor | None = None
        self._reading: ThreadPoolExecutor | None = None
        self._rescues = rescues
        self._held = held
        self._rescued: list[Row] = []
        self._migrate = True
        self._writer = FollowingConnection(
            self.path, self._connect_writer, writes=True, on_leaving=self._rescue
        )
        self._local = threading.local()
        self._readers: list[FollowingConnection] = []
        self._schema = OWN_SCHEMA
        self._entries: dict[str, NewestEntries] = {}
        self._newest: dict[str, NewestReads] = {}
        self._opened = 0
        self._counting = threading.Lock()
        self._catching_up = False

    @classmethod
    def from_url(
        cls, url: str, options: SqliteOptions = DEFAULTS, *, held: int = MAX_HELD
    ) -> SqliteSink:
        """Return the sink at *url*, ``sqlite:///relative`` or ``sqlite:////absolute``.

        Args:
            url: The URL; ``~`` in its path is the user's home.
            options: How SQLite is used.
            held: How many newest rows are held in memory at most.
        """
        return cls(Path(unquote(urlsplit(url).path[1:])).expanduser(), options, held=held)

    async def open(self, schema: Schema, *, migrate: bool = True) -> None:
        self._schema, self._migrate = schema, migrate
        # The readers of a spool are never used.
        self._entries = {} if self._rescues else entries_of(schema)
        most = self._held // max(len(self._entries), 1)
        self._newest = {name: NewestReads(one, most) for name, one in self._entries.items()}
        self._writing = ThreadPoolExecutor(1, "argo-mw-persist-writer")
        self._reading = ThreadPoolExecutor(self._options.readers, "argo-mw-persist-reader")
        try:
            await self._in(self._writing, self._open)
        except BaseException:
            await self.aclose()
            raise

    async def write(self, rows: Sequence[Row]) -> str:
        await self._in(self._writing, lambda: self._write(rows))
        return "sink"

    async def read(self, query: Query) -> Sequence[Cells]:
        return await self._in(self._reading, lambda: self.select(query))

    async def change(self, query: Query) -> int:
        return await self._in(self._writing, lambda: self._change(query))

    async def newest(
        self, table: Table, subjects: Collection[str], tenant: str
    ) -> Mapping[str, object]:
        """Return what *table* makes of the newest row of each of *subjects*; see `KeepsNewest`.

        If many rows came since the last entries were made, the writer's thread makes new ones.

        Args:
            table: A table that declares ``newest``.
            subjects: The subjects, each once.
            tenant: The tenant that asks.
        """
        reads = self._newest[table.name]
        found, late = await self._in(
            self._reading, lambda: self._read_newest(reads, subjects, tenant)
        )
        if late:
            self._catch_up_later()
        return found

    async def check(self) -> Sequence[str]:
        found = await self.read(Query("PRAGMA integrity_check"))
        return [str(line) for (line,) in found if line != "ok"]

    async def backup(self, to: Path) -> None:
        await self._in(self._reading, lambda: self._backup(to))

    async def aclose(self) -> None:
        writing, self._writing = self._writing, None
        reading, self._reading = self._reading, None
        loop = asyncio.get_running_loop()
        if reading is not None:
            await loop.run_in_executor(None, reading.shutdown)
            for reader in self._readers:
                reader.close()
            self._readers.clear()
            self._local = threading.local()
        if writing is not None:
            with contextlib.suppress(sqlite3.Error, SinkUnavailable):
                await loop.run_in_executor(writing, self._close)
            await loop.run_in_executor(None, writing.shutdown)

    async def _in(self, pool: ThreadPoolExecutor | None, work: Callable[[], T]) -> T:
        if pool is None:
            msg = f"{self.place} is not open"
            raise SinkUnavailable(msg)
        return await asyncio.get_running_loop().run_in_executor(pool, work)

    # All methods below run in the writer's or a reader's thread.

    def _open(self) -> None:
        with self._translated(), self._writer.use():
            pass

    def _connect_writer(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Created here, so that SQLite never makes it readable for others. Only if it is missing:
        # closing a descriptor of a file in use drops this process's locks on it
        # (sqlite.org/howtocorrupt.html, 2.2).
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        connection = self._connect("rw")
        try:
            self._enter_wal(connection)
            connection.execute(f"PRAGMA synchronous={self._options.synchronous}")
            connection.execute(f"PRAGMA wal_autocheckpoint={self._options.checkpoint_pages}")
            connection.execute(f"PRAGMA journal_size_limit={4096 * self._options.checkpoint_pages}")
            if self._options.max_bytes is not None:
                connection.execute(f"PRAGMA max_page_count={self._options.max_bytes // 4096}")
            rescued = _inserts(self._rescued, self._schema)
            with self._transaction(connection):
                self._create_tables(connection)
                for entries in self._entries.values():
                    entries.create(connection)
                for insert in rescued:
                    connection.execute(*insert)
        except BaseException:
            connection.close()
            raise
        self._rescued.clear()
        return connection

    def _connect_reader(self) -> sqlite3.Connection:
        connection = self._connect("ro")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        return connection

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        # If two processes switch at once, one gets "locked" whatever the timeout; it looks again
        # and finds the switch made.
        for _ in range(100):
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                return
            except sqlite3.OperationalError as error:
                if str(error) not in _LOCKED:
                    raise
                with contextlib.suppress(sqlite3.OperationalError), self._transaction(connection):
                    pass
        connection.execute("PRAGMA journal_mode=WAL")

    def _create_tables(self, connection: sqlite3.Connection) -> None:
        existing = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema")}
        versions: dict[str, int] | None = None
        if VERSION_TABLE in existing:
            versions = dict(connection.execute(READ_VERSIONS).fetchall())
        for statement in self._schema.pending(
            "sqlite", versions, existing, migrate=self._migrate, where=self.place
        ):
            connection.execute(statement)

    def _connect(self, mode: str) -> sqlite3.Connection:
        with self._counting:
            self._opened += 1
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self._options.busy_timeout,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=128,
        )

    def _write(self, rows: Sequence[Row]) -> None:
        """Write *rows*; repeat if another file is at the path by the time of the commit."""
        inserts = _inserts(rows, self._schema)
        with self._translated():
            for _ in range(_REPLACEMENTS):
                with self._writer.use() as connection:
                    self._insert(connection, inserts)
                if not self._writer.follow():
                    return
        msg = f"{self.place} is replaced again and again"
        raise SinkUnavailable(msg)

    def _insert(
        self, connection: sqlite3.Connection, inserts: Sequence[tuple[str, list[Cell]]]
    ) -> None:
        if len(inserts) == 1:
            # A single statement is a transaction that locks as IMMEDIATE does. Without BEGIN and
            # COMMIT there are two waits for the interpreter lock fewer.
            connection.execute(*inserts[0])
            return
        with self._transaction(connection):
            for insert in inserts:
                connection.execute(*insert)

    def _catch_up_later(self) -> None:
        """Make entries of the rows that have none yet, when the writer's thread has time."""
        writing = self._writing
        if writing is not None and not self._catching_up:
            self._catching_up = True
            writing.submit(self._catch_up)

    def _catch_up(self) -> None:
        self._catching_up = False
        if self._writing is None:
            return
        # The next read tries again, and asks the table until then.
        with contextlib.suppress(sqlite3.Error, SinkUnavailable, OSError):
            with self._writer.use() as connection:
                behind = [one for one in self._entries.values() if one.behind(connection)]
                if not behind:
                    return
                with self._transaction(connection):
                    more = [one.catch_up(connection) for one in behind]
            if any(more):
                self._catch_up_later()

    def _rescue(self, connection: sqlite3.Connection) -> None:
        """Remember the rows of a file that is no longer at the path."""
        if self._rescues:
            for table in self._schema:
                found = connection.execute(f"SELECT {', '.join(table.names)} FROM {table.name}")
                self._rescued += [table.restored(cells) for cells in found]

    def _change(self, query: Query) -> int:
        with self._translated():
            self._writer.follow()
            with self._writer.use() as connection, self._transaction(connection):
                return connection.execute(query.sql, query.parameters).rowcount

    def select(self, query: Query) -> list[Cells]:
        """Return what *query* finds, read in the calling thread over its own connection."""
        with self._translated(), self._reader.use() as connection:
            return connection.execute(query.sql, query.parameters).fetchall()

    def _read_newest(
        self, reads: NewestReads, subjects: Collection[str], tenant: str
    ) -> tuple[Mapping[str, object], bool]:
        with self._translated(), self._reader.use() as connection:
            # While the connection is in use, it is not reopened on another file.
            return reads.read(connection, self._opened, subjects, tenant)

    def _backup(self, to: Path) -> None:
        try:
            os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            msg = f"{to} exists; a backup overwrites nothing, name a new file"
            raise PersistError(msg) from None
        except OSError as error:
            msg = f"{to} cannot be written ({error.strerror}); name a file in a directory of yours"
            raise PersistError(msg) from error
        try:
            with (
                self._translated(),
                contextlib.closing(sqlite3.connect(to)) as copy,
                self._reader.use() as connection,
            ):
                # In one step, of one snapshot: between two steps a commit would begin it anew, and
                # beside a busy writer it would never end. In WAL a reader holds up no writer.
                connection.backup(copy)
        except BaseException:
            # Half a copy must not be taken for a backup.
            to.unlink(missing_ok=True)
            raise

    def _close(self) -> None:
        if self._writer.follow() and self._rescued:
            self._open()
        self._writer.close()

    @property
    def _reader(self) -> FollowingConnection:
        reader: FollowingConnection | None = getattr(self._local, "connection", None)
        if reader is None:
            reader = FollowingConnection(self.path, self._connect_reader, writes=False)
            self._local.connection = reader
            self._readers.append(reader)
        # The writer's connection is opened first, since a reader cannot create the file.
        if self._writer.follow() or not self._writer.is_open:
            self._open()
        reader.follow()
        return reader

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        # IMMEDIATE, since a read that turns into a write may be refused, whatever the timeout.
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _REFUSED as error:
            msg = f"{self.place} refuses: {error}"
            raise RowsRefused(msg) from error
        except (sqlite3.Error, OSError) as error:
            msg = f"{self.place}: {error}{_advice(error)}"
            raise SinkUnavailable(msg) from error


def _advice(error: Exception) -> str:
    text = str(error)
    if "full" in text or "No space" in text:
        return "; free some space"
    return "; another process holds it" if text in _LOCKED else ""


def _inserts(rows: Sequence[Row], schema: Schema) -> list[tuple[str, list[Cell]]]:
    """Return the statements that insert *rows*, with the parameters of each."""
    inserts: list[tuple[str, list[Cell]]] = []
    for name, cells in by_table(rows).items():
        table = schema[name]
        size = _max_rows(table)
        start = 0
        while start < len(cells):
            while size > len(cells) - start:
                size //= 2
            part = cells[start : start + size]
            inserts.append((_insert_statement(table, size), list(chain.from_iterable(part))))
            start += size
    return inserts


@cache
def _max_rows(table: Table) -> int:
    """Return the number of rows of the largest statement, a power of two."""
    rows = min(_MAX_ROWS, _MAX_VALUES // len(table.names))
    return 1 << (rows.bit_length() - 1)


@cache
def _insert_statement(table: Table, rows: int) -> str:
    one = f"({', '.join('?' * len(table.names))})"
    return (
        f"INSERT INTO {table.name} ({', '.join(table.names)}) VALUES {', '.join([one] * rows)} "
        "ON CONFLICT (id) DO NOTHING"
    )
