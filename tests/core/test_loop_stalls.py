"""Time limits that discount the time in which the event loop was stalled."""

from __future__ import annotations

import asyncio
import math

import pytest

from argo_mw.plugin import StallAwareLimit, stall_aware_timeout
from argo_mw.testing import FakeClock, settle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def waiting(answered: asyncio.Event, clock: FakeClock) -> str:
    async with stall_aware_timeout(100.0, clock):
        await answered.wait()
    return "answered"


async def stall(clock: FakeClock, seconds: float) -> None:
    clock.stall(seconds)
    await clock.advance(0.0)


async def test_a_block_that_takes_too_long_is_cancelled(clock: FakeClock) -> None:
    task = asyncio.create_task(waiting(asyncio.Event(), clock))
    await clock.advance(99.0)
    assert not task.done()
    await clock.advance(1.0)
    with pytest.raises(TimeoutError):
        await task
    assert 0 == clock.pending


async def test_a_timer_that_fires_a_little_late_still_ends_the_block(clock: FakeClock) -> None:
    task = asyncio.create_task(waiting(asyncio.Event(), clock))
    await settle()
    await stall(clock, 109.0)
    with pytest.raises(TimeoutError):
        await task


async def test_an_answer_that_arrived_while_the_loop_was_stalled_counts(clock: FakeClock) -> None:
    answered = asyncio.Event()
    task = asyncio.create_task(waiting(answered, clock))
    await settle()
    await stall(clock, 500.0)
    answered.set()
    assert "answered" == await task
    assert 0 == clock.pending


async def test_the_timeout_starts_again_once_only(clock: FakeClock) -> None:
    task = asyncio.create_task(waiting(asyncio.Event(), clock))
    await settle()
    await stall(clock, 500.0)
    await clock.advance(99.0)
    assert not task.done()
    await stall(clock, 500.0)
    with pytest.raises(TimeoutError):
        await task


async def test_a_block_that_ends_in_time_leaves_no_timer(clock: FakeClock) -> None:
    answered = asyncio.Event()
    answered.set()
    assert "answered" == await waiting(answered, clock)
    assert 0 == clock.pending


async def test_a_cancellation_from_elsewhere_stays_one(clock: FakeClock) -> None:
    task = asyncio.create_task(waiting(asyncio.Event(), clock))
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert 0 == clock.pending


def test_a_limit_passes_when_its_timer_fires_on_time() -> None:
    limit = StallAwareLimit(started=10.0, due=20.0)
    assert not limit.restart_if_stalled(20.9)
    assert 20.0 == limit.due


def test_a_limit_starts_again_after_each_stall_with_all_its_time() -> None:
    limit = StallAwareLimit(started=10.0, due=20.0)
    assert limit.restart_if_stalled(30.0)
    assert 40.0 == limit.due
    assert limit.restart_if_stalled(50.0)
    assert 80.0 == limit.due


def test_a_short_limit_allows_for_the_imprecision_of_timers() -> None:
    limit = StallAwareLimit(started=10.0, due=10.01, min_stall=0.05)
    assert not limit.restart_if_stalled(10.05)
    assert limit.restart_if_stalled(10.07)


def test_a_limit_without_an_end_is_never_restarted() -> None:
    assert not StallAwareLimit(started=10.0, due=math.inf).restart_if_stalled(1e9)
