"""A program that does nothing but answer from memory, for callgrind to count its instructions.

Usage: ``python -m tests.bench.dashboard_stage.hits HITS with|without``.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys

from argo_mw import Argo
from argo_mw.plugin import operation
from argo_mw.testing import FakeClock, FakePlugin, Scripted
from argo_mw_cache.plugin import CachePlugin


@operation(subject="symbol")
def bars(symbol: str) -> object:
    """Bars of one symbol."""


async def main(hits: int, *, with_dashboard: bool) -> None:
    """Ask one question *hits* times."""
    plugins: dict[str, object] = {
        "asked": FakePlugin(operations=(bars,), upstreams=(Scripted("a", ["bars"], 1.0),)),
        "cache": CachePlugin(),
    }
    tables: dict[str, object] = {}
    if with_dashboard:
        from argo_mw_dashboard import DashboardPlugin

        plugins["dashboard"] = DashboardPlugin()
        tables = {"dashboard": {"port": 0}}
    config = {"argo": {"shared": "memory://", "watch": False}, "plugins": tables}
    # The clock stands still, and dice fall the same: what differs is the path of the calls alone.
    argo = Argo.open(config, clock=FakeClock(), plugins=plugins, installed=False)
    async with argo:
        await argo.call("bars", symbol="AAPL")
        random.seed(7)
        gc.disable()  # when it runs depends on all that was done before
        for _ in range(hits):
            await argo.call("bars", symbol="AAPL")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), with_dashboard=sys.argv[2] == "with"))
