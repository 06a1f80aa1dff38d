"""One connection to the SQLite file behind Shared: opened, repaired and opened again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from argo_mw.base.errors import ConfigError, SharedUnavailable
from argo_mw.base.log import Log

_APPLICATION: Final = 0x41524D57  # "ARMW"
_SCHEMA: Final = 1
_HEADER: Final = b"SQLite format 3\0"
_PAGE: Final = 4096

_TABLES: Final = """
CREATE TABLE entries (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    value BLOB,
    count INTEGER,
    expires REAL,
    fence INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX entries_expire ON entries (expires) WHERE expires IS NOT NULL;
CREATE TABLE leases (
    key TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    fence INTEGER NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE fence (newest INTEGER NOT NULL);
INSERT INTO fence VALUES (0);
CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    channel TEXT NOT NULL,
    body BLOB NOT NULL
);
"""

log = Log("argo_mw")

_OPENING = threading.Lock()
_IN_USE: Counter[tuple[int, int]] = Counter()
"""Connections of this process, by file."""


class SqliteFile:
    """A connection to the file, used by one thread.

    Args:
        path: The file; made with mode 0600 in a directory made with mode 0700.
        max_bytes: How large the file may become; the values written longest ago make room.
        busy_timeout: Seconds to wait for another process's transaction.

    Raises:
        ConfigError: The path holds something else, or cannot be used.
    """

    def __init__(self, path: Path, *, max_bytes: int = 2**30, busy_timeout: float = 2.0) -> None:
        self.path = path
        self._max_pages = max(256, max_bytes // _PAGE)
        self._busy_timeout = busy_timeout
        self._file: tuple[int, int] = (0, 0)
        self.is_open = False
        self.openings = 0
        self._connect()

    def _connect(self) -> None:
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                msg = f"the shared store {self.path} cannot be opened: {error}"
                raise SharedUnavailable(msg) from error
            if not self.replaced():
                self._set_aside(error)
            self._open()

    def _open(self) -> None:
        with _OPENING:
            _make_private(self.path)
            self._file = _identity(self.path)
            # Closing any descriptor of a file gives up all locks that this process has on it
            # (sqlite.org/howtocorrupt.html, 2.2): a file in use by this process is not read here.
            if not _IN_USE[self._file]:
                _refuse_foreign(self.path)
            self._db = sqlite3.connect(
                self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            _IN_USE[self._file] += 1
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            _IN_USE[self._file] -= 1
            raise
        self.is_open = True
        self.openings += 1

    def _prepare(self) -> None:
        # SQLite does not wait for other processes that turn WAL on at the same time.
        deadline = time.monotonic() + self._busy_timeout
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA journal_size_limit = 67108864")
        self._db.execute(f"PRAGMA max_page_count = {self._max_pages}")
        with self.writing():
            if self._pragma("application_id") != _APPLICATION:
                self._create()
            elif self._pragma("user_version") != _SCHEMA:
                msg = f"{self.path} was made by another version of argo-mw: remove it"
                raise ConfigError(msg)

    def _create(self) -> None:
        if self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            msg = f"{self.path} is another program's database: choose another path"
            raise ConfigError(msg)
        for statement in filter(str.strip, _TABLES.split(";")):
            self._db.execute(statement)
        self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
        self._db.execute(f"PRAGMA user_version = {_SCHEMA}")

    def _set_aside(self, error: sqlite3.DatabaseError) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        log.error("shared store's file is damaged: set aside", error=str(error), kept_as=str(aside))

    def repair(self, error: sqlite3.DatabaseError) -> None:
        """Set a damaged file aside and begin a new one, unless another process has done so."""
        self.close()
        if not self.replaced():
            self._set_aside(error)
        self._connect()

    def reopen(self) -> None:
        """Open the file that is at the path now."""
        self.close()
        self._connect()

    def replaced(self) -> bool:
        """Return whether the file was removed, or another one put in its place."""
        return _identity(self.path) != self._file

    def data_version(self) -> int:
        """Return a number that changes when another connection has written."""
        return self._pragma("data_version")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self.is_open:
            _IN_USE[self._file] -= 1
        self.is_open = False
        self._db.close()

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Run the block in a transaction, as the only writer: all of it is written or nothing."""
        # IMMEDIATE, because a transaction that begins as a reader fails at its first write when
        # another one has begun to write meanwhile.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether *error* means a damaged file, rather than a busy, full or misused one."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"the shared store {path} cannot be made or opened: {error.strerror}"
        raise ConfigError(msg) from error


def _refuse_foreign(path: Path) -> None:
    with path.open("rb") as file:
        header = file.read(len(_HEADER))
    if header not in (b"", _HEADER):
        msg = f"{path} is not a SQLite database: choose another path for the shared store"
        raise ConfigError(msg)


def _identity(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)
    return status.st_dev, status.st_ino
