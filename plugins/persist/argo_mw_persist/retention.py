"""Retention: rows that have been kept long enough go away, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping

from attrs import field, frozen, validators

from argo_mw.plugin import Clock
from argo_mw_persist import ids, queries
from argo_mw_persist.errors import SinkUnavailable
from argo_mw_persist.records import signal_tags
from argo_mw_persist.sink import Sink
from argo_mw_persist.tables import ANSWERS, CHARGES, DEAD_LETTERS, SIGNALS, Row, Table

_DAY = 86_400.0
_PAUSE = 0.05

_days = validators.optional(validators.gt(0))


@frozen
class RetentionOptions:
    """For how many days rows are kept, counted from when they were recorded; ``None``: for ever.

    Attributes:
        signals: Days for which signals are kept, closed or not.
        answers: Days for which answers are kept.
        charges: Days for which lines of the ledger are kept.
        dead_letters: Days for which rows are kept that their table refused.
        every: Seconds between two rounds; the first is as long after the start.
        rows: Rows that one statement deletes at most; a batch waits for no more than that.
    """

    signals: float | None = field(default=None, validator=_days)
    answers: float | None = field(default=None, validator=_days)
    charges: float | None = field(default=None, validator=_days)
    dead_letters: float | None = field(default=None, validator=_days)
    every: float = field(default=3600.0, validator=validators.gt(0))
    rows: int = field(default=500, validator=[validators.ge(1), validators.le(10_000)])

    @property
    def days(self) -> dict[Table, float]:
        """The tables that are not kept for ever, and for how many days their rows are."""
        all_of_them = {
            SIGNALS: self.signals,
            ANSWERS: self.answers,
            CHARGES: self.charges,
            DEAD_LETTERS: self.dead_letters,
        }
        return {table: days for table, days in all_of_them.items() if days is not None}


class Retention:
    """Deletes what has been kept long enough.

    Identifiers are ordered by time, so each table's own index on them finds the oldest rows.
    Statements are small, and there is a pause after each, in which batches are written.

    Args:
        sink: Where rows are kept.
        options: For how long.
        clock: What time it is.
        changed: Awaited with the tags of what was deleted.
        said: Told in one line why a round was not finished.
    """

    def __init__(
        self,
        sink: Sink,
        options: RetentionOptions,
        *,
        clock: Clock,
        changed: Callable[[Iterable[str]], Awaitable[object]],
        said: Callable[[str], None],
    ) -> None:
        self._sink = sink
        self._options = options
        self._clock = clock
        self._changed = changed
        self._said = said

    async def run(self) -> None:
        """Prune every so often, until cancelled."""
        while True:
            await self._clock.sleep(self._options.every)
            try:
                await self.prune()
            except SinkUnavailable as error:
                self._said(f"old rows are kept until the next round: {error}")

    async def prune(self) -> Mapping[str, int]:
        """Delete what is old now; how many rows of each table that were.

        Raises:
            SinkUnavailable: It cannot be changed now; part of the work may be done.
        """
        now = self._clock.time()
        return {
            table.name: await self._prune(table, ids.first_at(now - days * _DAY))
            for table, days in self._options.days.items()
        }

    async def _prune(self, table: Table, before: bytes) -> int:
        deleted = 0
        while True:
            found = await self._sink.read(queries.oldest(table, before, self._options.rows))
            if found:
                deleted += await self._sink.change(queries.delete(table, [row[0] for row in found]))
                await self._changed(_tags(table, found))
            if len(found) < self._options.rows:
                return deleted
            await self._clock.sleep(_PAUSE)


def _tags(table: Table, found: Iterable[Row]) -> set[str]:
    if table is SIGNALS:
        return {tag for _, symbol in found for tag in signal_tags(str(symbol), closed=True)}
    return {table.name}
