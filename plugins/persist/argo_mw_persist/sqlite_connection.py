"""A connection to a SQLite file that follows the path when its files are removed or replaced."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from argo_mw.plugin import Log
from argo_mw.store import SqliteIdentity

log = Log("argo_mw_persist")

_FOLLOWING = threading.Lock()
_OPEN: set[FollowingConnection] = set()
"""The connections of this process. Those on one database share SQLite's index of the log, so all of
them must be closed before one can see a new index."""


class FollowingConnection:
    """A connection that is opened when it is used, and reopened if its files are gone.

    Args:
        path: The database.
        connect: Opens a connection, and reads from the database once.
        writes: Whether the connection can write.
        on_leaving: Called with the old connection, if it can write, before it is closed because
            another database, or none, is at the path.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], sqlite3.Connection],
        *,
        writes: bool,
        on_leaving: Callable[[sqlite3.Connection], None] = lambda _: None,
    ) -> None:
        self._path = path
        self._connect = connect
        self._writes = writes
        self._on_leaving = on_leaving
        self._lock = threading.Lock()
        self._identity = SqliteIdentity(path.absolute())
        self._connection: sqlite3.Connection | None = None

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """Lend the connection to the calling thread, opened if it is not."""
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
                self._identity.remember()
                _OPEN.add(self)
            yield self._connection

    def follow(self) -> bool:
        """Return false if the files are still at the path; else close all connections to them.

        If the database still exists elsewhere, its log is copied into it first.
        """
        before = self._connection
        if before is None or self._identity.holds():
            return False
        with _FOLLOWING, contextlib.ExitStack() as stack:
            if not self._has(before):
                return True  # another thread has done it
            database = self._identity.database
            together = [one for one in [*_OPEN] if one._identity.database == database]
            for one in together:
                stack.enter_context(one._lock)
            there = self._identity.database_holds()
            for one in together:
                one._leave(there=there)
            for one in together:
                one._close()
        log.warning("the database's files were removed or replaced: opened again", path=self._path)
        return True

    def close(self) -> None:
        """Close the connection. Idempotent."""
        with self._lock:
            self._close()

    @property
    def is_open(self) -> bool:
        """Whether it is open; if not, :meth:`use` opens it."""
        return self._connection is not None

    def _has(self, connection: sqlite3.Connection) -> bool:
        return self._connection is connection

    def _leave(self, *, there: bool) -> None:
        if self._connection is None or not self._writes:
            return
        with contextlib.suppress(sqlite3.Error):
            if there:
                self._connection.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            else:
                self._on_leaving(self._connection)

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        _OPEN.discard(self)
        if connection is not None:
            connection.close()
