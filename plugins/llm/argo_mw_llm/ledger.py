"""The ledger: every upstream call and every saving, in one SQLite file.

Rows are written in batches by a thread; the loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing, suppress
from itertools import chain
from operator import attrgetter
from pathlib import Path

from attrs import fields, frozen

from argo_mw.plugin import Tasks

LEDGER = "llm-ledger.db"
"""The ledger's file in the state directory."""

_PAUSE = 0.2
_MAX_WAITING = 100_000
_BUSY = 10.0
_DAY = 86_400


@frozen
class Entry:
    """A row.

    Attributes:
        at: Seconds since the epoch.
        layer: Who saved it, or "" for an upstream call, which cost it.
        tenant: On whose behalf.
        operation: The operation.
        symbol: The subject, or "".
        upstream: The provider.
        model: The model.
        input: Prompt tokens at the full price.
        write_5m: Prompt tokens written to the cache for five minutes.
        write_1h: The same for an hour.
        read: Prompt tokens read from the cache.
        output: Tokens of the answer.
        expected: The prompt tokens that were expected before the call.
        usd: US dollars, or ``None`` when the price is not known.
        estimated: 1 if the tokens are an estimate, because no count came.
        status: ``ok``, ``failed``, ``cancelled``, ``aborted``, or ``saved``.
    """

    at: float
    layer: str
    tenant: str
    operation: str
    symbol: str
    upstream: str
    model: str
    input: int
    write_5m: int
    write_1h: int
    read: int
    output: int
    expected: int
    usd: float | None
    estimated: int
    status: str


@frozen
class Totals:
    """What the entries of one day, and of one of everything else, add up to.

    Attributes:
        day: The UTC day, as ``2026-11-23``.
        tenant: On whose behalf.
        operation: The operation.
        symbol: The subject, or "".
        model: The model.
        layer: Who saved it, or "" for upstream calls.
        calls: How many entries.
        estimated: How many of them are estimates.
        unknown: How many have no known price.
        input: Prompt tokens.
        output: Tokens of the answers.
        cached: Prompt tokens read from providers' caches.
        usd: US dollars.
        off: The relative errors of the prompts' estimates, added up.
        compared: How many there are.
    """

    day: str
    tenant: str
    operation: str
    symbol: str
    model: str
    layer: str
    calls: int
    estimated: int
    unknown: int
    input: int
    output: int
    cached: int
    usd: float
    off: float
    compared: int


_COLUMNS = [f.name for f in fields(Entry)]
_row = attrgetter(*_COLUMNS)
_CREATE = f"""CREATE TABLE IF NOT EXISTS entries ({", ".join(_COLUMNS)});
CREATE INDEX IF NOT EXISTS entries_at ON entries (at);
CREATE TABLE IF NOT EXISTS ledger (number);
INSERT INTO ledger SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM ledger)"""  # noqa: S608
_PROMPT = "(input + write_5m + write_1h + read)"
_TOTALS = f"""SELECT date(at, 'unixepoch'), tenant, operation, symbol, model, layer, count(*),
    sum(estimated), sum(usd IS NULL), sum({_PROMPT}), sum(output), sum(read), total(usd),
    total(off), count(off)
FROM (SELECT *, CASE WHEN layer = '' AND status = 'ok' AND NOT estimated AND {_PROMPT} > 0
        THEN abs(expected - {_PROMPT}) * 1.0 / {_PROMPT} END AS off FROM entries)
WHERE at >= ? GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1"""  # noqa: S608
_ROW = f"({', '.join('?' * len(_COLUMNS))})"
_ROWS = 50  # in a statement: 999 values are what every SQLite takes


class Ledger:
    """Writes entries; several processes may write to one file.

    Args:
        path: The file; made private when it is made.
        tasks: The owner of background tasks.
        complain: Told when rows cannot be written; they are kept and tried again.
        written: Awaited when rows have been written.
    """

    def __init__(
        self,
        path: Path,
        tasks: Tasks,
        complain: Callable[[str], None],
        written: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._path = path
        self._written = written
        self._file = _File(path)
        self._tasks = tasks
        self._complain = complain
        self._waiting: list[Entry] = []
        self._writing: asyncio.Task[None] | None = None
        self._closed = False

    def add(self, entry: Entry) -> None:
        """Write *entry* soon; at once when the ledger is closed, for nobody would later."""
        if self._closed:
            self._write_now([entry])
            return
        if len(self._waiting) >= _MAX_WAITING:
            self._complain(f"the ledger {self._path} cannot be written: an entry is lost")
            return
        self._waiting.append(entry)
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.spawn("llm:ledger", self._write_soon())

    async def flush(self) -> None:
        """Write what is waiting, now."""
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            await asyncio.shield(asyncio.to_thread(self._file.write, batch))
        except (OSError, sqlite3.Error) as error:
            self._waiting = batch + self._waiting
            self._complain(f"the ledger {self._path} cannot be written: {error}; it is kept")
        else:
            if self._written is not None:
                await self._written()

    async def aclose(self) -> None:
        """Write what is waiting. Calls that are cancelled by the shutdown are still written."""
        self._closed = True
        await self.flush()
        if self._waiting:
            self._write_now(self._waiting)
        self._file.close()

    def _write_now(self, entries: Sequence[Entry]) -> None:
        try:
            self._file.write(entries)
        except (OSError, sqlite3.Error) as error:
            self._complain(f"{len(entries)} entries of the ledger {self._path} are lost: {error}")

    async def _write_soon(self) -> None:
        await asyncio.sleep(_PAUSE)
        await self.flush()
        if self._waiting:
            self._tasks.spawn("llm:ledger:again", self._again())

    async def _again(self) -> None:
        await asyncio.sleep(1.0)
        await self.flush()


def read(path: Path, since: float = 0.0) -> list[Entry]:
    """The entries in the file *path* from *since* on, in seconds since the epoch."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=_BUSY)) as connection:
        rows = connection.execute("SELECT * FROM entries WHERE at >= ? ORDER BY at", (since,))
        return [Entry(*row) for row in rows]


def totals(path: Path, since: float) -> tuple[str, list[Totals]]:
    """The number of the ledger *path*, and its totals from the UTC day of *since* on."""
    if not path.exists():
        return "", []
    with closing(sqlite3.connect(path, timeout=_BUSY)) as connection:
        connection.executescript(_CREATE)
        (number,) = connection.execute("SELECT number FROM ledger").fetchone()
        return number, [
            Totals(*row) for row in connection.execute(_TOTALS, (since // _DAY * _DAY,))
        ]


class _File:
    """The file, open for writing from the first rows on: opening it takes as long as 150 rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._closed = False

    def write(self, entries: Sequence[Entry]) -> None:
        """Add *entries*, all or none of them."""
        with self._lock:
            if self._connection is not None and not self._path.exists():
                self._close()  # what is written to a deleted file is lost
            try:
                if self._connection is None:
                    self._connection = _open(self._path)
                with self._connection:
                    _insert(self._connection, entries)
            except BaseException:
                self._close()
                raise
            finally:
                if self._closed:
                    self._close()

    def close(self) -> None:
        """Keep the file open no longer; what is still written to it closes it again."""
        with self._lock:
            self._closed = True
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _insert(connection: sqlite3.Connection, entries: Sequence[Entry]) -> None:
    # Every statement hands the interpreter's lock over to the loop and takes it back, for which
    # the loop's thread pays: so many rows make one.
    for start in range(0, len(entries), _ROWS):
        rows = entries[start : start + _ROWS]
        statement = f"INSERT INTO entries VALUES {', '.join([_ROW] * len(rows))}"  # noqa: S608
        connection.execute(statement, [*chain.from_iterable(map(_row, rows))])


def _open(path: Path) -> sqlite3.Connection:
    # Only ever a new file is opened here: closing one that is in use gives up SQLite's locks.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY, check_same_thread=False)
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection) -> None:
    # Neither waits for others that do the same, or that are the last to close.
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.executescript(_CREATE)
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return
