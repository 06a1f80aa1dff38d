"""The tables, and the entries that are written to them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from attrs import define, field, frozen

Cell = str | int | float | bytes | bool | None
Row = tuple[Cell, ...]
Type = Literal["id", "text", "real", "int", "flag", "bytes"]


@frozen
class Column:
    """A column: its name and what it holds."""

    name: str
    type: Type


@frozen(eq=False)
class Table:
    """A table whose first column is the identifier of its rows.

    Attributes:
        name: Its name in every sink.
        columns: Its columns, in the order of a row's cells.
    """

    name: str
    columns: Sequence[Column]
    names: tuple[str, ...] = field(init=False)

    @names.default
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _table(name: str, **columns: Type) -> Table:
    return Table(name, tuple(Column(n, t) for n, t in columns.items()))


SIGNALS = _table(
    "signals",
    id="id",
    tenant="text",
    symbol="text",
    action="text",
    confidence="real",
    timestamp="int",
    price="real",
    upstream="text",
    outcome="text",
    is_active="flag",
    exit_price="real",
    profit="real",
    exit_timestamp="int",
    voices="text",
    detail="text",
)
ANSWERS = _table(
    "answers",
    id="id",
    tenant="text",
    operation="text",
    key="text",
    subject="text",
    upstream="text",
    timestamp="int",
    value="bytes",
)
CHARGES = _table(
    "charges",
    id="id",
    tenant="text",
    operation="text",
    subject="text",
    upstream="text",
    timestamp="int",
    status="text",
    latency="real",
    usd="real",
    tokens_in="int",
    tokens_out="int",
    requests="real",
    estimated="flag",
)
DEAD_LETTERS = _table(
    "dead_letters", id="id", source="text", reason="text", timestamp="int", content="text"
)
TABLES = (SIGNALS, ANSWERS, CHARGES, DEAD_LETTERS)


@define(eq=False)
class Entry:
    """A row on its way to its table; never changed, but a frozen class takes twice as long to make.

    Attributes:
        table: Where it belongs.
        row: Its cells, the identifier first.
        tags: What changes when it is committed.
    """

    table: Table
    row: Row
    tags: tuple[str, ...] = ()


def by_table(entries: Sequence[Entry]) -> dict[Table, list[Row]]:
    """The rows of *entries*, apart by table, each in order."""
    groups: dict[Table, list[Row]] = {}
    for entry in entries:
        groups.setdefault(entry.table, []).append(entry.row)
    return groups
