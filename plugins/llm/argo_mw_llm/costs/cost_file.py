"""A table of costs in a SQLite file, used if no other plugin brings a table.

Rows are written in batches by a thread; the event loop never waits for the disk.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import cast

from attrs import fields

from argo_mw.plugin import Charge, ChargeStatus, Cost, CostTotals, Tasks
from argo_mw.store import SqliteIdentity

COSTS = "llm-costs.db"
"""The file's name in the state directory."""

_LINGER = 0.2
_RETRY_DELAY = 1.0
_MAX_WAITING = 100_000
_TIMEOUT = 10.0
_LAST_TIMEOUT = 0.25
"""Seconds to wait for another program that writes, when the event loop waits too."""
_DAY = 86_400

_COLUMNS = (
    "at",
    "tenant",
    "operation",
    "subject",
    "upstream",
    "status",
    "latency",
    "layer",
    "usd",
    "tokens_in",
    "tokens_out",
    "requests",
    "estimated",
    "model",
    "tokens_cached",
    "tokens_written",
    "tokens_expected",
)
_COST = {f.name for f in fields(Cost)}
_row = attrgetter(*(f"cost.{name}" if name in _COST else name for name in _COLUMNS))
_CREATE = f"""CREATE TABLE IF NOT EXISTS charges ({", ".join(_COLUMNS)});
CREATE INDEX IF NOT EXISTS charges_by_time ON charges (at);
CREATE TABLE IF NOT EXISTS identity (name);
INSERT INTO identity SELECT lower(hex(randomblob(8))) WHERE NOT EXISTS (SELECT 1 FROM identity)"""  # noqa: S608
_TOTALS = """SELECT date(at, 'unixepoch'), tenant, operation, subject, upstream, model, layer,
    count(*), sum(status NOT IN ('ok', 'saved')), sum(estimated), sum(usd IS NULL),
    total(requests), sum(tokens_in), sum(tokens_cached), sum(tokens_out), total(usd),
    total(latency), total(error), count(error)
FROM (SELECT *, CASE WHEN layer = '' AND status = 'ok' AND NOT estimated AND tokens_in > 0
        AND tokens_expected > 0
        THEN abs(tokens_expected - tokens_in) * 1.0 / tokens_in END AS error FROM charges)
WHERE at >= ? GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1"""
_ROW = f"({', '.join('?' * len(_COLUMNS))})"
_ROWS = 50  # in a statement: every SQLite takes 999 values


class CostFile:
    """Keeps charges in a file; several processes may write to one.

    Args:
        path: The file, which is created for its owner only.
        tasks: The owner of background tasks.
        warn: Called with one line when rows cannot be written; they are kept and tried again.
    """

    stand_in = True

    def __init__(self, path: Path, tasks: Tasks, warn: Callable[[str], None]) -> None:
        self._path = path
        self._file = _File(path)
        self._tasks = tasks
        self._warn = warn
        self._waiting: list[Charge] = []
        self._writing: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._closed = False

    def record(self, charge: Charge) -> None:
        """Write *charge* soon; if the file is closed, at once.

        Raises:
            BufferError: Too many charges wait for a file that cannot be written.
            OSError: The file is closed and cannot be written.
            sqlite3.Error: The same.
        """
        if self._closed:
            self._file.write([charge], timeout=_LAST_TIMEOUT)
            return
        if len(self._waiting) >= _MAX_WAITING:
            msg = f"{_MAX_WAITING} charges wait for {self._path}, which cannot be written"
            raise BufferError(msg)
        self._waiting.append(charge)
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.spawn("llm:costs", self._write_soon())

    async def totals(self, since: float) -> Sequence[CostTotals]:
        """Return the recorded totals from the UTC day of *since* on."""
        await self.flush()
        return await asyncio.to_thread(_totals, self._path, since)

    async def identity(self) -> str:
        """Return the random name that the file got when it was created; "" if it is empty."""
        await self.flush()
        return await asyncio.to_thread(_identity, self._path)

    async def flush(self) -> None:
        """Write what is waiting, and return once everything is written."""
        await asyncio.shield(self._tasks.finish("llm:costs:flush", self._write_waiting()))

    async def aclose(self) -> None:
        """Write what is waiting; later charges, of cancelled calls, are written at once."""
        self._closed = True
        await self.flush()
        if self._waiting:
            try:
                self._file.write(self._waiting, timeout=_LAST_TIMEOUT)
            except (OSError, sqlite3.Error) as error:
                self._warn(f"{len(self._waiting)} charges for {self._path} are lost: {error}")
        self._file.close()

    async def _write_waiting(self) -> None:
        async with self._one_at_a_time:
            batch, self._waiting = self._waiting, []
            if not batch:
                return
            try:
                await asyncio.to_thread(self._file.write, batch)
            except (OSError, sqlite3.Error) as error:
                self._waiting = batch + self._waiting
                self._warn(f"{self._path} cannot be written, so charges wait: {error}")

    async def _write_soon(self) -> None:
        await asyncio.sleep(_LINGER)
        await self.flush()
        if self._waiting:
            self._tasks.spawn("llm:costs:again", self._write_again())

    async def _write_again(self) -> None:
        await asyncio.sleep(_RETRY_DELAY)
        await self.flush()


def read(path: Path, since: float = 0.0) -> list[Charge]:
    """Return the charges in the file *path* from *since* on, in seconds since the epoch."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=_TIMEOUT)) as connection:
        rows = connection.execute("SELECT * FROM charges WHERE at >= ? ORDER BY at", (since,))
        return [_charge(row) for row in rows]


def _totals(path: Path, since: float) -> list[CostTotals]:
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=_TIMEOUT)) as connection:
        connection.executescript(_CREATE)
        rows = connection.execute(_TOTALS, (since // _DAY * _DAY,))
        return [CostTotals(*row) for row in rows]


def _identity(path: Path) -> str:
    if not path.exists():
        return ""
    with closing(sqlite3.connect(path, timeout=_TIMEOUT)) as connection:
        connection.executescript(_CREATE)
        return str(connection.execute("SELECT name FROM identity").fetchone()[0])


class _File:
    """The file, kept open after the first write: opening it takes as long as writing 150 rows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = SqliteIdentity(path.absolute())
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._closed = False

    def write(self, charges: Sequence[Charge], *, timeout: float = _TIMEOUT) -> None:
        """Add *charges*, all or none of them, to the file at the path.

        Args:
            charges: The charges.
            timeout: Seconds to wait for another program that writes, if the file is not open.
        """
        with self._lock:
            try:
                while not self._written(charges, timeout):
                    self._close()
            except BaseException:
                self._close()
                raise
            finally:
                if self._closed:
                    self._close()

    def _written(self, charges: Sequence[Charge], timeout: float) -> bool:
        """Add *charges*; return false if the file was removed or replaced meanwhile."""
        if self._connection is None:
            self._connection = _open(self._path, timeout)
            self._identity.remember()
        with self._connection:
            _insert(self._connection, charges)
        if self._identity.holds():
            return True
        if not self._identity.database_holds():
            return False
        # Only its log was removed: closing copies the log's contents into the database.
        self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        self._close()
        return True

    def close(self) -> None:
        """Close the file; later writes open and close it."""
        with self._lock:
            self._closed = True
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _insert(connection: sqlite3.Connection, charges: Sequence[Charge]) -> None:
    # Each statement releases and takes the interpreter lock, which slows the event loop, so a
    # statement has many rows.
    for start in range(0, len(charges), _ROWS):
        rows = charges[start : start + _ROWS]
        statement = f"INSERT INTO charges VALUES {', '.join([_ROW] * len(rows))}"  # noqa: S608
        connection.execute(statement, [*chain.from_iterable(map(_row, rows))])


def _charge(row: Sequence[object]) -> Charge:
    at, tenant, operation, subject, upstream, status, latency, layer = row[:8]
    usd, tokens_in, tokens_out, requests, estimated, *more = row[8:]
    cost = Cost(
        cast("float | None", usd),
        cast(int, tokens_in),
        cast(int, tokens_out),
        cast(float, requests),
        bool(estimated),
        *cast("tuple[str, int, int, int]", more),
    )
    return Charge(
        cast(float, at),
        str(tenant),
        str(operation),
        str(subject),
        str(upstream),
        cast("ChargeStatus", status),
        cost,
        cast(float, latency),
        str(layer),
    )


def _open(path: Path, timeout: float) -> sqlite3.Connection:
    # Exclusively, for a new file only: closing one in use drops SQLite's locks on it.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, timeout=timeout, check_same_thread=False)
    try:
        _set_up(connection, timeout)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: sqlite3.Connection, timeout: float) -> None:
    # SQLite's own timeout covers neither concurrent set-ups nor the last connection's close.
    deadline = time.monotonic() + timeout
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
