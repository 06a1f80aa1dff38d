"""Reads of the newest rows in SQLite: held in memory, and updated by each read.

The first read of a subject uses the entries. Later ones ask, in one statement, for the rows after
the last one that was seen, and for the subjects of which a row was changed or deleted. That is
enough, whichever program wrote, since all of it is in the file. What is held is dropped if the
statement cannot tell what happened: the file was reopened, the version of its schema is another, as
after VACUUM, or there are more rows than are faster to read by the entries.
"""

# Names of tables and columns are those of declared tables; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Collection, Iterator, Sequence

import msgspec
from attrs import frozen

from argo_mw_persist import queries
from argo_mw_persist.held_newest import HeldNewest
from argo_mw_persist.newest import Key
from argo_mw_persist.sink import Query
from argo_mw_persist.sqlite_newest import CHUNK, SCHEMA_VERSION, STATE, NewestEntries
from argo_mw_persist.tables import Cells

_FEW = 500
"""The number of rows without an entry from which on a read lets the writer's thread make some."""

_BEYOND = 1 << 62


@frozen
class Moment:
    """A state of the table, from which later changes can be found.

    Attributes:
        opened: How often the file had been opened.
        schema: The version of its schema.
        change: The number of the last change of a row.
        rowid: The rowid of the last row.
    """

    opened: int
    schema: int
    change: int
    rowid: int


@frozen
class _Since:
    """What happened since a moment: the next moment, new rows, and changed subjects."""

    moment: Moment
    lag: int | None
    rows: Sequence[Cells]
    changed: Sequence[Key]
    all: bool

    @property
    def is_late(self) -> bool:
        """Whether so many rows have no entries that some should be made."""
        return self.lag is None or self.lag > _FEW


class NewestReads:
    """Reads of the newest rows of one table.

    Args:
        entries: The table's entries.
        most: How many newest rows are held in memory at most.
    """

    def __init__(self, entries: NewestEntries, most: int) -> None:
        self._entries = entries
        self._most = most
        self._since_sql = _since(entries)
        self._held: HeldNewest[Moment] | None = None

    def read(
        self, connection: sqlite3.Connection, opened: int, subjects: Collection[str], tenant: str
    ) -> tuple[dict[str, object], bool]:
        """Return the newest of *subjects* that *tenant* may see, and whether entries are late.

        Args:
            connection: A connection that only this thread uses.
            opened: How often the file has been opened, including this time.
            subjects: The subjects, each once.
            tenant: The tenant that asks.
        """
        held = self._held
        if held is not None and held.moment.opened == opened:
            since = self._since(connection, held.moment)
            now = self._follow(held, since)
            if now is not None and not now.missing(subjects, _tenants(tenant)):
                self._held = now
                return now.newest(subjects, tenant), since is None or since.is_late
        else:
            held = None
        with _one_snapshot(connection):
            return self._load(connection, held, opened, subjects, tenant)

    def _load(
        self,
        connection: sqlite3.Connection,
        held: HeldNewest[Moment] | None,
        opened: int,
        subjects: Collection[str],
        tenant: str,
    ) -> tuple[dict[str, object], bool]:
        """Read what is not held, in the open transaction."""
        tenants = _tenants(tenant)
        moment = Moment(opened, -1, _BEYOND, _BEYOND) if held is None else held.moment
        since = self._since(connection, moment)
        if since is None:
            return self._of_table(connection, subjects, tenant), False
        now = self._follow(held, since) or self._nothing(since.moment)
        missing = now.missing(subjects, tenants)
        if len(now) + len(missing) * len(tenants) > self._most:
            now, missing = self._nothing(since.moment), subjects
        found = self._entries.found(
            _fetched(connection, self._entries.query(list(missing), tenant))
        )
        if found is None:
            return self._of_table(connection, subjects, tenant), True
        rows = list(found.rows)
        for owner in tenants if found.unknown else ():
            rows += _fetched(connection, self._query(found.unknown, owner, shared=False))
        now = now.loaded(rows, missing, tenants)
        if len(now) <= self._most:
            self._held = now
        return now.newest(subjects, tenant), since.is_late or bool(found.unknown)

    def _nothing(self, moment: Moment) -> HeldNewest[Moment]:
        return HeldNewest(self._entries.order, self._entries.table.make, moment)

    def _follow(
        self, held: HeldNewest[Moment] | None, since: _Since | None
    ) -> HeldNewest[Moment] | None:
        if held is None or since is None or not since.all:
            return None
        return held.at(since.moment, since.rows, since.changed)

    def _since(self, connection: sqlite3.Connection, moment: Moment) -> _Since | None:
        """Return what happened since *moment*, ``None`` if that cannot be told."""
        name, form = self._entries.table.name, self._entries.form
        asked = (name, form, moment.change, moment.rowid, moment.schema)
        found = _fetched(connection, Query(self._since_sql, asked))
        if not found or not isinstance(state := found[0][0], str):
            return None
        schema, change, rowid, lag = msgspec.json.decode(state, type=_STATE)
        changed = [(row[1], row[2]) for row in found[1:] if row[0] is None]
        rows = found[1 + len(changed) :]
        return _Since(
            Moment(moment.opened, schema, change, rowid),
            lag,
            rows,
            [(str(subject), str(tenant)) for subject, tenant in changed],
            schema == moment.schema and len(rows) <= CHUNK and (None, None) not in changed,
        )

    def _of_table(
        self, connection: sqlite3.Connection, subjects: Collection[str], tenant: str
    ) -> dict[str, object]:
        rows = _fetched(connection, self._query(subjects, tenant, shared=True))
        key = self._entries.order.key
        return dict(zip([key(row)[0] for row in rows], self._entries.table.make(rows), strict=True))

    def _query(self, subjects: Collection[str], tenant: str, *, shared: bool) -> Query:
        table = self._entries.table
        return queries.newest("sqlite", table, list(subjects), tenant, shared=shared)


_STATE = tuple[int, int, int, int | None]


def _since(entries: NewestEntries) -> str:
    """Return the statement for the state, then the changed subjects, then the new rows."""
    name, columns = entries.table.name, entries.table.names
    padding = ", NULL" * (len(columns) - 3)
    last = f"COALESCE((SELECT max(rowid) FROM {name}), 0)"
    lag = f"CASE WHEN schema = {SCHEMA_VERSION} AND upto <= {last} THEN {last} - upto END"
    change = f"(SELECT max(number) FROM {entries.changes})"
    return (
        f"SELECT json_array({SCHEMA_VERSION}, {change}, {last}, {lag}), NULL, NULL{padding} "
        f"FROM {STATE} WHERE name = ?1 AND form = ?2 "
        f"UNION ALL SELECT * FROM (SELECT NULL, subject, tenant{padding} "
        f"FROM {entries.changes} WHERE number > ?3) "
        f"UNION ALL SELECT * FROM (SELECT {', '.join(columns)} FROM {name} "
        f"WHERE rowid > ?4 AND ?5 = {SCHEMA_VERSION} ORDER BY rowid LIMIT {CHUNK + 1})"
    )


def _tenants(tenant: str) -> tuple[str, ...]:
    return ("", tenant) if tenant else ("",)


def _fetched(connection: sqlite3.Connection, query: Query) -> list[Cells]:
    return connection.execute(query.sql, query.parameters).fetchall()


@contextlib.contextmanager
def _one_snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # some errors end it
            connection.execute("COMMIT")
