"""The newest row of each subject in SQLite, found by entries that reads keep up to date.

The table ``argo_newest`` records up to which rowid rows have entries. SQLite has one writer at a
time, so rowids grow in the order of commits: the newest rows are the entries, and those rows behind
that rowid that are newer. So writing rows costs no more. A read that finds many rows without
entries lets the writer's thread make some; if there are very many, it asks the table itself.
Triggers note rows that are changed or deleted, and number the subjects whose newest row that may
have been. By these numbers, a reader that holds the newest rows in memory knows what to read again.
"""

# Names of tables and columns are those of declared tables; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from operator import itemgetter

import msgspec
from attrs import frozen

from argo_mw_persist.newest import Newest, NewestOrder, pack
from argo_mw_persist.sink import Query
from argo_mw_persist.tables import TYPES, Cells, Table

STATE = "argo_newest"

_CREATE_STATE = f"""CREATE TABLE IF NOT EXISTS {STATE} (
    name TEXT NOT NULL PRIMARY KEY, form TEXT NOT NULL, upto INTEGER NOT NULL,
    schema INTEGER NOT NULL) WITHOUT ROWID"""
# Rowids hold for one version of the schema: VACUUM, which changes them, makes another version.
SCHEMA_VERSION = "(SELECT schema_version FROM pragma_schema_version)"
CHUNK = 8_000
"""The most rows that one transaction makes entries of, since batches wait for it; also the most
rows without entries with which a read still uses the entries."""

_MENDED = 100
"""The most entries that are packed again in one transaction."""

_MAX_ENTRIES = 2048


@frozen
class EntriesFound:
    """What the entries and the rows without entries tell about some subjects.

    Attributes:
        rows: Candidates for the newest rows, in the order in which they were written.
        unknown: The subjects for which the table itself must be asked.
    """

    rows: Sequence[Cells]
    unknown: Sequence[str]


class NewestEntries:
    """The entries of one table.

    Args:
        table: The table.
        newest: Which of its rows are the newest.

    Attributes:
        table: The table.
        order: Decides which of two rows is newer.
        form: The format of the entries; entries of another format are made again.
        changes: The name of the table that numbers changed subjects.
    """

    def __init__(self, table: Table, newest: Newest) -> None:
        self.table = table
        self._subject, self._tenant, self._order = newest.subject, newest.tenant, newest.order
        self._entries = f"{table.name}_newest"
        self._columns = ", ".join(table.names)
        self.form = f"2 {newest.subject} {newest.tenant} {newest.order} {self._columns}"
        self.changes = f"{table.name}_changes"
        self.order = NewestOrder(newest, table.columns)
        places = table.names.index
        self._ages = itemgetter(*map(places, newest.order), 0)

    def create(self, connection: sqlite3.Connection) -> None:
        """Create the entries' tables, empty, unless they exist in this code's format."""
        connection.execute(_CREATE_STATE)
        if self._upto(connection) is not None:
            return
        name, entries = self.table.name, self._entries
        for trigger in ("changed", "moved", "deleted"):
            connection.execute(f"DROP TRIGGER IF EXISTS {entries}_{trigger}")
        for made in (entries, self.changes):
            connection.execute(f"DROP TABLE IF EXISTS {made}")
        for statement in self._statements():
            connection.execute(statement)
        state = f"REPLACE INTO {STATE} VALUES (?, ?, 0, {SCHEMA_VERSION})"
        connection.execute(state, (name, self.form))

    def catch_up(self, connection: sqlite3.Connection) -> bool:
        """Make entries of some of the rows that have none, and of some that were changed.

        Returns:
            Whether there are more. Rows that come meanwhile are left to the next read: otherwise
            entries would be made after each batch of a busy writer.
        """
        upto, last = self._upto(connection), self._last(connection)
        if upto is None:
            return False
        if upto != last and self._follow(connection, upto):
            return True
        return self._mend(connection)

    def behind(self, connection: sqlite3.Connection) -> bool:
        """Return whether some rows have no entries."""
        upto = self._upto(connection)
        if upto is None:
            return False
        unknown = f"SELECT EXISTS (SELECT 1 FROM {self._entries} WHERE packed IS NULL)"
        return upto != self._last(connection) or bool(connection.execute(unknown).fetchone()[0])

    def query(self, subjects: Sequence[str], tenant: str) -> Query:
        """Return the query for the newest rows of *subjects* that *tenant* may see.

        Its first row holds a JSON array of packed rows (``None`` if the entries are invalid) and a
        JSON array of the subjects of entries that are not packed. The rows without entries follow.
        """
        name = self.table.name
        # Few rows, found by rowid: the unary plus keeps SQLite from using other indexes.
        wanted = f"+{self._tenant} IN ('', ?3) AND +{self._subject} IN (SELECT value FROM asked)"
        state = (
            f"SELECT upto, COALESCE((SELECT max(rowid) FROM {name}), 0) - upto AS lag "
            f"FROM {STATE} WHERE name = ?1 AND form = ?2 AND schema = {SCHEMA_VERSION}"
        )
        known = f"(SELECT lag BETWEEN 0 AND {CHUNK} FROM state)"
        padding = ", NULL" * (len(self.table.names) - 2)
        sql = (
            f"WITH state AS ({state}), asked AS (SELECT value FROM json_each(?4)) "
            f"SELECT CASE WHEN {known} THEN "
            "'[' || COALESCE(group_concat(NULLIF(n.packed, '')), '') || ']' END, "
            f"json_group_array(n.{self._subject}) "
            f"FILTER (WHERE n.packed IS NULL OR n.packed = ''){padding} "
            f"FROM asked CROSS JOIN {self._entries} n "
            f"ON n.{self._subject} = asked.value AND n.{self._tenant} IN ('', ?3) WHERE {known} "
            f"UNION ALL SELECT * FROM (SELECT {self._columns} FROM {name} "
            f"WHERE rowid > (SELECT upto FROM state) AND {known} AND {wanted} ORDER BY rowid)"
        )
        return Query(sql, (name, self.form, tenant, json.dumps(list(subjects))))

    def found(self, rows: Sequence[Cells]) -> EntriesFound | None:
        """Return what the query found, or ``None`` if the entries are invalid."""
        [(packed, others, *_), *behind] = rows
        if packed is None:
            return None
        rows = [*self.order.unpacked(str(packed)), *behind]
        # A subject may be there twice: of the tenant's own rows and of the shared ones.
        unknown = dict.fromkeys(msgspec.json.decode(str(others), type=list[str]))
        if unknown:
            rows = [row for row in rows if self.order.key(row)[0] not in unknown]
        return EntriesFound(rows, tuple(unknown))

    def _statements(self) -> list[str]:
        name, entries, kinds = self.table.name, self._entries, TYPES["sqlite"]
        key = (self._subject, self._tenant)
        columns = [
            f"{column} {kinds[self.table.columns[column]]} NOT NULL"
            for column in (*key, *self._order, "id")
        ]
        place = " AND ".join(f"{column} = OLD.{column}" for column in key)
        forget = f"UPDATE {entries} SET packed = NULL WHERE {place} AND id = OLD.id"
        mine = f"UPDATE {STATE} SET upto = %s WHERE name = '{name}'"
        before = f"COALESCE((SELECT max(rowid) FROM {name} WHERE rowid < OLD.rowid), 0)"
        # Only a change of the newest row concerns readers, which hold no other rows.
        newer = f"({', '.join(self._order)}) > ({', '.join(f'OLD.{c}' for c in self._order)})"
        number = f"(SELECT max(number) + 1 FROM {self.changes})"
        # Not REPLACE: a conflict clause of the triggering statement would override it.
        tell = (
            f"INSERT INTO {self.changes} SELECT {number}, OLD.{key[0]}, OLD.{key[1]} "
            f"WHERE NOT EXISTS (SELECT 1 FROM {entries} WHERE {place} AND packed IS NOT NULL "
            f"AND {newer}) ON CONFLICT (subject, tenant) DO UPDATE SET number = excluded.number"
        )
        tell_all = f"UPDATE {self.changes} SET number = {number} WHERE subject IS NULL"
        order = ", ".join(("id", *key, *self._order))
        return [
            (
                f"CREATE TABLE {entries} ({', '.join(columns)}, packed TEXT, PRIMARY KEY "
                f"({', '.join(key)})) WITHOUT ROWID"
            ),
            f"CREATE INDEX {entries}_unknown ON {entries} (id) WHERE packed IS NULL",
            (
                f"CREATE TABLE {self.changes} (number INTEGER PRIMARY KEY, subject TEXT, "
                "tenant TEXT, UNIQUE (subject, tenant))"
            ),
            # Stands for all subjects.
            f"INSERT INTO {self.changes} VALUES (1, NULL, NULL)",
            f"CREATE TRIGGER {entries}_changed AFTER UPDATE ON {name} BEGIN {forget}; {tell}; END",
            (
                f"CREATE TRIGGER {entries}_moved AFTER UPDATE OF {order} ON {name} BEGIN "
                f"DELETE FROM {entries}; {mine % 0}; {tell_all}; END"
            ),
            # SQLite reuses the rowid of the last row once that is deleted.
            (
                f"CREATE TRIGGER {entries}_deleted AFTER DELETE ON {name} BEGIN {forget}; {tell}; "
                f"{mine % before} AND upto = OLD.rowid; {tell_all} "
                f"AND NOT EXISTS (SELECT 1 FROM {name} WHERE rowid > OLD.rowid); END"
            ),
        ]

    def _upto(self, connection: sqlite3.Connection) -> int | None:
        """Return the rowid up to which rows have entries, -1 if it is no longer valid."""
        sql = f"SELECT CASE WHEN schema = {SCHEMA_VERSION} THEN upto ELSE -1 END FROM {STATE} "
        row = connection.execute(f"{sql} WHERE name = ? AND form = ?", (self.table.name, self.form))
        found = row.fetchone()
        return None if found is None else int(found[0])

    def _last(self, connection: sqlite3.Connection) -> int:
        [(last,)] = connection.execute(f"SELECT max(rowid) FROM {self.table.name}").fetchall()
        return int(last or 0)

    def _reach(self, connection: sqlite3.Connection, upto: int) -> None:
        sql = f"UPDATE {STATE} SET upto = ?, schema = {SCHEMA_VERSION} WHERE name = ? AND form = ?"
        connection.execute(sql, (upto, self.table.name, self.form))

    def _follow(self, connection: sqlite3.Connection, upto: int) -> bool:
        """Make entries of rows behind rowid *upto*; return whether there may be more."""
        if upto < 0:
            connection.execute(f"DELETE FROM {self._entries}")
        rows = connection.execute(
            f"SELECT {self._columns}, rowid FROM {self.table.name} WHERE rowid > ? "
            f"ORDER BY rowid LIMIT {CHUNK}",
            (max(upto, 0),),
        ).fetchall()
        self._put(connection, self._newest(row[:-1] for row in rows))
        self._reach(connection, rows[-1][-1] if rows else 0)
        return len(rows) == CHUNK

    def _newest(self, rows: Iterable[Cells]) -> list[Cells]:
        """Return the newest of *rows* by subject and tenant, in the order of these."""
        newest = self.order.newest(rows)
        return [newest[place] for place in sorted(newest)]

    def _put(self, connection: sqlite3.Connection, rows: Sequence[Cells]) -> None:
        """Make entries of *rows* for their subjects, unless those have newer ones."""
        values = [(*self.order.key(row), *self._ages(row), pack(row)) for row in rows]
        start, size = 0, _MAX_ENTRIES
        while start < len(values):
            while size > len(values) - start:
                size //= 2
            part = values[start : start + size]
            connection.execute(self._upsert(size), list(chain.from_iterable(part)))
            start += size

    def _upsert(self, rows: int) -> str:
        return _upsert(self._entries, (self._subject, self._tenant), self._order, rows)

    def _mend(self, connection: sqlite3.Connection) -> bool:
        """Replace some entries whose row was changed or deleted; return whether there are more."""
        key = (self._subject, self._tenant)
        unknown = connection.execute(
            f"SELECT {', '.join(key)} FROM {self._entries} WHERE packed IS NULL LIMIT {_MENDED}"
        ).fetchall()
        this = " AND ".join(f"{column} = ?" for column in key)
        order = ", ".join(f"{column} DESC" for column in self._order)
        for place in unknown:
            connection.execute(f"DELETE FROM {self._entries} WHERE {this}", place)
            found = connection.execute(
                f"SELECT {self._columns} FROM {self.table.name} WHERE {this} "
                f"ORDER BY {order}, rowid LIMIT 1",
                place,
            ).fetchall()
            self._put(connection, found)
        return len(unknown) == _MENDED


@cache
def _upsert(entries: str, key: tuple[str, str], order: tuple[str, ...], rows: int) -> str:
    columns = (*key, *order, "id", "packed")
    one = f"({', '.join('?' * len(columns))})"
    age = ", ".join(order)
    excluded = ", ".join(f"excluded.{column}" for column in order)
    changes = ", ".join(f"{column} = excluded.{column}" for column in (*order, "id", "packed"))
    return (
        f"INSERT INTO {entries} ({', '.join(columns)}) VALUES {', '.join([one] * rows)} "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changes} WHERE ({excluded}) > ({age})"
    )


def entries_of(tables: Iterable[Table]) -> dict[str, NewestEntries]:
    """Return the entries of the *tables* that declare ``newest``, by the table's name."""
    return {t.name: NewestEntries(t, t.newest) for t in tables if t.newest is not None}
