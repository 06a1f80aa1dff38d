"""Patience: a loop that was held up has not looked at what has come meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from argo_mw.testing import settle
from argo_mw_redis.patience import patience


@pytest.fixture
async def hold_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass in which the loop does nothing."""
    loop = asyncio.get_running_loop()
    real, gone = loop.time, [0.0]
    monkeypatch.setattr(loop, "time", lambda: real() + gone[0])

    def hold_up(seconds: float) -> None:
        gone[0] += seconds

    return hold_up


async def waiting(answered: asyncio.Event) -> str:
    async with patience(100.0):
        await answered.wait()
    return "answered"


async def test_who_does_not_answer_in_time_is_waited_for_no_longer(hold_up) -> None:
    task = asyncio.create_task(waiting(asyncio.Event()))
    await settle()
    hold_up(101.0)
    with pytest.raises(TimeoutError):
        await task


async def test_what_came_while_the_loop_was_held_up_counts(hold_up) -> None:
    answered = asyncio.Event()
    task = asyncio.create_task(waiting(answered))
    await settle()
    hold_up(500.0)
    await settle()
    answered.set()
    assert "answered" == await task


async def test_patience_is_doubled_only_once(hold_up) -> None:
    task = asyncio.create_task(waiting(asyncio.Event()))
    await settle()
    hold_up(500.0)
    await settle()
    assert not task.done()
    hold_up(500.0)
    with pytest.raises(TimeoutError):
        await task


async def test_nothing_is_left_behind(hold_up) -> None:
    answered = asyncio.Event()
    answered.set()
    assert "answered" == await waiting(answered)
    hold_up(500.0)
    await settle()
