"""Bookings: the counters of budgets in the shared store, corrected once a cost is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from attrs import frozen

from argo_mw.plugin import Call, Context, Count, SharedUnavailable
from argo_mw_llm.budgets.counters import DAY, NANO, Counter, Period, nanos_of
from argo_mw_llm.budgets.readings import BudgetReadings
from argo_mw_llm.budgets.words import named

STOPPED = ":stopped"
"""The suffix of a stop's name behind its counter's. A stop is a counter too, since stores evict
values but no counters."""

_WHERE = "llm budgets"


@frozen
class Held:
    """Money that a call holds of a budget until its cost is known.

    Attributes:
        counter: The counter that includes it.
        epoch: The epoch of the shared store in which it was counted.
        nanos: The amount, in billionths of a US dollar.
    """

    counter: Counter
    epoch: int
    nanos: int

    @property
    def period(self) -> Period:
        """The period in which it is counted."""
        return self.counter.period

    @property
    def name(self) -> str:
        """The name of its budget in messages."""
        return named(self.counter.budgets[0])


class Bookings:
    """The counters of the budgets of one application.

    Args:
        context: The application's context.

    Attributes:
        found: The value of each counter when this process last asked for it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.found = BudgetReadings()
        # Stops that are not in the shared store yet; this process observes them already.
        self._stopped_here: set[str] = set()

    async def add(self, period: Period, nanos: int, *, limit: int | None = None) -> Count | None:
        """Add *nanos* to the counter of *period*, up to *limit*; ``None`` if the count was lost."""
        return await self._context.epochs.add(
            period.key, nanos, began=period.began, limit=limit, ttl=period.ttl
        )

    async def spent(self, period: Period) -> int | None:
        """Return the value of the counter of *period*, or ``None`` if the count was lost."""
        return await self._context.epochs.count(period.key, began=period.began)

    async def is_stopped(self, period: Period) -> bool:
        """Return whether the budgets of the counter of *period* are stopped."""
        if period.key in self._stopped_here:
            return True
        stop = await self._context.shared.get(period.key + STOPPED)
        return stop is not None and int(stop) > 0

    async def settle(self, call: Call, held: Sequence[Held], usd: float | None) -> None:
        """Replace what was *held* by the cost of *call*; if that is unknown, it stays held.

        Never raises, so that an answer that was paid for is not lost because of its bill.
        """
        for one in held:
            nanos = one.nanos if usd is None else nanos_of(usd)
            try:
                if nanos > one.nanos:
                    self._alarm(call, one, nanos)
                    await asyncio.wait([self._book_soon(one, nanos)])
                elif nanos < one.nanos:
                    await self._reduce(one, one.nanos - nanos)
            except SharedUnavailable as error:  # a bill does not raise it, but is booked later
                if not error.uncertain:
                    self.give_back_soon([one], one.nanos - nanos)
            except Exception as error:
                # It stays held, which counts too much, never too little.
                msg = f"a cost could not be booked on the {one.name}: {error}"
                self._context.warn_once(_WHERE, msg)

    async def give_back(self, held: Sequence[Held]) -> None:
        """Give back what was *held* for a request that was never sent."""
        if held:
            await asyncio.wait(self.give_back_soon(held))

    def give_back_soon(
        self, held: Sequence[Held], nanos: int | None = None
    ) -> list[asyncio.Future[None]]:
        """Give *held* back, or *nanos* of it, even if the caller is cancelled."""
        return [
            self._context.give_backs.start(
                "llm:budgets",
                partial(self._reduce, one, one.nanos if nanos is None else nanos),
                seconds=DAY,
            )
            for one in held
        ]

    async def _reduce(self, one: Held, nanos: int) -> None:
        """Subtract *nanos* from the counter, unless the store has lost its count."""
        key, ttl, epochs = one.period.key, one.period.ttl, self._context.epochs
        count = await epochs.take_off(key, nanos, epoch=one.epoch, ttl=ttl)
        if count is None:
            return
        if count.value < 0:
            # Only this counter was lost, such as by eviction, so there is nothing to subtract from.
            await epochs.take_off(key, count.value, epoch=one.epoch, ttl=ttl)
        self.found.correct(key, max(0, count.value))

    def _alarm(self, call: Call, one: Held, nanos: int) -> None:
        """Warn that a cost exceeds what was held for it, and stop its budget in this process."""
        why = (
            f"{call.label} cost ${nanos / NANO:.6f}, more than its upper bound of "
            f"${one.nanos / NANO:.6f}; the {one.name} "
        )
        key, stops = one.period.key, one.counter.refusing is not None
        if stops:
            why += "is stopped until `argo-mw budgets --lift`, or until it begins anew"
            self._stopped_here.add(key)
            self.found.note_stop(key, True)
        else:
            why += "only warns"
        self._context.announce("llm", "overrun", call, why)
        self._context.warn_once(_WHERE, why)

    def _book_soon(self, one: Held, nanos: int) -> asyncio.Future[None]:
        """Book a cost of *nanos* and its stop, trying again while the store cannot be reached.

        Repeated even if the store may have done it: that counts too much, never too little.
        """
        return self._context.give_backs.start(
            "llm:budgets", partial(self._book, one, nanos), seconds=DAY, idempotent=True
        )

    async def _book(self, one: Held, nanos: int) -> None:
        period = one.period
        if period.key in self._stopped_here:
            # Before the cost, so that each call that passes after that finds the stop.
            await self._context.shared.add(period.key + STOPPED, ttl=period.ttl)
            self._stopped_here.discard(period.key)
        count = await self.add(period, nanos - one.nanos)
        if count is not None:
            self.found.correct(period.key, count.value)
