"""Coalescing (singleflight): equal calls that are asked at the same time share one flight."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial

from argo_mw.plugin import (
    ALONE,
    ENDS_WITH_CALLERS,
    HANDOVER,
    OWN_FAILURES,
    ArgoError,
    Call,
    Context,
    DeadlineExceeded,
    Handover,
    Middleware,
    Next,
    Outcome,
    TimeLimitExceeded,
    fail_at,
    is_failure,
)
from argo_mw.store import Freshness
from argo_mw_coalesce.flight import Flight
from argo_mw_coalesce.load_start import LOAD_START, LoadStart

NAME = "coalesce"
_STILL_VALID = (Freshness.FRESH, Freshness.STALE)


class Coalesce:
    """Lets equal calls share one flight.

    A flight runs in a task of its own, in a copy of the context of the caller that started it,
    until the operation's own timeout, whatever that caller's deadline. If its last caller is
    cancelled, so is the flight. If that caller's time is up, the flight goes on: later callers may
    join it, and its answer can be kept.

    Args:
        context: The application's context.
        failure_ttl: Seconds for which a failure is shared, so that a queue of callers does not
            make a queue of failing calls.
        max_flights: The most simultaneous flights; further calls are passed on alone.
    """

    def __init__(self, context: Context, *, failure_ttl: float, max_flights: int) -> None:
        self._context = context
        self._clock = context.clock
        self._announce = context.announce
        self._failure_ttl = failure_ttl
        self._max_flights = max_flights
        self._flights: dict[str, Flight] = {}

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        """Return the outcome of the flight for *call*, which is started if there is none."""
        if _is_alone(call):
            return await call_next(call)
        key = flight_key(call)
        flight = await self._current(key) if key in self._flights else None
        if flight is not None:
            return await self._wait(flight, call)
        if len(self._flights) >= self._max_flights:
            return await call_next(call)
        return await _wait_in(self._start(key, call, call_next), call)

    def may_find(self, call: Call) -> bool:
        """Return whether *call* may join a flight: whether there is any, which is rare for gets."""
        return bool(self._flights)

    async def find(self, call: Call) -> Outcome | None:
        """Return the outcome of the flight that *call* may join, or ``None``."""
        # Flights are looked up when this is awaited: an outer layer may have waited before that.
        if not self._flights or _is_alone(call):
            return None
        flight = await self._current(flight_key(call))
        return None if flight is None else await self._wait(flight, call)

    def take_over(self, previous: Middleware) -> None:
        """Share the flights of *previous*, whose calls may go on to start some."""
        if isinstance(previous, Coalesce):
            self._flights = previous._flights

    def explain(self, call: Call) -> str:
        """Describe the flight that *call* would join, if there is one."""
        if _is_alone(call):
            return "would pass it on alone, as its caller asks for"
        flight = self._joinable(flight_key(call))
        versions = None if flight is None else flight.tag_snapshot
        outdated = versions and self._context.tag_versions.peek(versions) is Freshness.MISS
        if flight is None or outdated:
            return "would start a flight"
        if flight.failed:
            return "would share the failure of a moment ago"
        return f"would join a flight that {flight.waiting} wait for"

    def _wait(self, flight: Flight, call: Call) -> Coroutine[object, object, Outcome]:
        events = self._context.events
        if events.calls and events.wants_of(call):
            self._announce(NAME, "joined", call)
        return _wait_in(flight, call)

    async def _current(self, key: str) -> Flight | None:
        """Return the flight that a call with *key* may join, if there is one.

        A flight is not joined if one of its tags was invalidated since it began.
        """
        outdated: Flight | None = None
        while (flight := self._joinable(key)) is not None and flight is not outdated:
            versions = flight.tag_snapshot
            if versions is None or self._context.tag_versions.peek(versions) in _STILL_VALID:
                return flight
            # Another process has changed a version, or may have without notice: ask the store.
            if await self._context.tag_versions.check(versions) not in _STILL_VALID:
                outdated = flight
            elif self._flights.get(key) is flight or (flight.landed and not flight.failed):
                return flight  # unless its last caller has left meanwhile
        return None

    def _joinable(self, key: str) -> Flight | None:
        flight = self._flights.get(key)
        if flight is None or not self._context.tag_versions.banned <= flight.banned:
            return None  # a layer that it may have passed was killed since
        if not flight.landed:
            return flight
        if flight.failed and self._clock.monotonic() < flight.failed_until:
            return flight
        self._forget(key, flight)
        return None

    def _start(self, key: str, call: Call, call_next: Next) -> Flight:
        flight = self._flights[key] = Flight(
            partial(self._abandon, key), self._context.tag_versions.banned
        )
        timeout = call.operation.timeout
        if call.deadline is not None:
            timeout = max(timeout, call.deadline - self._clock.monotonic())
        context = self._context.caller_context()
        flight.task = self._context.tasks.spawn(
            f"{NAME}:{call.operation.name}",
            self._fly(key, flight, call, call_next, timeout),
            context=context,
            of_call=True,
            on_end=partial(self._on_end, flight, call),
        )
        # Announced here, not by the task: callers may join before that has begun to run.
        context.run(self._announce, NAME, "flight began", call)
        return flight

    def _on_end(self, flight: Flight, call: Call, task: asyncio.Task[None]) -> None:
        self._context.claims.leave(call)
        if not flight.landed:  # cancelled before its first step
            self._announce(NAME, "flight failed", call, "cancelled")

    async def _fly(
        self, key: str, flight: Flight, call: Call, call_next: Next, timeout: float
    ) -> None:
        deadline = self._clock.monotonic() + timeout
        began = self._clock.time()
        try:
            flight.tag_snapshot = await self._context.tag_versions.load(call.tags)
            handover = Handover()
            start = LoadStart(began, flight.tag_snapshot, handover)
            flying = call.extended({LOAD_START: start, HANDOVER: handover}, deadline=deadline)
            outcome = await fail_at(call_next(flying), deadline, self._clock)
        except TimeLimitExceeded:
            self._fail(key, flight, call, _too_late(call, timeout))
        except Exception as error:
            self._fail(key, flight, call, error)
        except BaseException as error:
            failed = is_failure(error)
            self._announce(NAME, "flight failed", call, "cancelled")
            self._forget(key, flight)
            flight.fail(_cancelled_itself(call, error) if failed else _stopped(call))
            if not failed:
                raise
        else:
            self._announce(NAME, "flight landed", call)
            self._forget(key, flight)
            flight.land(outcome)

    def _fail(self, key: str, flight: Flight, call: Call, error: Exception) -> None:
        self._announce(NAME, "flight failed", call, str(error))
        failure_ttl = 0.0 if call.extensions.get(OWN_FAILURES) is True else self._failure_ttl
        flight.failed_until = self._clock.monotonic() + failure_ttl
        flight.fail(error)
        if failure_ttl > 0:
            self._clock.call_at(flight.failed_until, lambda: self._forget(key, flight))
        else:
            self._forget(key, flight)

    def _abandon(self, key: str, flight: Flight) -> None:
        # Forgotten in the same step, so that no caller joins a flight that is being cancelled.
        self._forget(key, flight)
        if flight.task is not None:
            flight.task.cancel()

    def _forget(self, key: str, flight: Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _wait_in(flight: Flight, call: Call) -> Coroutine[object, object, Outcome]:
    """Return the wait of the caller that asks *call*."""
    return flight.wait(ends_with_caller=call.extensions.get(ENDS_WITH_CALLERS) is True)


def _is_alone(call: Call) -> bool:
    return call.extensions.get(ALONE) is True


def flight_key(call: Call) -> str:
    """Return the key under which calls share a flight: the call's own, and its demands.

    A refresh must not join a flight that a cache may answer. A call whose answer is to be kept must
    not join a flight whose answer is not kept.
    """
    if not call.refresh and call.max_age is None and call.store:
        return call.key
    demands = f"{'!' if call.refresh else ''}{'' if call.store else '-'}"
    return f"{call.key}{demands}" if call.max_age is None else f"{call.key}{demands}<{call.max_age}"


def _too_late(call: Call, timeout: float) -> DeadlineExceeded:
    msg = f"no answer to {call.label} within {timeout:.3g} s, the operation's timeout"
    return DeadlineExceeded(msg)


def _stopped(call: Call) -> DeadlineExceeded:
    return DeadlineExceeded(f"the call of {call.operation.name} was stopped by shutdown")


def _cancelled_itself(call: Call, error: BaseException) -> ArgoError:
    raised = type(error).__name__
    return ArgoError(f"the load of {call.label} raised {raised}, and nobody cancelled it")
