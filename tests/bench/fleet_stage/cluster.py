"""What a cluster of Redis costs its clients.

200 callers ask a cluster of three masters, and a single server, for the same in turns; the processor
time of the client per command is compared. Each takes the quickest of its rounds, so that what else
runs on the machine counts as little as can be.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from argo_mw.store import Shared
from argo_mw_redis import open_cluster, open_redis
from argo_mw_redis.testing import servers
from argo_mw_redis.testing_cluster import cluster

CALLERS = 200
KEYS = 2_000
VALUE = b"x" * 1_200

Work = Callable[[Shared, random.Random], Awaitable[object]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the part's own arguments."""
    parser.add_argument("--cluster-rounds", type=int, default=40)


async def run(args: argparse.Namespace) -> Mapping[str, object]:
    """Return processor times in microseconds a command, and their ratios."""
    with (
        tempfile.TemporaryDirectory() as directory,
        servers(Path(directory)) as start,
        cluster(Path(directory, "nodes"), timeout=30_000) as nodes,
    ):
        single = await open_redis(start().url + "?timeout=10")
        several = await open_cluster(nodes.url + "?timeout=10")
        for store in (single, several):
            await store.set_many({f"key:{n}": VALUE for n in range(KEYS)})
        figures: dict[str, float] = {}
        for name, work in WORK.items():
            costs: dict[Shared, list[float]] = {single: [], several: []}
            for _ in range(args.cluster_rounds):
                for store, spent in costs.items():
                    spent.append(await _cpu_per_command(store, work))
            one, many = min(costs[single]), min(costs[several])
            figures |= {
                f"single_{name}_us": round(1e6 * one, 2),
                f"cluster_{name}_us": round(1e6 * many, 2),
                f"cluster_{name}_cpu_ratio": round(many / one, 3),
            }
        for store in (single, several):
            await store.aclose()
    figures["cluster_cpu_ratio"] = max(figures[f"cluster_{name}_cpu_ratio"] for name in WORK)
    return figures


async def _cpu_per_command(store: Shared, work: Work) -> float:
    """Return the seconds of processor time that one command took this process."""
    turns = 10
    rngs = [random.Random(n) for n in range(CALLERS)]

    async def caller(rng: random.Random) -> None:
        for _ in range(turns):
            await work(store, rng)

    began = time.process_time()
    await asyncio.gather(*map(caller, rngs))
    return (time.process_time() - began) / (CALLERS * turns)


async def _get(store: Shared, rng: random.Random) -> None:
    await store.get(f"key:{rng.randrange(KEYS)}")


async def _mixed(store: Shared, rng: random.Random) -> None:
    """Do what layers do: mostly read, sometimes write, count, or take a lease."""
    key, choice = rng.randrange(KEYS), rng.random()
    if choice < 0.6:
        await store.get(f"key:{key}")
    elif choice < 0.75:
        await store.set(f"key:{key}", VALUE, ttl=60.0)
    elif choice < 0.9:
        await store.add(f"count:{{{key}}}", ttl=60.0)
    else:
        await store.acquire(f"lease:{key}:{rng.random()}", ttl=1.0)


WORK: Mapping[str, Work] = {"get": _get, "mixed": _mixed}
