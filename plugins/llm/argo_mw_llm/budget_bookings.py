"""Bookings: what is counted of budgets in the shared store, and set right once a cost is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from attrs import frozen

from argo_mw.plugin import Call, Context, Count, SharedUnavailable
from argo_mw_llm.booked import Booked
from argo_mw_llm.budget_words import named
from argo_mw_llm.counters import DAY, NANO, Counter, Period, nanos_of

STOPPED = ":stopped"
"""What the name of a stop adds to that of its counter. A stop is a counter too: no store evicts
those, and a value may be gone tomorrow."""

_WHERE = "llm budgets"


@frozen
class Held:
    """Money that a call holds of a budget until its cost is known.

    Attributes:
        counter: Where it is counted.
        epoch: The epoch of the shared store that it was counted in.
        nanos: How much, in billionths of a US dollar.
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
        """What its budget is called in messages."""
        return named(self.counter.budgets[0])


class Bookings:
    """What is counted of the budgets of one application.

    Args:
        context: The shared store, the time, and where to raise an alarm.

    Attributes:
        found: What each counter held when this process last asked for it.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self.found = Booked()
        # Stops that the shared store has not been told of yet: this process keeps to them already.
        self._stopped_here: set[str] = set()

    async def add(self, period: Period, nanos: int, *, limit: int | None = None) -> Count | None:
        """Add *nanos* to the counter of *period*, up to *limit*; ``None`` if the store lost it."""
        return await self._context.epochs.add(
            period.key, nanos, began=period.began, limit=limit, ttl=period.ttl
        )

    async def spent(self, period: Period) -> int | None:
        """Return what the counter of *period* holds, or ``None`` if the store has lost that."""
        return await self._context.epochs.count(period.key, began=period.began)

    async def is_stopped(self, period: Period) -> bool:
        """Return whether the budgets that are counted in *period* are stopped."""
        if period.key in self._stopped_here:
            return True
        stop = await self._context.shared.get(period.key + STOPPED)
        return stop is not None and int(stop) > 0

    async def settle(self, call: Call, held: Sequence[Held], usd: float | None) -> None:
        """Replace what was *held* by what *call* did cost; an unknown cost stays held.

        Never raises: an answer that was paid for must not be lost for its own bill.
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
                # What is held stays held: too much, never too little.
                msg = f"a cost could not be booked on the {one.name}: {error}"
                self._context.warn_once(_WHERE, msg)

    async def give_back(self, held: Sequence[Held]) -> None:
        """Give back what was *held* for a request that was never sent."""
        if held:
            await asyncio.wait(self.give_back_soon(held))

    def give_back_soon(
        self, held: Sequence[Held], nanos: int | None = None
    ) -> list[asyncio.Future[None]]:
        """Give *held* back, or *nanos* of it, where no caller's leaving reaches it."""
        return [
            self._context.give_backs.start(
                "llm:budgets",
                partial(self._reduce, one, one.nanos if nanos is None else nanos),
                seconds=DAY,
            )
            for one in held
        ]

    async def _reduce(self, one: Held, nanos: int) -> None:
        """Take *nanos* off the counter, unless the store has forgotten what it counted."""
        key, ttl, epochs = one.period.key, one.period.ttl, self._context.epochs
        count = await epochs.take_off(key, nanos, epoch=one.epoch, ttl=ttl)
        if count is None:
            return
        if count.value < 0:
            # The counter alone was lost, such as by eviction: there is nothing to give back to.
            await epochs.take_off(key, count.value, epoch=one.epoch, ttl=ttl)
        self.found.correct(key, max(0, count.value))

    def _alarm(self, call: Call, one: Held, nanos: int) -> None:
        """Say that a bill is higher than what was held for it, and stop its budget here at once."""
        why = (
            f"{call.label} cost ${nanos / NANO:.6f}, more than the ${one.nanos / NANO:.6f} that "
            f"it could cost at most; the {one.name} "
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
        """Book a bill of *nanos* and its stop, again and again while the store is away.

        Once more even where the store may have done so: too much, never too little.
        """
        return self._context.give_backs.start(
            "llm:budgets", partial(self._book, one, nanos), seconds=DAY, idempotent=True
        )

    async def _book(self, one: Held, nanos: int) -> None:
        period = one.period
        if period.key in self._stopped_here:
            # Before the bill: a call that is let pass after it finds the stop.
            await self._context.shared.add(period.key + STOPPED, ttl=period.ttl)
            self._stopped_here.discard(period.key)
        count = await self.add(period, nanos - one.nanos)
        if count is not None:
            self.found.correct(period.key, count.value)
