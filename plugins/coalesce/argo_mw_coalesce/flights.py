"""The layer: a map of flights, which callers join, leave, and start."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from functools import partial

from argo_mw import (
    EXCLUSIVE,
    MAX_AGE,
    REFRESH,
    Call,
    Context,
    DeadlineExceeded,
    Expired,
    Freshness,
    LayerActed,
    Next,
    Outcome,
    Stamped,
    within,
)
from argo_mw_coalesce.fleet import Fleet
from argo_mw_coalesce.flight import Flight

NAME = "coalesce"
_HOLDS = (Freshness.FRESH, Freshness.STALE)


class Coalesce:
    """Lets equal calls share one flight.

    A flight runs in a task of its own, in a clean context, until the operation's own timeout,
    whatever the deadline of the caller that started it. The last caller who leaves cancels it.
    A failure is shared for *share_failures* seconds, so that a queue of callers does not make
    a queue of failing calls.
    """

    def __init__(
        self, context: Context, *, share_failures: float, most: int, fleet: Fleet | None = None
    ) -> None:
        self._context = context
        self._fleet = fleet
        self._clock = context.clock
        self._share_failures = share_failures
        self._most = most
        self._flights: dict[str, Flight] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """The outcome of the flight for *call*, which is started if there is none."""
        joined = self.lookup(call)
        if joined is not None:
            return await joined
        if len(self._flights) >= self._most:
            return await call_next(call)
        return await self._start(flight_key(call), call, call_next).wait()

    def lookup(self, call: Call) -> Coroutine[object, object, Outcome] | None:
        """The wait for the flight that *call* may join, or ``None``."""
        flight = self._find(flight_key(call)) if self._flights else None
        if flight is None:
            return None
        self._tell(call)
        return flight.wait()

    def explain(self, call: Call) -> str:
        """Whether *call* would join a flight."""
        flight = self._find(flight_key(call))
        if flight is None:
            return "would start a flight"
        if flight.failed:
            return "would share the failure of a moment ago"
        return f"would join a flight that {flight.waiting} wait for"

    def _find(self, key: str) -> Flight | None:
        flight = self._flights.get(key)
        if flight is None:
            return None
        if not flight.landed:
            return flight if self._speaks_for_now(flight) else None
        if flight.failed and self._clock.monotonic() < flight.failed_until:
            return flight
        self._forget(key, flight)
        return None

    def _speaks_for_now(self, flight: Flight) -> bool:
        """Whether nothing that *flight* may have seen was invalidated since it began."""
        stamped = flight.stamped
        # A tag that another instance has just invalidated is not known until it is read again.
        return stamped is None or self._context.stamps.peek(stamped) in _HOLDS

    def _start(self, key: str, call: Call, call_next: Next) -> Flight:
        flight = self._flights[key] = Flight(partial(self._abandon, key))
        patience = call.operation.timeout
        if call.deadline is not None:
            patience = max(patience, call.deadline - self._clock.monotonic())
        # A clean context: what one caller has set, its tenant in a log, is not the others'.
        flight.task = self._context.tasks.spawn(
            f"{NAME}:{call.operation.name}",
            self._fly(key, flight, call, call_next, patience),
            context=contextvars.Context(),
        )
        return flight

    async def _fly(
        self, key: str, flight: Flight, call: Call, call_next: Next, patience: float
    ) -> None:
        deadline = self._clock.monotonic() + patience
        began = self._clock.time()
        try:
            flight.stamped = await self._context.stamps.load(call.tags)
            flying = self._among_the_fleet(call.until(deadline), began, flight.stamped)
            outcome = await within(call_next(flying), deadline, self._clock)
        except asyncio.CancelledError:
            self._forget(key, flight)
            flight.crash(_stopped(call))
            raise
        except Expired:
            self._fail(key, flight, _too_late(call, patience))
        except Exception as error:
            self._fail(key, flight, error)
        else:
            self._forget(key, flight)
            flight.land(outcome)

    def _among_the_fleet(self, call: Call, began: float, stamped: Stamped) -> Call:
        # Computing is cheap, and what it is made of is asked through flights of its own.
        if self._fleet is None or call.operation.kind == "compute":
            return call
        return call.extended({EXCLUSIVE: partial(self._fleet, began, stamped)})

    def _fail(self, key: str, flight: Flight, error: Exception) -> None:
        flight.failed_until = self._clock.monotonic() + self._share_failures
        flight.crash(error)
        if self._share_failures > 0:
            self._clock.call_at(flight.failed_until, lambda: self._forget(key, flight))
        else:
            self._forget(key, flight)

    def _abandon(self, key: str, flight: Flight) -> None:
        # Out of the map in the same step, so that nobody joins a flight that is being cancelled.
        self._forget(key, flight)
        if flight.task is not None:
            flight.task.cancel()

    def _forget(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _tell(self, call: Call) -> None:
        events = self._context.events
        if events.calls:
            events.emit(LayerActed(NAME, "joined", call))


def flight_key(call: Call) -> str:
    """What calls have in common that may share a flight: also how fresh an answer they want."""
    if not call.extensions:
        return call.key
    refresh = "!" if call.extensions.get(REFRESH) else ""
    max_age = call.extensions.get(MAX_AGE)
    return f"{call.key}{refresh}" if max_age is None else f"{call.key}{refresh}<{max_age}"


def _too_late(call: Call, patience: float) -> DeadlineExceeded:
    what = f"{call.operation.name} {call.subject}".strip()
    msg = f"no answer to {what} within {patience:.3g} s, the operation's timeout"
    return DeadlineExceeded(msg)


def _stopped(call: Call) -> DeadlineExceeded:
    msg = f"the call of {call.operation.name} was stopped by shutdown"
    return DeadlineExceeded(msg)
