"""A program that goes each hot path many times, for callgrind to count its instructions.

Usage: ``python -m tests.bench.instructions_stage.ways``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from itertools import count

import numpy as np
import pandas as pd

from argo_mw import Argo
from argo_mw.plugin import SLOTS, Clock, Codecs, Shared, hookimpl
from argo_mw.registry import Plugins
from argo_mw.testing import FakeClock, SlowStore
from tests.bench._sections import even, section
from tests.bench.instructions_stage.yardstick import work

SOME = 64
"""Turns of a section where each takes as much as some tens of hits."""

FEW = 16
"""Turns of a section where each takes as much as a hundred hits."""


async def main() -> None:
    """Go every way."""
    async with _chain("memory://") as argo, _chain("slow://", memory=False) as far:
        even()
        await section("yardstick", work, SOME)
        await section("hit", lambda: argo.call("quote", symbol="AAPL"))
        await section("miss", _of_new_symbols(argo), SOME)
        kept = await far.call("quote", symbol="AAPL")
        await section("get", lambda: far.call("quote", symbol="AAPL"), SOME)
        assert kept == await far.call("quote", symbol="AAPL"), "it was loaded again, not kept"
    codecs, frame = Codecs(), _frame()
    encoded = codecs.encode(frame)
    await section("encode", _async(lambda: codecs.encode(frame)), FEW)
    await section("decode", _async(lambda: codecs.decode(encoded)), FEW)


def _chain(shared: str, *, memory: bool = True) -> Argo:
    """Return an application with its layers over *shared*; the clock stands still."""
    # Loading a model takes longer under callgrind than layers may take to open; it is for prompts only.
    beside = [name for name in Plugins.load().names if name not in SLOTS or name == "similarity"]
    settings = {"shared": shared, "watch": False, "strict": True, "block": beside}
    argo = Argo.open(
        {"argo": settings, "plugins": {"cache": {"memory": memory}}},
        clock=FakeClock(),
        plugins={"slow": _SlowPlugin()},
    )

    loads = count(187)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> float:
        return float(next(loads))

    return argo


async def _slow(url: str, clock: Clock) -> Shared:
    """Return a store that answers as a server does, turns of the event loop later."""
    return SlowStore(clock=clock)


class _SlowPlugin:
    """Offers stores ``slow://``."""

    @hookimpl
    def register_shared_drivers(self) -> Mapping[str, object]:
        """Return the way to open one."""
        return {"slow": _slow}


def _of_new_symbols(argo: Argo) -> Callable[[], Awaitable[object]]:
    numbers = count()
    return lambda: argo.call("quote", symbol=f"{next(numbers):08}")


def _async(do: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    async def done() -> object:
        return do()

    return done


def _frame() -> pd.DataFrame:
    """Return 90 bars, as a vendor answers them."""
    return pd.DataFrame(
        np.random.default_rng(0).random((90, 5)),
        columns=["open", "high", "low", "close", "volume"],
        index=pd.date_range("2024-01-01", periods=90, tz="UTC", name="time"),
    )


if __name__ == "__main__":
    asyncio.run(main())
