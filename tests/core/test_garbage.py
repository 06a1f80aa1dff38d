"""What a call leaves behind is freed at once, however it ends.

An error knows the frames that it came through. One that is known in such a frame keeps itself
alive, and every object of those frames, until the garbage collector runs: which it does the more
often, and looks through all that a program holds.
"""

from __future__ import annotations

import asyncio
import gc

import pytest

import argo_mw_race.plugin as race
from argo_mw import Action, NotFound, Outcome, UpstreamError
from argo_mw.plugin import Call, Layer, Next, Upstream
from argo_mw.testing import FakeClock, settle

OFTEN = 20


class Passing:
    """A layer that passes every call on."""

    async def __call__(self, call: Call, call_next: Next) -> Outcome:
        return await call_next(call)


async def answers(call: Call) -> Outcome:
    await asyncio.sleep(0)
    return Outcome("bars")


async def hangs(call: Call) -> Outcome:
    await asyncio.Event().wait()
    return Outcome("never")


async def rejects(call: Call) -> Outcome:
    await asyncio.sleep(0)
    raise UpstreamError("no", upstream="a", action=Action.STOP)


async def has_nothing(call: Call) -> Outcome:
    await asyncio.sleep(0)
    raise NotFound("nothing there", upstream="a")


async def breaks(call: Call) -> Outcome:
    await asyncio.sleep(0)
    raise ValueError("not one of the chain's errors")


async def cancels_itself(call: Call) -> Outcome:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("layers", "plugins"),
    [((), {}), ((Layer("cache", Passing(), slot="cache"),), {}), ((), {"race": race})],
    ids=["no layer", "a layer", "race"],
)
@pytest.mark.parametrize(
    "fetch",
    [answers, hangs, rejects, has_nothing, breaks, cancels_itself],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("leaves", [False, True])
async def test_no_call_leaves_an_error_to_the_garbage_collector(
    open_argo, clock: FakeClock, layers, plugins, fetch, leaves: bool
) -> None:
    upstreams = [Upstream(name, {"bars"}, fetch, retries=0, timeout=5.0) for name in "ab"]

    async def ask(argo) -> None:
        asking = asyncio.create_task(argo.call("bars", symbol="AAPL"))
        await clock.advance(0.0)
        if leaves:
            asking.cancel()
        await clock.advance(10.0)
        assert asking.done()
        assert asking.cancelled() or asking.exception() or asking.result() == "bars"

    async with open_argo(*upstreams, layers=layers, plugins=plugins) as argo:
        await ask(argo)
        await settle()
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(OFTEN):
                await ask(argo)
            await settle()
            gc.collect()
            assert [] == [one for one in gc.garbage if isinstance(one, BaseException)]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
