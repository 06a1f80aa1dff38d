"""The questions that are asked of the tables, in both dialects.

Each names in its docstring the index that serves it; a test asks EXPLAIN whether that is so.
Readers see what is everybody's, tenant "", and what is their own.
"""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import frozen

from argo_mw_persist.schema import Dialect
from argo_mw_persist.sink import Query
from argo_mw_persist.tables import ANSWERS, SIGNALS, Cell, Table

_COLUMNS = ", ".join(f"s.{name}" for name in SIGNALS.names)
_VISIBLE = "s.tenant IN ('', ?)"

LoopAffinity = tuple[int, bytes]
Conditions = tuple[list[str], list[Cell]]


@frozen
class Filter:
    """Which signals are meant.

    Attributes:
        tenant: Who asks.
        symbol: Of this symbol only.
        since: Microseconds since the epoch: none older.
        until: Microseconds since the epoch: only older ones.
        outcome: Only those that ended so.
        active: Only those that are open, or closed.
        least_confidence: Only those at least so sure.
    """

    tenant: str = ""
    symbol: str | None = None
    since: int | None = None
    until: int | None = None
    outcome: str | None = None
    active: bool | None = None
    least_confidence: float | None = None

    def conditions(self) -> Conditions:
        """The conditions, and what is bound to them."""
        wanted: list[tuple[str, Cell]] = [
            ("s.symbol = ?", self.symbol),
            ("s.timestamp >= ?", self.since),
            ("s.timestamp < ?", self.until),
            ("s.outcome = ?", self.outcome),
            ("s.is_active = ?", self.active),
            ("s.confidence >= ?", self.least_confidence),
        ]
        return _visible(self.tenant, wanted)


@frozen
class AnswerFilter:
    """Which recorded answers are meant.

    Attributes:
        operation: To this operation.
        tenant: Who asks.
        subject: About this subject only.
        since: Microseconds since the epoch: none older.
        until: Microseconds since the epoch: only older ones.
    """

    operation: str
    tenant: str = ""
    subject: str | None = None
    since: int | None = None
    until: int | None = None

    def conditions(self) -> Conditions:
        """The conditions, and what is bound to them."""
        wanted: list[tuple[str, Cell]] = [
            ("s.operation = ?", self.operation),
            ("s.subject = ?", self.subject),
            ("s.timestamp >= ?", self.since),
            ("s.timestamp < ?", self.until),
        ]
        return _visible(self.tenant, wanted)


@frozen
class ChargeFilter:
    """Which lines of the ledger are meant.

    Attributes:
        tenant: Who asks.
        upstream: Of this upstream only.
        operation: For this operation only.
        since: Microseconds since the epoch: none older.
        until: Microseconds since the epoch: only older ones.
    """

    tenant: str = ""
    upstream: str | None = None
    operation: str | None = None
    since: int | None = None
    until: int | None = None

    def conditions(self) -> Conditions:
        """The conditions, and what is bound to them."""
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


def latest(symbol: str, limit: int, tenant: str) -> Query:
    """The newest signals of one symbol. Index: ``signals_by_symbol``."""
    sql = (
        f"SELECT {_COLUMNS} FROM signals s WHERE s.symbol = ? AND {_VISIBLE} "
        "ORDER BY s.timestamp DESC, s.confidence DESC LIMIT ?"
    )
    return Query(sql, (symbol, tenant, limit))


def latest_of_many(dialect: Dialect, symbols: Sequence[str], limit: int, tenant: str) -> Query:
    """The newest signals of each of many symbols, at once. Index: ``signals_by_symbol``."""
    newest = "ORDER BY s.timestamp DESC, s.confidence DESC LIMIT ?"
    if dialect == "sqlite":
        sql = (
            f"SELECT {_COLUMNS} FROM json_each(?) AS asked CROSS JOIN signals s ON s.rowid IN "
            "(SELECT s.rowid FROM signals s "
            f"WHERE s.symbol = asked.value AND {_VISIBLE} {newest}) "
            "ORDER BY s.symbol, s.timestamp DESC, s.confidence DESC"
        )
    else:
        sql = (
            f"SELECT {_COLUMNS} FROM json_array_elements_text(?::json) AS asked CROSS JOIN LATERAL "
            f"(SELECT {_COLUMNS} FROM signals s WHERE s.symbol = asked.value AND {_VISIBLE} "
            f"{newest}) s ORDER BY s.symbol, s.timestamp DESC, s.confidence DESC"
        )
    return Query(sql, (json.dumps(list(symbols)), tenant, limit))


def strongest(symbol: str, limit: int, tenant: str) -> Query:
    """The open signals of one symbol, the surest first. Index: ``signals_by_confidence``."""
    sql = (
        f"SELECT {_COLUMNS} FROM signals s WHERE s.symbol = ? AND s.is_active = ? AND {_VISIBLE} "
        "ORDER BY s.confidence DESC LIMIT ?"
    )
    return Query(sql, (symbol, True, tenant, limit))


def history(wanted: Filter, limit: int, after: LoopAffinity | None) -> Query:
    """Signals, newest first, from the one after *after* on.

    Keyset paging: a page costs the same wherever it is, and rows that are added meanwhile move
    none. Index: ``signals_by_symbol`` with a symbol, else ``signals_by_time``.
    """
    return _newest(SIGNALS, wanted.conditions(), limit, after)


def _newest(table: Table, found: Conditions, limit: int, after: LoopAffinity | None) -> Query:
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


def performance(dialect: Dialect, wanted: Filter) -> Query:
    """Closed signals counted, by voice, and under "" for the consensus itself.

    Gives name, closed, wins, and profit. A voice that said the opposite of the consensus earned
    the opposite. Index: ``signals_by_time``, or ``signals_by_symbol`` with a symbol.
    """
    conditions, cells = wanted.conditions()
    closed = " AND ".join([*conditions, "s.outcome IS NOT NULL"])
    if dialect == "sqlite":
        source = "signals s, json_each(s.voices) AS v"
        name, action = "json_extract(v.value, '$.name')", "json_extract(v.value, '$.action')"
    else:
        source = "signals s, json_array_elements(s.voices::json) AS v"
        name, action = "v.value ->> 'name'", "v.value ->> 'action'"
    earned = f"CASE WHEN {action} = s.action THEN s.profit ELSE -s.profit END"
    sql = (
        # An imported signal may say that it won and not how much.
        "SELECT '', count(*), COALESCE(sum(CASE WHEN "
        "COALESCE(s.profit > 0, s.outcome = 'win') THEN 1 ELSE 0 END), 0), "
        f"COALESCE(sum(s.profit), 0.0) FROM signals s WHERE {closed} "
        "UNION ALL "
        f"SELECT {name}, count(*), sum(CASE WHEN {earned} > 0 THEN 1 ELSE 0 END), "
        f"COALESCE(sum({earned}), 0.0) FROM {source} "
        f"WHERE {closed} AND s.action IN ('BUY', 'SELL') AND {action} IN ('BUY', 'SELL') "
        f"GROUP BY {name} ORDER BY 1"
    )
    return Query(sql, (*cells, *cells))


def answers(wanted: AnswerFilter, limit: int, after: LoopAffinity | None) -> Query:
    """Recorded answers to *operation*, newest first, from the one after *after* on.

    Index: ``answers_by_subject`` with a subject, else ``answers_by_time``.
    """
    return _newest(ANSWERS, wanted.conditions(), limit, after)


def ledger(wanted: ChargeFilter) -> Query:
    """What was spent, by upstream and operation, the dearest first.

    Gives upstream, operation, calls, failed, requests, tokens in and out, USD, how many calls
    have no known price, and mean seconds. Index: ``charges_by_time`` with a time.
    """
    conditions, cells = wanted.conditions()
    sql = (
        "SELECT s.upstream, s.operation, count(*), "
        "sum(CASE WHEN s.status = 'ok' THEN 0 ELSE 1 END), sum(s.requests), "
        "CAST(sum(s.tokens_in) AS bigint), CAST(sum(s.tokens_out) AS bigint), "
        "COALESCE(sum(s.usd), 0.0) AS spent, sum(CASE WHEN s.usd IS NULL THEN 1 ELSE 0 END), "
        f"avg(s.latency) FROM charges s WHERE {' AND '.join(conditions)} "
        "GROUP BY s.upstream, s.operation ORDER BY spent DESC, s.upstream, s.operation"
    )
    return Query(sql, cells)


def oldest(table: Table, before: bytes, limit: int) -> Query:
    """Identifiers below *before*, the oldest first, and the symbols of signals.

    Index: the one on identifiers, which are ordered by time.
    """
    wanted = "s.id, s.symbol" if table is SIGNALS else "s.id"
    sql = f"SELECT {wanted} FROM {table.name} s WHERE s.id < ? ORDER BY s.id LIMIT ?"
    return Query(sql, (before, limit))


def delete(table: Table, identifiers: Sequence[Cell]) -> Query:
    """Delete the rows with these identifiers."""
    these = ", ".join("?" * len(identifiers))
    return Query(f"DELETE FROM {table.name} WHERE id IN ({these})", identifiers)


def by_id(identifier: bytes, tenant: str) -> Query:
    """One signal."""
    sql = f"SELECT {_COLUMNS} FROM signals s WHERE s.id = ? AND {_VISIBLE}"
    return Query(sql, (identifier, tenant))


def close(
    identifier: bytes, outcome: str, exit_price: float | None, profit: float, timestamp: int
) -> Query:
    """Record how a signal ended."""
    sql = (
        "UPDATE signals SET outcome = ?, is_active = ?, exit_price = ?, profit = ?, "
        "exit_timestamp = ? WHERE id = ?"
    )
    return Query(sql, (outcome, False, exit_price, profit, timestamp, identifier))
