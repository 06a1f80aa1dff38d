"""One connection to the SQLite file behind Shared: opened, repaired and opened again."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from argo_mw.base.errors import ConfigError, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.sqlite_identity import File, SqliteIdentity, file_at

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

_LOCKED: Final = "another program is in a transaction: `fuser {path}` names it, end it"
_ADVICE: Final = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: "free some space on the disk of {path}, or raise its max_bytes",
    sqlite3.SQLITE_READONLY: "make {path} and its directory writable",
    sqlite3.SQLITE_CANTOPEN: "make {path} and its directory writable",
    sqlite3.SQLITE_IOERR: "look after the disk of {path}",
    sqlite3.SQLITE_CORRUPT: "it is set aside, and a new one is begun",
    sqlite3.SQLITE_NOTADB: "it is set aside, and a new one is begun",
}

log = Log("argo_mw")

_OPENING = threading.Lock()
_IN_USE: defaultdict[tuple[File, ...], set[SqliteFile]] = defaultdict(set)
"""Connections of this process, by the files that they have open."""


class SqliteFile:
    """A connection to the file, used by one thread.

    Args:
        path: The file; made with mode 0600 in a directory made with mode 0700.
        max_bytes: How large the file may become; the values written longest ago make room.
        busy_timeout: Seconds to wait for another process's transaction.
        connect: Whether to open the file now; else :meth:`reopen` does.

    Attributes:
        is_open: Whether it is connected.
        openings: How often it has been.
        look: Called in any thread when the connection should soon look whether its files were
            replaced, and :meth:`reopen`.

    Raises:
        ConfigError: The path holds something else, or cannot be used.
        SharedUnavailable: The file cannot be opened now.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 2**30,
        busy_timeout: float = 2.0,
        connect: bool = True,
    ) -> None:
        self.path = path
        self.is_open = False
        self.openings = 0
        self.look: Callable[[], None] = lambda: None
        self._max_pages = max(256, max_bytes // _PAGE)
        self._busy_timeout = busy_timeout
        self._identity = SqliteIdentity(path)
        if connect:
            self._connect()

    def _connect(self) -> None:
        try:
            self._open()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                msg = f"{self.path} cannot be opened: {self.reason(error)}"
                raise SharedUnavailable(msg) from error
            if self._identity.database_holds():
                self._set_aside(error)
            self._open()

    def _open(self) -> None:
        with _OPENING:
            _make_private(self.path)
            # Closing any descriptor of a file gives up all locks that this process has on it
            # (sqlite.org/howtocorrupt.html, 2.2): a file in use by this process is not read here.
            if file_at(self.path) not in {files[0] for files in _IN_USE}:
                _refuse_foreign(self.path)
            self._db = sqlite3.connect(
                self.path, timeout=self._busy_timeout, isolation_level=None, check_same_thread=False
            )
            self._begin_use()
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            with _OPENING:
                self._end_use()
            raise
        with _OPENING:  # the companions are there now
            self._end_use()
            self._begin_use()
        self.is_open = True
        self.openings += 1

    def _begin_use(self) -> None:
        self._identity.remember()
        _IN_USE[self._identity.files].add(self)

    def _end_use(self) -> None:
        _IN_USE[self._identity.files].discard(self)
        if not _IN_USE[self._identity.files]:
            del _IN_USE[self._identity.files]

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
        # Only what is missing is written: a file that another process has locked can be opened.
        if not self._is_made():
            with self.writing():
                if not self._is_made():
                    self._create()

    def _is_made(self) -> bool:
        if self._pragma("application_id") != _APPLICATION:
            return False
        if self._pragma("user_version") != _SCHEMA:
            msg = f"{self.path} was made by another version of argo-mw: remove it"
            raise ConfigError(msg)
        return True

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
        log.error(
            "the shared store's file is damaged: set aside", error=str(error), kept_as=str(aside)
        )

    def repair(self, error: sqlite3.DatabaseError) -> None:
        """Set a damaged file aside and begin a new one, unless another process has done so."""
        self.close()
        if self._identity.database_holds():
            self._set_aside(error)
        self._connect()

    def replaced(self) -> bool:
        """Return whether one of the files was removed, or another one put in its place."""
        return not self._identity.holds()

    def reopen(self) -> None:
        """Open the files that are at the path now.

        If only the write-ahead log or its index went, what is in the log moves into the database.
        """
        if self.is_open and self._identity.database_holds():
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
            self.close()
            self._wait_for_others()
        self.close()
        self._connect()

    def _wait_for_others(self) -> None:
        """Let this process's other connections close these files, which SQLite shares among them.

        While one of them is open, it would be opened again instead of the new one.
        """
        with _OPENING:
            others = [(one, one.openings) for one in _IN_USE.get(self._identity.files, ())]
        for other, _ in others:
            other.look()
        deadline = time.monotonic() + self._busy_timeout
        while any(one.is_open and one.openings == before for one, before in others):
            if time.monotonic() > deadline:
                break
            time.sleep(0.001)

    def reason(self, error: sqlite3.Error) -> str:
        """Return in words why the file cannot be used, and what to do."""
        advice = _ADVICE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, "look at {path}")
        return f"{error}; {advice.format(path=self.path)}"

    def data_version(self) -> int:
        """Return a number that changes when another connection has written."""
        return self._pragma("data_version")

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self.is_open:
            self.is_open = False
            self._db.close()
            with _OPENING:
                self._end_use()

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
    if not path.is_file():  # a directory, a link to nothing, or a pipe, of which a read never ends
        msg = f"{path} is not a file: choose another path for the shared store"
        raise ConfigError(msg)
    with path.open("rb") as file:
        header = file.read(len(_HEADER))
    if header not in (b"", _HEADER):
        msg = f"{path} is not a SQLite database: choose another path for the shared store"
        raise ConfigError(msg)
