"""Bisection: the rows that a sink refuses are found and kept apart, the rest is written."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field

from argo_mw_persist.errors import RowsRefused
from argo_mw_persist.records import dead_letter
from argo_mw_persist.sink import Sink
from argo_mw_persist.tables import Entry


@define
class Written:
    """What became of a batch.

    Attributes:
        where: Where its sound rows are safe.
        refused: Why each refused entry was.
    """

    where: str = "sink"
    refused: dict[Entry, RowsRefused] = field(factory=dict)


async def write_sound(sink: Sink, entries: Sequence[Entry], *, now: float) -> Written:
    """Write every entry that *sink* takes; put each of the others into its dead-letter table.

    Args:
        sink: Where to.
        entries: What.
        now: Seconds since the epoch.

    Raises:
        SinkUnavailable: It cannot write now. Some entries may be kept already; writing all of
            them again is safe.
    """
    written = Written()
    await _halve(sink, entries, written)
    if written.refused:
        letters = [dead_letter(e, str(error), now=now) for e, error in written.refused.items()]
        await sink.write(letters)
    return written


async def _halve(sink: Sink, entries: Sequence[Entry], written: Written) -> None:
    try:
        written.where = await sink.write(entries)
    except RowsRefused as error:
        if len(entries) == 1:
            written.refused[entries[0]] = error
            return
        middle = len(entries) // 2
        await _halve(sink, entries[:middle], written)
        await _halve(sink, entries[middle:], written)
