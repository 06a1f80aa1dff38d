"""Background tasks and the context that they run in."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar, copy_context

import pytest

from argo_mw.plugin import Tasks

caller: ContextVar[str] = ContextVar("caller", default="nobody")


async def of_whom() -> str:
    return caller.get()


async def test_what_is_part_of_a_call_runs_in_a_copy_of_its_caller_s_context():
    tasks = Tasks()
    caller.set("somebody")
    assert "somebody" == await tasks.spawn("load", of_whom(), of_call=True)
    await tasks.aclose()


async def test_what_outlives_a_call_runs_in_an_empty_context():
    """Or it would stay in the trace of the call that happened to start it."""
    tasks = Tasks()
    caller.set("somebody")
    assert "nobody" == await tasks.spawn("save regularly", of_whom())
    await tasks.aclose()


@pytest.mark.parametrize("begun", [True, False])
async def test_the_end_of_a_task_calls_what_its_owner_gave_in_its_context(begun: bool):
    tasks, told = Tasks(), []
    caller.set("somebody")
    context = copy_context()
    caller.set("somebody else")
    task = tasks.spawn(
        "load",
        asyncio.Event().wait(),
        context=context,
        of_call=True,
        on_end=lambda task: told.append((task, caller.get(), len(tasks))),
    )
    if begun:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert [(task, "somebody", 0)] == told


async def test_what_is_cancelled_at_shutdown_has_begun():
    """So that its `finally` is run, and what waits for it hears of its end."""
    tasks, heard = Tasks(), []

    async def noting_its_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            heard.append("ended")

    tasks.spawn("load", noting_its_end(), of_call=True)
    await tasks.end_calls()
    tasks.spawn("save", noting_its_end())
    await tasks.aclose()
    assert ["ended", "ended"] == heard
