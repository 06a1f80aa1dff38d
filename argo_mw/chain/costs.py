"""Costs: the one recorder of what requests cost, in front of the tables that plugins bring."""

from __future__ import annotations

from collections.abc import Sequence

from argo_mw.base.log import Log
from argo_mw.chain.cost_sharing import SharedTotals
from argo_mw.model.charge import Charge, CostTable, CostTotals
from argo_mw.model.events import Event, Events, RequestSettled

log = Log("argo_mw")


class Costs:
    """Records each charge in one table, and adds up those of all tables.

    Without a table nothing is recorded, and requests emit nothing for it.

    Args:
        events: Where settled requests are announced.
    """

    kinds = (RequestSettled,)
    priced_only = True

    def __init__(self, events: Events) -> None:
        self._events = events
        self._shared: SharedTotals | None = None
        self._tables: tuple[CostTable, ...] = ()

    @property
    def recorded(self) -> bool:
        """Whether there is a table."""
        return bool(self._tables)

    def share(self, totals: SharedTotals) -> None:
        """Let other machines see the totals of this one, and see theirs."""
        self._shared = totals

    def use(self, tables: Sequence[CostTable]) -> None:
        """Record in *tables* from now on: in the first that takes a charge."""
        self._tables = tuple(sorted(tables, key=lambda table: table.stand_in))
        self._events.remove(self)
        if self._tables:
            self._events.add(self)

    def __call__(self, event: Event) -> None:
        """Record what a request cost. Never raises: an observer that does is removed."""
        if isinstance(event, RequestSettled) and event.priced:
            for charge in event.charges:
                self.record(charge)

    def record(self, charge: Charge) -> None:
        """Keep *charge* in the first table that takes it; log it where none does."""
        for table in self._tables:
            try:
                table.record(charge)
            except Exception as error:
                refused = error
            else:
                if self._shared is not None:
                    self._shared.changed(self._tables)
                return
        if self._tables:
            log.error("no table took a charge, so it is only here", charge=charge, error=refused)

    async def totals(self, since: float) -> list[CostTotals]:
        """Return the totals of this machine's tables, from the UTC day of *since* on.

        Tables that all machines write to count as this machine's.
        """
        return [one for table in self._tables for one in await table.totals(since)]

    async def totals_elsewhere(self, since: float) -> list[CostTotals]:
        """Return the totals of the tables of other machines, from the UTC day of *since* on.

        Raises:
            SharedUnavailable: The shared store is away.
        """
        return [] if self._shared is None else await self._shared.others(self._tables, since)

    async def aclose(self) -> None:
        """Share the last totals."""
        if self._shared is not None:
            await self._shared.aclose(self._tables)
