"""What the chain itself costs: a hit in memory, an empty chain, no-op layers, beside peers.

Every figure is the median over rounds in which all contestants take turns, so that a machine
that slows down slows all of them down.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import aiocache
import numpy as np
import pandas as pd
from async_lru import alru_cache
from cashews import Cache

from argo_mw import Argo, Outcome
from argo_mw.plugin import SLOTS, Call, Layer, Next
from argo_mw.registry import Plugins
from argo_mw.testing import FakePlugin

Ask = Callable[..., Awaitable[object]]

FROZEN = ("AAPL", 187.20, 71.0)
MEMORY = {"argo": {"shared": "memory://", "strict": True}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--calls", type=int, default=4_000, help="calls in a round")


async def run(args: argparse.Namespace) -> dict[str, float]:
    """The figures, in microseconds a call."""
    noops = {f"noop{n}": FakePlugin(layer=Layer(f"noop{n}", _through)) for n in range(6)}
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        async with (
            wrapping(Argo.open(default_chain())) as full,
            wrapping(Argo.open(all_off())) as empty,
            wrapping(Argo.open(MEMORY, plugins=noops, installed=False)) as noop,
        ):
            contestants: dict[str, Ask] = {
                "l1_hit_us": partial(full.call, "quote"),
                "l1_frame_hit_us": partial(full.call, "frame"),
                "empty_chain_us": partial(empty.call, "quote"),
                "noop6_us": partial(noop.call, "quote"),
                **peers(),
            }
            figures = await measure(contestants, args.rounds, args.calls)
    return {
        **figures,
        "l1_hit_vs_async_lru": ratio(figures, "l1_hit_us", "async_lru_hit_us"),
        "cashews_vs_l1_hit": ratio(figures, "cashews_hit_us", "l1_hit_us"),
        "empty_chain_vs_async_lru": ratio(figures, "empty_chain_us", "async_lru_hit_us"),
    }


def default_chain() -> dict[str, object]:
    """The configuration with the six layers of the chain, and nothing beside them."""
    beside = [name for name in Plugins.load().names if name not in SLOTS]
    return {"argo": {**MEMORY["argo"], "block": beside}}


def all_off() -> dict[str, object]:
    """The same with every layer's flag off."""
    layers = [n for n in Plugins.load().implementing("register_layers") if n in SLOTS]
    return {**default_chain(), "flags": dict.fromkeys(layers, "off")}


def wrapping(argo: Argo) -> Argo:
    """*argo* with two plain functions behind its chain: ``quote`` and ``frame``."""
    frame = pd.DataFrame(
        np.random.default_rng(0).random((90, 5)),
        columns=["open", "high", "low", "close", "volume"],
        index=pd.date_range("2024-01-01", periods=90, tz="UTC", name="time"),
    )
    argo.wrap(name="quote")(_answering(FROZEN))
    argo.wrap(name="frame")(_answering(frame))
    return argo


def peers() -> dict[str, Ask]:
    """What users could pick instead, each used the usual way."""
    cashews = Cache()
    cashews.setup("mem://?size=10000&check_interval=0")
    key = "quote:{symbol}:{timeframe}:{limit}:{adjusted}"
    return {
        "async_lru_hit_us": alru_cache(maxsize=10_000, ttl=120)(_answering(FROZEN)),
        "cashews_hit_us": cashews(ttl=120, key=key)(_answering(FROZEN)),
        "aiocache_hit_us": aiocache.cached(ttl=120)(_answering(FROZEN)),
    }


async def measure(contestants: Mapping[str, Ask], rounds: int, calls: int) -> dict[str, float]:
    """The median microseconds a call of each, over *rounds* in which they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, ask in contestants.items():
            taken[name].append(await _time(ask, calls))
    return {name: round(statistics.median(times), 3) for name, times in taken.items()}


async def _time(ask: Ask, calls: int) -> float:
    await ask(symbol="AAPL", timeframe="1Day", limit=90, adjusted=True)
    start = time.perf_counter()
    for _ in range(calls):
        await ask(symbol="AAPL", timeframe="1Day", limit=90, adjusted=True)
    return (time.perf_counter() - start) / calls * 1e6


def ratio(figures: Mapping[str, float], one: str, other: str) -> float:
    """How many times *other* fits into *one*."""
    return round(figures[one] / figures[other], 3)


def _answering(value: object) -> Callable[..., Awaitable[object]]:
    async def answer(symbol: str, timeframe: str, limit: int, adjusted: bool) -> object:
        return value

    return answer


async def _through(call: Call, call_next: Next) -> Outcome:
    return await call_next(call)
