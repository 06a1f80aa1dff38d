"""One instance of a fleet: asks without end, and says how its answers come about.

Usage: fleet_member.py URL STATE_DIR. Five layers mark the answers that pass, and the cache keeps them.
Whenever the marks change, one line of JSON says which there are and when that was seen.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

import argo_mw_cache
import argo_mw_redis.plugin
from argo_mw import Argo, Outcome
from argo_mw.plugin import Call, Layer, Next, flags_of
from argo_mw.testing import FakePlugin

LAYERS = [f"marks{number}" for number in range(5)]


def marking(name: str) -> Layer:
    async def mark(call: Call, call_next: Next) -> Outcome:
        return (await call_next(call)).shaped_by(name, "was here")

    return Layer(name, mark, after=("cache",))


def open_member(url: str, state_dir: str) -> Argo:
    """Return an instance of the fleet around the store at *url*, on a machine of its own."""
    plugins = {
        "cache": argo_mw_cache.CachePlugin,
        "redis": argo_mw_redis.plugin,
        **{name: FakePlugin(layer=marking(name)) for name in LAYERS},
    }
    config = {
        "argo": {"shared": url, "state_dir": state_dir, "strict": True},
        "plugins": {"cache": {"ttl": 3600.0}},
    }
    argo = Argo.open(config, plugins=plugins, installed=False)

    @argo.wrap(name="quote", subject="symbol")
    async def quote(symbol: str) -> str:
        return symbol

    return argo


def describe(argo: Argo) -> None:
    """Say on stderr what is known of the flags, and what every task waits for."""
    flags = flags_of(argo)
    print(flags.stale, {name: flag.rule for name, flag in flags.all.items()}, file=sys.stderr)
    for task in asyncio.all_tasks():
        task.print_stack(file=sys.stderr)
    sys.stderr.flush()


async def main(url: str, state_dir: str) -> None:
    async with open_member(url, state_dir) as argo:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, describe, argo)
        before = None
        while True:
            outcome = await argo.outcome("quote", symbol="A")
            marks = sorted(set(outcome.via) & set(LAYERS))
            if marks != before:
                print(json.dumps({"marks": marks, "at": time.time()}), flush=True)
                before = marks
            await asyncio.sleep(0.005)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
