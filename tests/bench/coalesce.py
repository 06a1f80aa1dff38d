"""Coalescing: the cost of a shared flight, and the loads of many processes for one question."""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from async_lru import alru_cache

from argo_mw import Argo
from argo_mw_redis.testing import servers
from tests.bench.coalesce_stage.processes import CALLERS, PROCESSES, ask_at_once

CALLS = 10_000
TURNS = 20
"""Turns of the loop after which every call has joined the flight."""
MEMORY = {"argo": {"shared": "memory://"}, "flags": {"cache": "off"}}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the bench's own arguments."""
    parser.add_argument("--rounds", type=int, default=9)


async def run(args: argparse.Namespace) -> dict[str, float]:
    """Return counts of loads, and microseconds per call."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["ARGO_MW_STATE_DIR"] = state
        figures = await in_one_process(args.rounds)
        with servers(Path(state)) as start:
            loads, answered = await ask_at_once(start().url, Path(state), "REDIS")
        store = f"sqlite:///{state}/shared.db"
        sqlite_loads, sqlite_answered = await ask_at_once(store, Path(state), "SQLITE")
    return {
        **figures,
        "distributed_upstream_calls": loads,
        "distributed_answered_share": answered / (PROCESSES * CALLERS),
        "distributed_sqlite_upstream_calls": sqlite_loads,
        "distributed_sqlite_answered_share": sqlite_answered / (PROCESSES * CALLERS),
    }


async def in_one_process(rounds: int) -> dict[str, float]:
    """Measure 10,000 equal calls at once, beside async_lru's, in turns."""
    ours, peers, loads = [], [], []
    for _ in range(rounds):
        gate = asyncio.Event()
        count = 0

        async def load(symbol: str) -> str:
            nonlocal count
            count += 1
            await gate.wait()  # noqa: B023 - each round's own
            return symbol

        argo = Argo.open(MEMORY)
        quote = argo.wrap(name="quote")(load)
        async with argo:
            ours.append(await _time(quote, gate))
        loads.append(count)
        gate = asyncio.Event()
        peers.append(await _time(alru_cache(maxsize=100)(load), gate))
    one, other = statistics.median(ours), statistics.median(peers)
    return {
        "upstream_calls_10k": max(loads),
        "call_us": round(one, 3),
        "async_lru_call_us": round(other, 3),
        "vs_async_lru": round(one / other, 3),
    }


async def _time(ask: Callable[[str], Awaitable[str]], gate: asyncio.Event) -> float:
    start = time.perf_counter()
    tasks = [asyncio.ensure_future(ask("AAPL")) for _ in range(CALLS)]
    for _ in range(TURNS):
        await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*tasks)
    return (time.perf_counter() - start) / CALLS * 1e6
