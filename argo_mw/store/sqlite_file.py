"""One connection to the SQLite file behind Shared, used by one thread.

All times are wall time, because entries outlive processes and boots.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from argo_mw.base.errors import BadParameter, ConfigError, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.protocol import Count, Lease

_APPLICATION: Final = 0x41524D57  # "ARMW"
_SCHEMA: Final = 1
_HEADER: Final = b"SQLite format 3\0"
_ROWS: Final = 100
_KEEP_MESSAGES: Final = 10_000
_SWEEP_EVERY: Final = 256
_SWEEP_ROWS: Final = 5_000
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

T = TypeVar("T")

Row = tuple[str, bytes, float | None, int]
"""Key, value, wall time of expiry, fence."""

_OPENING = threading.Lock()
_IN_USE: Counter[tuple[int, int]] = Counter()
"""Connections of this process, by file."""

Message = tuple[int, str, bytes]
"""Number, channel, body."""


class SqliteStore:
    """The statements of Shared.

    Args:
        path: The file; made with mode 0600 in a directory made with mode 0700.
        max_bytes: How large the file may become; the values written longest ago make room.
        busy: Seconds to wait for another process's transaction.

    Raises:
        ConfigError: The path holds something else, or cannot be used.
    """

    def __init__(self, path: Path, *, max_bytes: int = 2**30, busy: float = 2.0) -> None:
        self.path = path
        self._max_pages = max(256, max_bytes // _PAGE)
        self._busy = busy
        self._writes = 0
        self._file: tuple[int, int] = (0, 0)
        self.is_open = False
        self.openings = 0
        self._connect()

    # -- the file ------------------------------------------------------------------------

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
            # (sqlite.org/howtocorrupt.html, 2.2): a file that is in use here is not looked into.
            if not _IN_USE[self._file]:
                _refuse_foreign(self.path)
            self._db = sqlite3.connect(
                self.path, timeout=self._busy, isolation_level=None, check_same_thread=False
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
        # Turning WAL on does not wait for other processes that do the same.
        deadline = time.monotonic() + self._busy
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
        log.error("shared store was damaged: set aside", error=str(error), kept_as=str(aside))

    def repair(self, error: sqlite3.DatabaseError) -> None:
        """Begin anew after the file turned out to be damaged, unless somebody else has."""
        self.close()
        if not self.replaced():
            self._set_aside(error)
        self._connect()

    def reopen(self) -> None:
        """Use the file that is at the path now."""
        self.close()
        self._connect()

    def replaced(self) -> bool:
        """Whether the file was taken away, or another one put in its place."""
        return _identity(self.path) != self._file

    def data_version(self) -> int:
        """A number that changes when another connection has written."""
        return self._pragma("data_version")

    def close(self) -> None:
        """Let go of the file."""
        if self.is_open:
            _IN_USE[self._file] -= 1
        self.is_open = False
        self._db.close()

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction: all or nothing, and alone."""
        # IMMEDIATE: a transaction that begins to write later fails at once when it is not alone.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    # -- values --------------------------------------------------------------------------

    def get_many(self, keys: Sequence[str], now: float) -> dict[str, bytes]:
        """The live values and counts under *keys*."""
        found: dict[str, bytes] = {}
        for part in _parts(keys):
            found.update(
                self._db.execute(
                    "SELECT key, coalesce(value, CAST(count AS BLOB)) FROM entries"  # noqa: S608
                    f" WHERE key IN ({_marks(len(part))}) AND (expires IS NULL OR expires > ?)",
                    (*part, now),
                )
            )
        return found

    def put(self, rows: Sequence[Row]) -> None:
        """Store values, in place of what was under their keys."""
        # One statement for many rows: each statement hands the GIL over, and gets it back late
        # beside a busy event loop.
        for part in _parts(rows):
            self._db.execute(
                "INSERT OR REPLACE INTO entries (key, value, expires, fence) VALUES "  # noqa: S608
                + ", ".join(["(?, ?, ?, ?)"] * len(part)),
                [field for row in part for field in row],
            )

    def delete(self, keys: Sequence[str], now: float) -> int:
        """Remove *keys*; how many of them were live."""
        live = 0
        for part in _parts(list(dict.fromkeys(keys))):
            live += len(self.get_many(part, now))
            self._db.execute(
                f"DELETE FROM entries WHERE key IN ({_marks(len(part))})",  # noqa: S608
                part,
            )
        return live

    def compare_and_set(self, row: Row, expected: bytes | None, now: float) -> bool:
        """Store *row* if its key holds *expected*."""
        if self.get_many([row[0]], now).get(row[0]) != expected:
            return False
        self.put([row])
        return True

    def add(
        self, key: str, amount: int, limit: int | None, expires: float | None, now: float
    ) -> Count:
        """Add to a counter."""
        found = self._db.execute(
            "SELECT count FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (key, now),
        ).fetchone()
        if found is not None and found[0] is None:
            msg = f"{key!r} holds a value, not a counter: add() cannot be used on it"
            raise BadParameter(msg)
        count = 0 if found is None else int(found[0])
        if amount > 0 and limit is not None and count + amount > limit:
            return Count(count, added=False)
        if found is None:
            self._db.execute(
                "INSERT OR REPLACE INTO entries (key, count, expires) VALUES (?, ?, ?)",
                (key, amount, expires),
            )
        else:
            self._db.execute("UPDATE entries SET count = count + ? WHERE key = ?", (amount, key))
        return Count(count + amount, added=True)

    def scan(self, prefix: str, now: float) -> list[str]:
        """The live keys that begin with *prefix*."""
        found = self._db.execute(
            "SELECT key FROM entries WHERE substr(key, 1, ?) = ?"
            " AND (expires IS NULL OR expires > ?)",
            (len(prefix), prefix, now),
        )
        return [key for (key,) in found]

    # -- leases --------------------------------------------------------------------------

    def acquire(self, key: str, holder: str, expires: float, now: float) -> Lease | None:
        """Take a lease, if it is free."""
        if self._lease(key, now) is not None:
            return None
        self._db.execute("UPDATE fence SET newest = newest + 1")
        fence = self._db.execute("SELECT newest FROM fence").fetchone()[0]
        self._db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (key, holder, fence, expires)
        )
        return Lease(key, holder, fence)

    def renew(self, lease: Lease, expires: float, now: float) -> bool:
        """Hold a lease longer, if it is still held."""
        changed = self._db.execute(
            "UPDATE leases SET expires = ? WHERE key = ? AND holder = ? AND expires > ?",
            (expires, lease.key, lease.holder, now),
        )
        return changed.rowcount == 1

    def release(self, lease: Lease, now: float) -> bool:
        """Give a lease up, if it is still held."""
        changed = self._db.execute(
            "DELETE FROM leases WHERE key = ? AND holder = ? AND expires > ?",
            (lease.key, lease.holder, now),
        )
        return changed.rowcount == 1

    def set_fenced(self, row: Row, lease_key: str, now: float) -> bool:
        """Store *row* unless a newer fence than its own wrote there or holds the lease."""
        key, _, _, fence = row
        written = self._db.execute(
            "SELECT fence FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (key, now),
        ).fetchone()
        newest = max(self._lease(lease_key, now) or 0, written[0] if written else 0)
        if newest > fence:
            return False
        self.put([row])
        return True

    def _lease(self, key: str, now: float) -> int | None:
        found = self._db.execute(
            "SELECT fence FROM leases WHERE key = ? AND expires > ?", (key, now)
        ).fetchone()
        return None if found is None else int(found[0])

    # -- messages ------------------------------------------------------------------------

    def publish(self, channel: str, body: bytes) -> None:
        """Append a message; the oldest beyond 10,000 are dropped."""
        added = self._db.execute(
            "INSERT INTO messages (channel, body) VALUES (?, ?)", (channel, body)
        )
        self._db.execute(
            "DELETE FROM messages WHERE id <= ?", ((added.lastrowid or 0) - _KEEP_MESSAGES,)
        )

    def newest_message(self) -> int:
        """The number of the last message ever published, 0 before the first."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        row = found.fetchone()
        return 0 if row is None else int(row[0])

    def messages_after(self, number: int) -> list[Message] | None:
        """The messages after *number*, or ``None`` when some of them were dropped."""
        # In this order: a message that comes between the two statements is found, not missed.
        newest = self.newest_message()
        found: list[Message] = self._db.execute(
            "SELECT id, channel, body FROM messages WHERE id > ? ORDER BY id", (number,)
        ).fetchall()
        if found:
            return found if found[0][0] == number + 1 else None
        return [] if newest == number else None

    # -- room ----------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Now and then, remove what has expired, and make room before it is needed."""
        self._writes += 1
        if self._writes % _SWEEP_EVERY:
            return
        self._db.execute(
            "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE expires <= ? LIMIT ?)",
            (now, _SWEEP_ROWS),
        )
        self._db.execute("DELETE FROM leases WHERE expires <= ?", (now,))
        if self._pragma("page_count") - self._pragma("freelist_count") > 0.9 * self._max_pages:
            self.make_room(now)

    def make_room(self, now: float) -> None:
        """Remove what has expired and the tenth of the values that were written longest ago."""
        self._db.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        values = self._db.execute("SELECT count(*) FROM entries WHERE count IS NULL").fetchone()[0]
        self._db.execute(
            "DELETE FROM entries WHERE id IN"
            " (SELECT id FROM entries WHERE count IS NULL ORDER BY id LIMIT ?)",
            (values // 10 + 1,),
        )


def is_damage(error: sqlite3.Error) -> bool:
    """Whether *error* says that the file is damaged, rather than busy, full or misused."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as error:
        msg = f"the shared store {path} cannot be made or written: {error.strerror}"
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


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _ROWS] for start in range(0, len(items), _ROWS))


def _marks(count: int) -> str:
    return ", ".join("?" * count)
