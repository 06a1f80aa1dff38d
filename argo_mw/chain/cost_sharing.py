"""The totals of each machine's tables of costs, side by side in the shared store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from math import isfinite
from typing import get_type_hints

from attrs import astuple

from argo_mw.base.clock import Clock
from argo_mw.base.deadline import TimeLimitExceeded, fail_at
from argo_mw.base.errors import Closed, SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.base.tasks import Tasks
from argo_mw.model.charge import CostTable, CostTotals
from argo_mw.store.codec import Codecs
from argo_mw.store.protocol import Shared

log = Log("argo_mw")

_PREFIX = "argo:costs:"
_DAY = 86_400.0
_TTL = 400 * _DAY
_SHARE_EVERY = 10.0
_TIMEOUT = 1.0
_FIELDS = tuple(get_type_hints(CostTotals).values())


class SharedTotals:
    """Shares the totals of this machine's tables, and reads those of the others.

    Totals are worked out of the table anew each time, so sharing them may be repeated or lost and
    nothing is counted twice.
    """

    def __init__(self, shared: Shared, codecs: Codecs, clock: Clock, tasks: Tasks) -> None:
        self._shared = shared
        self._codecs = codecs
        self._clock = clock
        self._tasks = tasks
        self._due: float | None = None
        self._behind = False

    def changed(self, tables: Sequence[CostTable]) -> None:
        """Share the totals of *tables* soon, unless that was done a moment ago."""
        self._behind = True
        now = self._clock.monotonic()
        if self._due is None:
            self._due = now + _SHARE_EVERY
        elif now >= self._due:
            self._due = now + _SHARE_EVERY
            with suppress(Closed):  # what is recorded from then on is shared at the next start
                self._tasks.spawn("costs:share", self._share(tables))

    async def aclose(self, tables: Sequence[CostTable]) -> None:
        """Share what has not been shared."""
        if self._behind:
            await self._share(tables)

    async def others(self, tables: Sequence[CostTable], since: float) -> list[CostTotals]:
        """Return the totals of tables other than *tables*, from the UTC day of *since* on.

        Raises:
            SharedUnavailable: The store is away.
        """
        own = {await table.identity() for table in tables}
        first = f"{datetime.fromtimestamp(since, UTC):%Y-%m-%d}"
        keys = []
        for key in await self._shared.scan(_PREFIX):
            day, _, identity = key.removeprefix(_PREFIX).partition(":")
            if day >= first and identity not in own:
                keys.append(key)
        found: list[CostTotals] = []
        for key, data in zip(keys, await self._shared.get_many(keys), strict=True):
            rows = None if data is None else await self._codecs.decode_off_loop(data, key)
            if isinstance(rows, list):
                read = [_totals_in(row) for row in rows]
                found += [one for one in read if one is not None]
                if None in read:
                    log.warning("costs of another machine cannot be read: update both", key=key)
        return found

    async def _share(self, tables: Sequence[CostTable]) -> None:
        self._behind = False
        for table in tables:
            try:
                await self._share_one(table)
            except (SharedUnavailable, TimeLimitExceeded):
                self._behind = True
            except Exception as error:
                log.warning("other machines do not see the costs of this one", error=error)

    async def _share_one(self, table: CostTable) -> None:
        identity = await table.identity()
        if not identity:
            return
        days: dict[str, list[list[object]]] = {}
        for one in await table.totals(self._clock.time() - _DAY):
            days.setdefault(one.day, []).append(list(astuple(one)))
        data = {}
        for day, rows in days.items():
            key = f"{_PREFIX}{day}:{identity}"
            data[key] = self._codecs.encode(rows, key)
        if data:
            sharing = self._shared.set_many(data, ttl=_TTL)
            await fail_at(sharing, self._clock.monotonic() + _TIMEOUT, self._clock)


def _totals_in(row: object) -> CostTotals | None:
    """Return the totals in *row*, or ``None`` if this version would not have written it."""
    if not isinstance(row, list) or len(row) != len(_FIELDS):
        return None
    fit = all(_fits(value, kind) for value, kind in zip(row, _FIELDS, strict=True))
    return CostTotals(*row) if fit else None


def _fits(value: object, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and isfinite(value)
    return isinstance(value, kind) and (kind is str or value >= 0)  # type: ignore[operator]
