"""Timers that are due at about the same time share one of the loop's."""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_mw.base.timers import Timers
from argo_mw.plugin import SystemClock


class Loop:
    """Of an event loop, its time and its timers, which ring when they are told to."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], object], contextvars.Context]] = []
        self.failures: list[dict[str, object]] = []

    def time(self) -> float:
        return time.monotonic()

    def call_at(
        self, when: float, callback: Callable[..., object], *args: object, context: object
    ) -> None:
        assert isinstance(context, contextvars.Context)
        self.timers.append((when, lambda: callback(*args), context))

    def call_exception_handler(self, told: dict[str, object]) -> None:
        self.failures.append(told)

    def ring(self) -> None:
        timers, self.timers = self.timers, []
        for _, callback, context in timers:
            context.run(callback)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def timers(loop: Loop) -> Timers:
    return Timers(loop)  # type: ignore[arg-type]


def test_timers_due_at_about_the_same_time_ring_in_their_order(loop: Loop, timers: Timers) -> None:
    rung: list[int] = []
    when = time.monotonic() + 30.0
    for number in range(100):
        timers.call_at(when + number / 1e6, lambda number=number: rung.append(number))
    assert len(loop.timers) <= 2
    loop.ring()
    assert list(range(100)) == rung


def test_a_cancelled_timer_does_not_ring(loop: Loop, timers: Timers) -> None:
    rung: list[str] = []
    when = time.monotonic() + 1.0
    timers.call_at(when, lambda: rung.append("kept"))
    cancelled = timers.call_at(when, lambda: rung.append("cancelled"))
    cancelled.cancel()
    cancelled.cancel()
    loop.ring()
    assert ["kept"] == rung


def test_a_timer_may_cancel_the_next_one(loop: Loop, timers: Timers) -> None:
    rung: list[str] = []
    when = time.monotonic() + 1.0
    first = timers.call_at(when, lambda: None)
    second = timers.call_at(when, lambda: rung.append("second"))
    first.callback = second.cancel
    loop.ring()
    assert [] == rung


def test_a_callback_that_fails_is_reported_and_stops_no_other(loop: Loop, timers: Timers) -> None:
    rung: list[str] = []
    when = time.monotonic() + 1.0
    timers.call_at(when, lambda: 1 / 0)
    timers.call_at(when, lambda: rung.append("next"))
    loop.ring()
    assert ["next"] == rung
    assert [ZeroDivisionError] == [type(told["exception"]) for told in loop.failures]


def test_callbacks_run_in_nobodys_context(loop: Loop, timers: Timers) -> None:
    tenant = contextvars.ContextVar("tenant", default="nobody")
    tenant.set("somebody")
    seen: list[str] = []
    timers.call_at(time.monotonic() + 1.0, lambda: seen.append(tenant.get()))
    loop.ring()
    assert ["nobody"] == seen


@given(st.floats(min_value=-10.0, max_value=1e6))
def test_none_rings_early_or_later_than_promised(delay: float) -> None:
    loop = Loop()
    when = time.monotonic() + delay
    Timers(loop).call_at(when, lambda: None)  # type: ignore[arg-type]
    ((due, _, _),) = loop.timers
    assert when - 1e-4 <= due <= when + max(0.002, 0.016 * delay) + 1e-4


def test_what_is_due_at_no_time_never_rings(loop: Loop, timers: Timers) -> None:
    timers.call_at(math.inf, pytest.fail).cancel()
    timers.call_at(1e308, pytest.fail).cancel()
    assert [] == loop.timers


async def test_the_systems_clock_rings_on_the_loop_it_runs_on() -> None:
    clock = SystemClock()
    rung = asyncio.Event()
    clock.call_at(clock.monotonic(), rung.set)
    await rung.wait()


def test_the_systems_clock_serves_one_loop_after_another() -> None:
    clock = SystemClock()

    async def ring() -> bool:
        rung = asyncio.Event()
        clock.call_at(clock.monotonic(), rung.set)
        return await rung.wait()

    assert [True, True] == [asyncio.run(ring()), asyncio.run(ring())]
