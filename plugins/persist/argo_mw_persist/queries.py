"""The queries of this plugin's own tables, and of any table by retention.

The docstring of each names the index that it uses; a test checks that with EXPLAIN. Readers see the
rows that all tenants share, of tenant "", and those of their own tenant.
"""

# Names of tables and columns are those of declared tables; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import frozen

from argo_mw.plugin import Cell, micros
from argo_mw_persist.sink import Query
from argo_mw_persist.tables import ANSWERS, Dialect, Table

_VISIBLE = "s.tenant IN ('', ?)"

_DAY = 86_400.0

PageKey = tuple[int, bytes]
"""The timestamp and identifier of the last row of a page."""
Conditions = tuple[list[str], list[Cell]]


@frozen
class AnswerFilter:
    """Which recorded answers to return.

    Attributes:
        operation: Only answers to this operation.
        tenant: The tenant that asks.
        subject: Only answers about this subject.
        since: Only answers from this time on, in microseconds since the epoch.
        until: Only answers from before this time, in microseconds since the epoch.
    """

    operation: str
    tenant: str = ""
    subject: str | None = None
    since: int | None = None
    until: int | None = None

    def conditions(self) -> Conditions:
        """Return the conditions, and what is bound to them."""
        wanted: list[tuple[str, Cell]] = [
            ("s.operation = ?", self.operation),
            ("s.subject = ?", self.subject),
            ("s.timestamp >= ?", self.since),
            ("s.timestamp < ?", self.until),
        ]
        return _visible(self.tenant, wanted)


@frozen
class ChargeFilter:
    """Which charges to add up.

    Attributes:
        tenant: The tenant that asks.
        upstream: Only charges of this upstream.
        operation: Only charges for this operation.
        since: Only charges from this time on, in microseconds since the epoch.
        until: Only charges from before this time, in microseconds since the epoch.
    """

    tenant: str = ""
    upstream: str | None = None
    operation: str | None = None
    since: int | None = None
    until: int | None = None

    def conditions(self) -> Conditions:
        """Return the conditions, and what is bound to them."""
        wanted: list[tuple[str, Cell]] = [
            ("s.upstream = ?", self.upstream),
            ("s.operation = ?", self.operation),
            ("s.timestamp >= ?", self.since),
            ("s.timestamp < ?", self.until),
        ]
        return _visible(self.tenant, wanted)


def _visible(tenant: str, wanted: Sequence[tuple[str, Cell]]) -> Conditions:
    used = [(text, cell) for text, cell in wanted if cell is not None]
    return [_VISIBLE, *(text for text, _ in used)], [tenant, *(cell for _, cell in used)]


def _newest(table: Table, found: Conditions, limit: int, after: PageKey | None) -> Query:
    conditions, cells = found
    if after is not None:
        conditions = [*conditions, "s.timestamp <= ?", "(s.timestamp, s.id) < (?, ?)"]
        cells = [*cells, after[0], *after]
    columns = ", ".join(f"s.{name}" for name in table.names)
    sql = (
        f"SELECT {columns} FROM {table.name} s WHERE {' AND '.join(conditions)} "
        "ORDER BY s.timestamp DESC, s.id DESC LIMIT ?"
    )
    return Query(sql, (*cells, limit))


def answers(wanted: AnswerFilter, limit: int, after: PageKey | None) -> Query:
    """Return recorded answers, newest first, starting behind *after*.

    Index: ``answers_by_subject`` with a subject, else ``answers_by_time``.
    """
    return _newest(ANSWERS, wanted.conditions(), limit, after)


def spending(wanted: ChargeFilter) -> Query:
    """Return what was spent, by upstream and operation, the most expensive first.

    The columns are upstream, operation, calls, failed, requests, tokens in and out, USD, the number
    of calls without a known price, and mean seconds. Index: ``charges_by_time`` with a time.
    """
    conditions, cells = wanted.conditions()
    sql = (
        "SELECT s.upstream, s.operation, count(*), "
        "sum(CASE WHEN s.status = 'ok' THEN 0 ELSE 1 END), sum(s.requests), "
        "CAST(sum(s.tokens_in) AS bigint), CAST(sum(s.tokens_out) AS bigint), "
        "COALESCE(sum(s.usd), 0.0) AS spent, sum(CASE WHEN s.usd IS NULL THEN 1 ELSE 0 END), "
        f"avg(s.latency) FROM charges s WHERE {' AND '.join(conditions)} AND s.layer = '' "
        "GROUP BY s.upstream, s.operation ORDER BY spent DESC, s.upstream, s.operation"
    )
    return Query(sql, cells)


def cost_totals(dialect: Dialect, since: float) -> Query:
    """Return the charges of each UTC day from that of *since* on, added up.

    The columns are those of :class:`~argo_mw.plugin.CostTotals`. Index: ``charges_by_time``.
    """
    day = (
        "date(s.timestamp / 1000000, 'unixepoch')"
        if dialect == "sqlite"
        else "to_char(to_timestamp(s.timestamp / 1000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    )
    error = (
        "CASE WHEN s.layer = '' AND s.status = 'ok' AND NOT s.estimated AND s.tokens_in > 0 "
        "AND s.tokens_expected > 0 THEN "
        "CAST(abs(s.tokens_expected - s.tokens_in) AS double precision) / s.tokens_in END"
    )
    sql = (
        f"SELECT {day}, s.tenant, s.operation, s.subject, s.upstream, s.model, s.layer, count(*), "
        "sum(CASE WHEN s.status IN ('ok', 'saved') THEN 0 ELSE 1 END), "
        "sum(CASE WHEN s.estimated THEN 1 ELSE 0 END), "
        "sum(CASE WHEN s.usd IS NULL THEN 1 ELSE 0 END), sum(s.requests), "
        "CAST(sum(s.tokens_in) AS bigint), CAST(sum(s.tokens_cached) AS bigint), "
        "CAST(sum(s.tokens_out) AS bigint), COALESCE(sum(s.usd), 0.0), sum(s.latency), "
        f"COALESCE(sum({error}), 0.0), count({error}) "
        "FROM charges s WHERE s.timestamp >= ? GROUP BY 1, 2, 3, 4, 5, 6, 7 ORDER BY 1"
    )
    return Query(sql, (micros(since // _DAY * _DAY),))


def oldest(table: Table, before: bytes, limit: int) -> Query:
    """Return identifiers below *before*, oldest first, with the cells that decide the row's tags.

    Index: the one on identifiers, which are ordered by time.
    """
    wanted = ", ".join(f"s.{name}" for name in ("id", *table.tag_columns))
    sql = f"SELECT {wanted} FROM {table.name} s WHERE s.id < ? ORDER BY s.id LIMIT ?"
    return Query(sql, (before, limit))


def delete(table: Table, identifiers: Sequence[Cell]) -> Query:
    """Delete the rows with these identifiers."""
    these = ", ".join("?" * len(identifiers))
    return Query(f"DELETE FROM {table.name} WHERE id IN ({these})", identifiers)


def newest(
    dialect: Dialect, table: Table, subjects: Sequence[str], tenant: str, *, shared: bool = True
) -> Query:
    """Return the newest row of each of *subjects*, from a table that declares ``newest``.

    Index: one of the table's own by subject, order, and tenant.

    Args:
        dialect: The SQL dialect.
        table: The table.
        subjects: The subjects.
        tenant: The tenant whose rows are read.
        shared: Whether rows that all tenants share count too.
    """
    assert table.newest is not None
    subject, owner = table.newest.subject, table.newest.tenant
    whose = "('', ?)" if shared else "(?)"
    order = ", ".join(f"{column} DESC" for column in table.newest.order)
    columns = ", ".join(f"s.{name}" for name in table.names)
    wanted = f"{subject} = asked.value AND {owner} IN {whose} ORDER BY {order}, {owner}"
    if dialect == "sqlite":
        sql = (
            f"SELECT {columns} FROM json_each(?) AS asked CROSS JOIN {table.name} AS s ON "
            f"s.rowid = (SELECT rowid FROM {table.name} WHERE {wanted}, rowid LIMIT 1)"
        )
    else:
        sql = (
            f"SELECT {columns} FROM json_array_elements_text(?::json) AS asked CROSS JOIN LATERAL "
            f"(SELECT * FROM {table.name} WHERE {wanted} LIMIT 1) AS s"
        )
    return Query(sql, (json.dumps(list(subjects)), tenant))
