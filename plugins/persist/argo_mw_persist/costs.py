"""The table of costs: charges are queued like all rows, and added up in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from argo_mw.plugin import Charge, CostTotals, Row, micros
from argo_mw_persist import queries
from argo_mw_persist.records import new_id
from argo_mw_persist.sink import Query
from argo_mw_persist.store import StoreInUse
from argo_mw_persist.tables import CHARGES, COST_SOURCE, Cells
from argo_mw_persist.writer import Receipt


class ChargeTable:
    """The table ``charges``, as the core's recorder of costs uses it.

    Args:
        store: Returns the store in use.
        on_lost: Called with one line for each charge that was queued and could not be written.
    """

    stand_in = False

    def __init__(self, store: StoreInUse, on_lost: Callable[[str], None]) -> None:
        self._store = store
        self._on_lost = on_lost

    def record(self, charge: Charge) -> None:
        """Queue *charge* without waiting, so that no answer is late because of its cost.

        Raises:
            QueueFull: The queue is full, its reserve included.
            Closed: The store is shutting down.
        """
        receipt = self._store().writer.offer(charge_row(charge))
        receipt.add_done_callback(lambda done: self._report(charge, done))

    async def totals(self, since: float) -> Sequence[CostTotals]:
        """Return the recorded totals from the UTC day of *since* on."""
        store = self._store()
        await store.flush()
        rows = await store.read(queries.cost_totals(store.sink.dialect, since))
        return [_totals(row) for row in rows]

    async def identity(self) -> str:
        """Return the name of this database if only this machine writes to it, else ""."""
        store = self._store()
        if store.sink.dialect == "postgresql":
            return ""
        found = await self._identity()
        if not found:
            # Two processes may insert a name at once; from then on the lower one counts.
            await store.sink.write([Row(COST_SOURCE.name, (new_id(),))])
            found = await self._identity()
        return found

    async def _identity(self) -> str:
        rows = await self._store().read(Query(f"SELECT id FROM {COST_SOURCE.name} ORDER BY id"))  # noqa: S608
        return new_id.text(cast(bytes, rows[0][0])) if rows else ""

    def _report(self, charge: Charge, receipt: Receipt) -> None:
        error = None if receipt.cancelled() else receipt.exception()
        if error is not None:
            self._on_lost(f"not recorded, so it is only here: {charge}: {error}")


def charge_row(charge: Charge, identifier: bytes | None = None) -> Row:
    """Return the row of *charge*, with an identifier of 16 bytes that grows with time."""
    cost = charge.cost
    cells = (
        identifier or new_id(),
        charge.tenant,
        charge.operation,
        charge.subject,
        charge.upstream,
        micros(charge.at),
        charge.status,
        charge.latency,
        charge.layer,
        cost.usd,
        cost.tokens_in,
        cost.tokens_out,
        cost.requests,
        cost.estimated,
        cost.model,
        cost.tokens_cached,
        cost.tokens_written,
        cost.tokens_expected,
    )
    return Row(CHARGES.name, cells, ("charges",))


def _totals(row: Cells) -> CostTotals:
    day, tenant, operation, subject, upstream, model, layer = map(str, row[:7])
    calls, failed, estimated, unpriced = cast("tuple[int, int, int, int]", row[7:11])
    requests, tokens_in, tokens_cached, tokens_out = cast("tuple[float, int, int, int]", row[11:15])
    usd, latency, estimate_error, compared = cast("tuple[float, float, float, int]", row[15:])
    return CostTotals(
        day,
        tenant,
        operation,
        subject,
        upstream,
        model,
        layer,
        calls,
        failed,
        estimated,
        unpriced,
        float(requests),
        tokens_in,
        tokens_cached,
        tokens_out,
        float(usd),
        float(latency),
        float(estimate_error),
        compared,
    )
