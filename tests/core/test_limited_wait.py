"""The wait of a client with timeouts of its own: limited, until its own request is under way."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from argo_mw.plugin import (
    DeadlineExceeded,
    TimeLimitExceeded,
    UpstreamError,
    error_for_client,
    limited_wait,
)
from argo_mw.testing import FakeClock, settle


async def waiting(clock: FakeClock, seconds: float | None, *, lift: bool = False) -> None:
    """Wait for ever, at most for *seconds*; *lift* the limit first."""
    async with limited_wait(clock, seconds) as stop:
        if lift:
            stop()
        await asyncio.Event().wait()


async def test_the_block_ends_once_the_seconds_have_passed() -> None:
    clock = FakeClock()
    task = asyncio.create_task(waiting(clock, 2.0))
    await settle()
    await clock.advance(1.9)
    assert not task.done()
    await clock.advance(0.2)
    with pytest.raises(DeadlineExceeded, match="no answer within 2 s"):
        await task


@pytest.mark.parametrize(("seconds", "lift"), [(None, False), (2.0, True)])
async def test_without_a_limit_or_after_it_was_lifted_the_block_goes_on(
    seconds: float | None, lift: bool
) -> None:
    clock = FakeClock()
    task = asyncio.create_task(waiting(clock, seconds, lift=lift))
    await settle()
    await clock.advance(1_000.0)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_block_itself_stays_what_it_is() -> None:
    with pytest.raises(TimeoutError, match="its own") as caught:
        async with limited_wait(FakeClock(), 2.0):
            raise TimeoutError("its own")
    assert not isinstance(caught.value, DeadlineExceeded)


def test_a_client_gets_what_it_raised_itself_or_a_timeout_where_a_deadline_ended_it() -> None:
    failure = UpstreamError("down", upstream="a")
    assert failure is error_for_client(failure)
    failure.raised = ValueError("the client's")
    assert failure.raised is error_for_client(failure)
    failure.__cause__ = TimeLimitExceeded()
    assert isinstance(error_for_client(failure), DeadlineExceeded)


async def test_what_ends_the_limit_keeps_nothing_of_what_waited() -> None:
    kept: list[object] = []

    class Result:
        """What the task that waits returns."""

    async def wait() -> Result:
        async with limited_wait(FakeClock(), 600.0) as stop:
            kept.append(stop)
        return Result()

    result = weakref.ref(await asyncio.create_task(wait()))
    await settle()  # what has woken this test up holds the task
    gc.collect()
    assert result() is None
