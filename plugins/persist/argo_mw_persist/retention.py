"""Retention: rows that have been kept long enough are deleted, a few at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import cast

from attrs import field, frozen, validators

from argo_mw.plugin import Clock, TimeOrderedIds
from argo_mw_persist import partitions, queries
from argo_mw_persist.errors import SinkUnavailable
from argo_mw_persist.partitions import Partition
from argo_mw_persist.schema import Schema
from argo_mw_persist.sink import HasClock, KeepsPartitions, Sink
from argo_mw_persist.tables import Cells, Table

_DAY = 86_400.0
_PAUSE = 0.05
_MAX_AHEAD = 300.0
"""Seconds by which clocks may differ without a warning."""


@frozen
class RetentionOptions:
    """For how long rows are kept, counted from when they were recorded.

    Attributes:
        days: Days for which the rows of a table are kept, by the table's name; rows of other tables
            are kept for ever. If PostgreSQL has the table in partitions, a row is deleted together
            with the newest of its partition, at most about a twelfth of these days later.
        interval: Seconds between two rounds, and until the first.
        max_batch: The most rows that one statement deletes; batches wait for such a statement.
    """

    days: Mapping[str, float] = field(
        factory=dict, validator=validators.deep_mapping(value_validator=validators.gt(0))
    )
    interval: float = field(default=3600.0, validator=validators.gt(0))
    max_batch: int = field(default=500, validator=[validators.ge(1), validators.le(10_000)])


KEEP_FOREVER = RetentionOptions()
"""Nothing is deleted."""


class Retention:
    """Deletes rows that have been kept long enough.

    Identifiers are ordered by time, so each table's own index on them finds the oldest rows.
    Statements are small, and there is a pause after each, in which batches are written.

    Args:
        sink: Where rows are kept.
        options: For how long they are kept.
        schema: The tables that the options may name.
        clock: The clock.
        invalidate: Awaited with the tags of deleted rows.
        on_warning: Called with one line when a round was not finished.

    Raises:
        ConfigError: The options name a table that no plugin declares.
    """

    def __init__(
        self,
        sink: Sink,
        options: RetentionOptions,
        *,
        schema: Schema,
        clock: Clock,
        invalidate: Callable[[Iterable[str]], Awaitable[object]],
        on_warning: Callable[[str], None],
    ) -> None:
        self._sink = sink
        self._options = options
        self._days = [(schema[name], days) for name, days in options.days.items()]
        self._clock = clock
        self._invalidate = invalidate
        self._on_warning = on_warning

    async def run(self) -> None:
        """Prune every so often, until cancelled."""
        while True:
            await self._clock.sleep(self._options.interval)
            try:
                await self.prune()
            except SinkUnavailable as error:
                self._on_warning(f"old rows are kept until the next round: {error}")

    async def prune(self) -> Mapping[str, int]:
        """Delete old rows now, and return how many of each table.

        Raises:
            SinkUnavailable: The sink cannot be changed now; part of the work may be done.
        """
        now = await self._now()
        return {
            table.name: await self._prune(table, now - days * _DAY) for table, days in self._days
        }

    async def _now(self) -> float:
        """Return the time by which rows are judged: the earlier one, if two clocks disagree.

        A process whose clock is ahead would delete rows that are young, also those of others.
        """
        own = self._clock.time()
        other = await self._sink.now() if isinstance(self._sink, HasClock) else None
        if other is None:
            return own
        if own - other > _MAX_AHEAD:
            self._on_warning(
                f"this machine's clock is {(own - other) / _DAY:.3g} days ahead of the database's, "
                "so old rows are judged by the database's; set the clock that is wrong"
            )
        return min(own, other)

    async def _prune(self, table: Table, before: float) -> int:
        """Delete the rows of *table* from before *before*, in seconds since the epoch."""
        sink = self._sink
        divided = await sink.partitions(table) if isinstance(sink, KeepsPartitions) else None
        if divided is None or not isinstance(sink, KeepsPartitions):
            return await self._delete(table, before)
        old = [one for one in divided if one.end and one.end <= TimeOrderedIds.first_at(before)]
        dropped = [await self._drop(sink, table, one) for one in old]
        # If dropping a partition fails for longer than its width, rows are deleted one by one.
        width = partitions.width(self._options.days[table.name])
        deleted = await self._delete(table, before - width)
        await sink.extend(
            table
        )  # last, since it may fail for long without a partition being missed
        return sum(dropped) + deleted

    async def _drop(self, sink: KeepsPartitions, table: Table, one: Partition) -> int:
        found = await sink.drop(table, one)
        if found is None:
            self._on_warning(f"{one.name} is in use, so its old rows are kept until the next round")
            return 0
        step = self._options.max_batch
        for start in range(0, len(found), step):
            await self._invalidate(_tags(table, found[start : start + step]))
        return sum(cast("int", count) for count, *_ in found)

    async def _delete(self, table: Table, before: float) -> int:
        border, limit = TimeOrderedIds.first_at(before), self._options.max_batch
        deleted = 0
        while True:
            found = await self._sink.read(queries.oldest(table, border, limit))
            if found:
                deleted += await self._sink.change(queries.delete(table, [row[0] for row in found]))
                await self._invalidate(_tags(table, found))
            if len(found) < limit:
                return deleted
            await self._clock.sleep(_PAUSE)


def _tags(table: Table, found: Iterable[Cells]) -> set[str]:
    return {tag for _, *cells in found for tag in table.tags(*cells)}
