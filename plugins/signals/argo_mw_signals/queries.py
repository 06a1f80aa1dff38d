"""The queries on the table of signals, in both dialects.

Each names in its docstring the index that serves it; a test asks EXPLAIN whether that is so.
Readers see their own signals and those shared by all tenants, whose tenant is "".
"""

# Names of tables and columns are this package's own; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from attrs import frozen

from argo_mw.plugin import Cell
from argo_mw_signals.recorded import COLUMNS

_COLUMNS = ", ".join(f"s.{name}" for name in COLUMNS)
_VISIBLE = "s.tenant IN ('', ?)"

PageKey = tuple[int, bytes]
"""The timestamp and identifier of the last signal of a page."""


class SignalQuery(NamedTuple):
    """A statement and what is bound to its ``?``."""

    sql: str
    parameters: Sequence[Cell] = ()


@frozen
class SignalFilter:
    """A choice of recorded signals.

    Attributes:
        tenant: The tenant that asks.
        symbol: Only those of this symbol.
        since: Microseconds since the epoch: none older.
        until: Microseconds since the epoch: only older ones.
        outcome: Only those that ended so.
        active: Only those that are open, or closed.
        min_confidence: Only those at least so sure.
    """

    tenant: str = ""
    symbol: str | None = None
    since: int | None = None
    until: int | None = None
    outcome: str | None = None
    active: bool | None = None
    min_confidence: float | None = None

    def conditions(self) -> tuple[list[str], list[Cell]]:
        """Return the conditions, and what is bound to them."""
        wanted: list[tuple[str, Cell]] = [
            ("s.symbol = ?", self.symbol),
            ("s.timestamp >= ?", self.since),
            ("s.timestamp < ?", self.until),
            ("s.outcome = ?", self.outcome),
            ("s.is_active = ?", self.active),
            ("s.confidence >= ?", self.min_confidence),
        ]
        used = [(text, cell) for text, cell in wanted if cell is not None]
        return [_VISIBLE, *(text for text, _ in used)], [self.tenant, *(cell for _, cell in used)]


def latest(symbol: str, limit: int, tenant: str) -> SignalQuery:
    """Return the newest signals of one symbol. Index: ``signals_by_symbol``."""
    sql = (
        f"SELECT {_COLUMNS} FROM signals s WHERE s.symbol = ? AND {_VISIBLE} "
        "ORDER BY s.timestamp DESC, s.confidence DESC LIMIT ?"
    )
    return SignalQuery(sql, (symbol, tenant, limit))


def latest_of_many(dialect: str, symbols: Sequence[str], limit: int, tenant: str) -> SignalQuery:
    """Return the newest signals of each of many symbols, at once. Index: ``signals_by_symbol``."""
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
    return SignalQuery(sql, (json.dumps(list(symbols)), tenant, limit))


def strongest(symbol: str, limit: int, tenant: str) -> SignalQuery:
    """Return the open signals of one symbol, the most confident first.

    Index: ``signals_by_confidence``.
    """
    sql = (
        f"SELECT {_COLUMNS} FROM signals s WHERE s.symbol = ? AND s.is_active = ? AND {_VISIBLE} "
        "ORDER BY s.confidence DESC LIMIT ?"
    )
    return SignalQuery(sql, (symbol, True, tenant, limit))


def history(wanted: SignalFilter, limit: int, after: PageKey | None) -> SignalQuery:
    """Return signals, newest first, from the one after *after* on.

    Keyset paging: a page costs the same wherever it is, and rows that are added meanwhile move
    none. Index: ``signals_by_symbol`` with a symbol, else ``signals_by_time``.
    """
    conditions, cells = wanted.conditions()
    if after is not None:
        conditions = [*conditions, "s.timestamp <= ?", "(s.timestamp, s.id) < (?, ?)"]
        cells = [*cells, after[0], *after]
    sql = (
        f"SELECT {_COLUMNS} FROM signals s WHERE {' AND '.join(conditions)} "
        "ORDER BY s.timestamp DESC, s.id DESC LIMIT ?"
    )
    return SignalQuery(sql, (*cells, limit))


def performance(dialect: str, wanted: SignalFilter) -> SignalQuery:
    """Count closed signals by voice, and under "" those of the consensus itself.

    Returns name, closed, wins, and profit. A voice that voted against the consensus earned the
    opposite. Index: ``signals_by_time``, or ``signals_by_symbol`` with a symbol.
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
        # An imported signal may have an outcome and no profit.
        "SELECT '', count(*), COALESCE(sum(CASE WHEN "
        "COALESCE(s.profit > 0, s.outcome = 'win') THEN 1 ELSE 0 END), 0), "
        f"COALESCE(sum(s.profit), 0.0) FROM signals s WHERE {closed} "
        "UNION ALL "
        f"SELECT {name}, count(*), sum(CASE WHEN {earned} > 0 THEN 1 ELSE 0 END), "
        f"COALESCE(sum({earned}), 0.0) FROM {source} "
        f"WHERE {closed} AND s.action IN ('BUY', 'SELL') AND {action} IN ('BUY', 'SELL') "
        f"GROUP BY {name} ORDER BY 1"
    )
    return SignalQuery(sql, (*cells, *cells))


def by_id(identifier: bytes, tenant: str) -> SignalQuery:
    """Return one signal."""
    sql = f"SELECT {_COLUMNS} FROM signals s WHERE s.id = ? AND {_VISIBLE}"
    return SignalQuery(sql, (identifier, tenant))


def close(
    identifier: bytes, outcome: str, exit_price: float | None, profit: float, timestamp: int
) -> SignalQuery:
    """Record how a signal ended."""
    sql = (
        "UPDATE signals SET outcome = ?, is_active = ?, exit_price = ?, profit = ?, "
        "exit_timestamp = ? WHERE id = ?"
    )
    return SignalQuery(sql, (outcome, False, exit_price, profit, timestamp, identifier))
