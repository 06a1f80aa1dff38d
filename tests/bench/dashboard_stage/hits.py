"""A program that does nothing but answer from memory, for callgrind to count its instructions.

Usage: ``python -m tests.bench.dashboard_stage.hits with|without|slower``. ``slower`` has no
dashboard, but does the least that a plugin can have done on each hit: it has it noted.
"""

from __future__ import annotations

import asyncio
import sys
import time

from argo_mw import Argo
from argo_mw.plugin import Watch, context_of, operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_cache.plugin import CachePlugin
from argo_mw_dashboard import DashboardPlugin
from tests.bench._sections import even, section


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


async def main(which: str) -> None:
    """Ask one question again and again."""
    plugins: dict[str, object] = {
        "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"], 1.0),)),
        "cache": CachePlugin(),
    }
    tables: dict[str, object] = {}
    if which == "with":
        plugins["dashboard"] = DashboardPlugin()
        tables = {"dashboard": {"port": 0}}
    config = {"argo": {"shared": "memory://", "watch": False}, "plugins": tables}
    # The clock stands still: what differs is the path of the calls alone.
    argo = Argo.open(config, clock=FakeClock(), plugins=plugins, installed=False)
    async with argo:
        if which == "slower":
            context_of(argo).counters.tallies.watch(
                {"cache": Watch("cache", time.time() + 3_600.0)}
            )
        even()
        await section("hit", lambda: argo.call("bars", symbol="AAPL"))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
