"""The statements of Shared, on a connection to a SQLite file.

All times are wall time, because entries outlive processes and boots.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from argo_mw.base.errors import BadParameter
from argo_mw.store.limits import MAX_KEY_BYTES, check_epoch, check_witness
from argo_mw.store.protocol import EPOCH_KEY, WITNESS_TTL, Count, Lease, Witness
from argo_mw.store.sqlite_file import SqliteFile

_MAX_ROWS: Final = 100
_MAX_MESSAGES: Final = 10_000
_SWEEP_EVERY: Final = 256
_SWEEP_ROWS: Final = 5_000
_SCAN_ROWS: Final = 1_000
_LAST: Final = "\U0010ffff" * (MAX_KEY_BYTES // 4)
"""No key is longer, and no text of that length comes later."""

T = TypeVar("T")

Row = tuple[str, bytes, float | None, int]
"""Key, value, wall time of expiry, fence."""

Message = tuple[int, str, bytes]
"""Number, channel, body."""


class SqliteStore(SqliteFile):
    """A SQLite file with the statements of Shared.

    Each is to be called in a transaction (:meth:`SqliteFile.writing`) if it writes.

    Attributes:
        published: Whether a message was published; for the caller to take back.
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 2**30,
        busy_timeout: float = 2.0,
        connect: bool = True,
    ) -> None:
        super().__init__(path, max_bytes=max_bytes, busy_timeout=busy_timeout, connect=connect)
        self.published = False
        self._writes = 0

    # -- values --------------------------------------------------------------------------

    def get_many(self, keys: Sequence[str], now: float) -> dict[str, bytes]:
        """Return the values and counts under *keys* that have not expired."""
        found: dict[str, bytes] = {}
        for part in _parts(keys):
            found.update(
                self._db.execute(
                    "SELECT key, coalesce(value, CAST(count AS BLOB)) FROM entries"  # noqa: S608
                    f" WHERE key IN ({_placeholders(len(part))})"
                    " AND (expires IS NULL OR expires > ?)",
                    (*part, now),
                )
            )
        return found

    def put(self, rows: Sequence[Row]) -> None:
        """Store values, in place of what was under their keys."""
        self._put(rows, "INSERT OR REPLACE")

    def _put(self, rows: Sequence[Row], how: str) -> int:
        """Insert *rows*; return how many were stored."""
        # One statement for many rows, because each statement releases the GIL and, beside a busy
        # event loop, gets it back late.
        return sum(
            self._db.execute(
                f"{how} INTO entries (key, value, expires, fence) VALUES "
                + ", ".join(["(?, ?, ?, ?)"] * len(part)),
                [field for row in part for field in row],
            ).rowcount
            for part in _parts(rows)
        )

    def create(self, rows: Sequence[Row], now: float) -> list[bytes]:
        """Store those of *rows* whose keys hold nothing; return what each key holds now."""
        # Nearly always all are new, which one statement finds out.
        if self._put(rows, "INSERT OR IGNORE") == len(rows):
            return [row[1] for row in rows]
        present = self.get_many([row[0] for row in rows], now)
        self.put([row for row in rows if present.get(row[0]) is None])
        return [row[1] if (held := present.get(row[0])) is None else held for row in rows]

    def delete(self, keys: Sequence[str], now: float) -> int:
        """Remove *keys* and return how many of them had not expired."""
        live = 0
        for part in _parts(list(dict.fromkeys(keys))):
            live += len(self.get_many(part, now))
            self._db.execute(
                f"DELETE FROM entries WHERE key IN ({_placeholders(len(part))})",  # noqa: S608
                part,
            )
        return live

    def compare_and_set(self, row: Row, expected: bytes | None, now: float) -> bool:
        """Store *row* if its key holds *expected*; return whether it was stored."""
        if self.get_many([row[0]], now).get(row[0]) != expected:
            return False
        self.put([row])
        return True

    def add(
        self,
        key: str,
        amount: int,
        limit: int | None,
        expires: float | None,
        now: float,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        """Add *amount* to the counter at *key*, unless that would pass *limit*.

        Raises:
            EpochChanged: The store is not in *epoch*, or knows less than *witness*.
        """
        if epoch is not None:
            check_epoch(epoch, self._epoch())
        witnessed = 0
        if witness is not None:
            witnessed = self._witnessed(witness.key, now)
            check_witness(witness, witnessed)
        found = self._db.execute(
            "SELECT count FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (key, now),
        ).fetchone()
        if found is not None and found[0] is None:
            msg = f"{key!r} holds a value, not a counter: add() cannot be used on it"
            raise BadParameter(msg)
        count = 0 if found is None else int(found[0])
        if amount > 0 and limit is not None and count + amount > limit:
            return Count(count, added=False, witnessed=witnessed)
        if witness is not None:
            witnessed += 1
            self._db.execute(
                "INSERT OR REPLACE INTO entries (key, count, expires) VALUES (?, ?, ?)",
                (witness.key, witnessed, now + WITNESS_TTL),
            )
        if found is None:
            self._db.execute(
                "INSERT OR REPLACE INTO entries (key, count, expires) VALUES (?, ?, ?)",
                (key, amount, expires),
            )
        else:
            self._db.execute("UPDATE entries SET count = count + ? WHERE key = ?", (amount, key))
        return Count(count + amount, added=True, witnessed=witnessed)

    def _epoch(self) -> int | None:
        row = self._db.execute("SELECT count FROM entries WHERE key = ?", (EPOCH_KEY,)).fetchone()
        return None if row is None else row[0]

    def _witnessed(self, key: str, now: float) -> int:
        row = self._db.execute(
            "SELECT count FROM entries WHERE key = ? AND (expires IS NULL OR expires > ?)",
            (key, now),
        ).fetchone()
        return 0 if row is None else int(row[0] or 0)

    def scan(self, prefix: str, now: float, after: str) -> list[str]:
        """Return a page of the keys that begin with *prefix* and have not expired.

        They come in order, those behind *after*; none when there are no more.
        """
        found = self._db.execute(
            "SELECT key FROM entries WHERE key > ? AND key BETWEEN ? AND ?"
            " AND (expires IS NULL OR expires > ?) ORDER BY key LIMIT ?",
            (after, prefix, prefix + _LAST, now, _SCAN_ROWS),
        )
        return [key for (key,) in found]

    def touch(self) -> None:
        """Write something, to find out whether that is possible."""
        self._db.execute("UPDATE fence SET newest = newest")

    # -- leases --------------------------------------------------------------------------

    def acquire(self, key: str, holder: str, expires: float, now: float) -> Lease | None:
        """Return a new lease on *key*, or ``None`` while another one is held.

        That it was refused is noted for :meth:`settle`, until *expires*.
        """
        newest, held = self._db.execute(
            "SELECT newest, (SELECT fence FROM leases WHERE key = ? AND expires > ?) FROM fence",
            (key, now),
        ).fetchone()
        if held is not None:
            # Under bytes, which equal no text: no lease has that key.
            self._db.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, '', 0, ?)", (key.encode(), expires)
            )
            return None
        fence = newest + 1
        self._db.execute("UPDATE fence SET newest = ?", (fence,))
        self._db.execute(
            "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (key, holder, fence, expires)
        )
        return Lease(key, holder, fence)

    def renew(self, lease: Lease, expires: float, now: float) -> bool:
        """Hold *lease* until *expires*; return false when it is no longer held."""
        changed = self._db.execute(
            "UPDATE leases SET expires = ? WHERE key = ? AND holder = ? AND expires > ?",
            (expires, lease.key, lease.holder, now),
        )
        return changed.rowcount == 1

    def release(self, lease: Lease, now: float) -> bool:
        """Give *lease* up; return false when it is no longer held."""
        changed = self._db.execute(
            "DELETE FROM leases WHERE key = ? AND holder = ? AND expires > ?",
            (lease.key, lease.holder, now),
        )
        return changed.rowcount == 1

    def set_fenced(self, row: Row, lease_key: str, now: float) -> bool:
        """Store *row* unless a newer fence has written its key or holds the lease."""
        newest, _ = self._newest_fence(row[0], lease_key, now)
        if newest > row[3]:
            return False
        self.put([row])
        return True

    def settle(self, lease: Lease, row: Row, more: Sequence[Row], now: float) -> tuple[bool, bool]:
        """Store *row* as :meth:`set_fenced` does, and *more*; give *lease* up.

        Returns:
            Whether *row* was stored, and whether somebody may want to hear of it: the lease was
            refused to somebody, which is forgotten then, or it was no longer held.
        """
        newest, holder = self._newest_fence(row[0], lease.key, now)
        stored = newest <= row[3]
        self.put([row, *more] if stored else more)
        if holder != lease.holder:
            return stored, True
        gone = self._db.execute(
            "DELETE FROM leases WHERE key IN (?, ?)", (lease.key, lease.key.encode())
        )
        return stored, gone.rowcount > 1

    def _newest_fence(self, key: str, lease_key: str, now: float) -> tuple[int, str | None]:
        """Return the newest fence that holds the lease or has written *key*, and the holder."""
        written, held, holder = self._db.execute(
            "SELECT entries.fence, leases.fence, holder FROM fence"
            " LEFT JOIN entries ON entries.key = ? AND (entries.expires IS NULL"
            " OR entries.expires > ?) LEFT JOIN leases ON leases.key = ? AND leases.expires > ?",
            (key, now, lease_key, now),
        ).fetchone()
        return max(written or 0, held or 0), holder

    # -- messages ------------------------------------------------------------------------

    def publish(self, channel: str, body: bytes) -> None:
        """Append a message and drop the oldest ones beyond 10,000."""
        self.published = True
        added = self._db.execute(
            "INSERT INTO messages (channel, body) VALUES (?, ?)", (channel, body)
        )
        self._db.execute(
            "DELETE FROM messages WHERE id <= ?", ((added.lastrowid or 0) - _MAX_MESSAGES,)
        )

    def newest_message(self) -> int:
        """Return the number of the last message ever published, 0 before the first."""
        found = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'messages'")
        row = found.fetchone()
        return 0 if row is None else int(row[0])

    def messages_after(self, number: int) -> list[Message] | None:
        """Return the messages after *number*, or ``None`` when some of them were dropped."""
        # In this order, so that a message published between the two statements is found.
        newest = self.newest_message()
        found: list[Message] = self._db.execute(
            "SELECT id, channel, body FROM messages WHERE id > ? ORDER BY id", (number,)
        ).fetchall()
        if found:
            return found if found[0][0] == number + 1 else None
        return [] if newest == number else None

    # -- size ----------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Every 256 writes, remove what has expired, and make room before the file is full."""
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
        """Remove what has expired, and the tenth of the values written longest ago."""
        self._db.execute("DELETE FROM entries WHERE expires <= ?", (now,))
        values = self._db.execute("SELECT count(*) FROM entries WHERE count IS NULL").fetchone()[0]
        self._db.execute(
            "DELETE FROM entries WHERE id IN"
            " (SELECT id FROM entries WHERE count IS NULL ORDER BY id LIMIT ?)",
            (values // 10 + 1,),
        )


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _MAX_ROWS] for start in range(0, len(items), _MAX_ROWS))


def _placeholders(count: int) -> str:
    return ", ".join("?" * count)
