"""Dead letters: the rows that a sink refuses are found by bisection and kept apart."""

from __future__ import annotations

import json
from collections.abc import Sequence

from attrs import define, field

from argo_mw.plugin import Row, micros
from argo_mw_persist.errors import RowsRefused
from argo_mw_persist.records import new_id
from argo_mw_persist.schema import Schema
from argo_mw_persist.sink import Sink
from argo_mw_persist.tables import DEAD_LETTERS


@define
class Written:
    """The result of writing a batch.

    Attributes:
        where: Where its accepted rows are safe.
        refused: Why each refused row was refused.
    """

    where: str = "sink"
    refused: dict[Row, RowsRefused] = field(factory=dict)


async def write_sound(sink: Sink, schema: Schema, rows: Sequence[Row], *, now: float) -> Written:
    """Write every row that *sink* accepts; put the others into the table of dead letters.

    Args:
        sink: The sink.
        schema: The tables that the sink was opened with.
        rows: The rows.
        now: Seconds since the epoch.

    Raises:
        SinkUnavailable: It cannot write now. Some rows may be kept already; writing all of them
            again is safe.
    """
    written = Written()
    await _halve(sink, rows, written)
    if written.refused:
        letters = [
            dead_letter(row, schema[row.table].names, str(error), now=now)
            for row, error in written.refused.items()
        ]
        await sink.write(letters)
    return written


async def _halve(sink: Sink, rows: Sequence[Row], written: Written) -> None:
    try:
        written.where = await sink.write(rows)
    except RowsRefused as error:
        if len(rows) == 1:
            written.refused[rows[0]] = error
            return
        middle = len(rows) // 2
        await _halve(sink, rows[:middle], written)
        await _halve(sink, rows[middle:], written)


def dead_letter(row: Row, names: Sequence[str], reason: str, *, now: float) -> Row:
    """Return the row that keeps the cells of *row* and why its table refused it."""
    content = json.dumps(
        dict(zip(names, row.cells, strict=False)), default=_printable, ensure_ascii=True
    )
    identifier = row.cells[0] if isinstance(row.cells[0], bytes) else new_id()
    # Text that the row's table refused, such as half a surrogate pair, must be accepted here.
    printable = reason.encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
    cells = (identifier, row.table, printable, micros(now), content)
    return Row(DEAD_LETTERS.name, cells)


def _printable(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)
