"""A fake clock moves only when a test advances it, and runs timers in order."""

from __future__ import annotations

import asyncio

import pytest

from argo_mw.base.clock import Clock
from argo_mw.testing.clock import FakeClock, settle


async def test_a_sleeper_wakes_once_its_time_has_passed():
    clock: Clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await settle()
    assert not sleeper.done()
    await clock.advance(9.9)
    assert not sleeper.done()
    await clock.advance(0.1)
    assert sleeper.done()


async def test_sleepers_wake_in_order_and_go_on_before_the_next_wakes():
    clock = FakeClock(start=0)
    seen = []

    async def worker(name, naps):
        for nap in naps:
            await clock.sleep(nap)
            seen.append((name, clock.monotonic()))

    tasks = [
        asyncio.ensure_future(worker(name, naps)) for name, naps in [("a", [3, 3]), ("b", [2, 2])]
    ]
    await clock.advance(6)
    assert seen == [("b", 2), ("a", 3), ("b", 4), ("a", 6)]
    await asyncio.gather(*tasks)


async def test_timers_run_when_due_unless_cancelled():
    clock = FakeClock()
    seen = []
    clock.call_at(clock.monotonic() + 1, lambda: seen.append("kept"))
    clock.call_at(clock.monotonic() + 1, lambda: seen.append("cancelled")).cancel()
    clock.call_at(clock.monotonic() - 1, lambda: seen.append("at once"))
    await settle()
    assert seen == ["at once"]
    await clock.advance(1)
    assert seen == ["at once", "kept"]
    assert clock.pending == 0


async def test_a_cancelled_sleeper_leaves_nothing_behind():
    clock = FakeClock()
    sleeper = asyncio.ensure_future(clock.sleep(10))
    await settle()
    assert clock.pending == 1
    sleeper.cancel()
    await settle()
    assert clock.pending == 0
    await clock.advance(20)


async def test_both_clocks_advance_and_the_wall_clock_can_be_set_alone():
    clock = FakeClock(wall=1_000.0, start=5.0)
    await clock.advance(2.5)
    assert (clock.monotonic(), clock.time()) == (7.5, 1_002.5)
    clock.set_wall(500.0)
    assert (clock.monotonic(), clock.time()) == (7.5, 500.0)


async def test_a_timers_error_is_raised_by_advance():
    clock = FakeClock()
    clock.call_at(clock.monotonic() + 1, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await clock.advance(1)


async def test_advancing_by_a_negative_time_is_refused():
    with pytest.raises(ValueError, match="set_wall"):
        await FakeClock().advance(-1)


async def test_a_task_that_never_waits_is_reported():
    async def spin():
        while True:
            await asyncio.sleep(0)

    spinner = asyncio.ensure_future(spin())
    with pytest.raises(RuntimeError, match="never waits"):
        await settle()
    spinner.cancel()


async def test_a_sleep_of_zero_seconds_yields_once():
    await FakeClock().sleep(0)
