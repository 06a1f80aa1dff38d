"""Gets of one string from Redis: through the driver alone, and through the clients' own ways.

Every figure is the median over rounds in which all contestants take turns.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import glide
from cashews import Cache
from redis.asyncio import BlockingConnectionPool, Redis

from argo_mw_redis import open_redis

CALLERS = 200
VALUE = "market " * 171 + "new"
"""A text of 1.2 kB."""
MGET = 100

Ask = Callable[[int], Awaitable[object]]


@contextlib.asynccontextmanager
async def clients(url: str) -> AsyncIterator[Mapping[str, Ask]]:
    """One way to get each of the keys ``peer:0``, ``peer:1``… per client, all warmed."""
    address = url.removeprefix("redis://").partition("/")[0]
    host, port = address.split(":")
    pool = BlockingConnectionPool(host=host, port=int(port), max_connections=50)
    raw = Redis(connection_pool=pool)
    for number in range(CALLERS):
        await raw.set(f"peer:{number}", VALUE)
    valkey = await glide.GlideClient.create(
        glide.GlideClientConfiguration([glide.NodeAddress(host, int(port))])
    )
    cashews = Cache()
    cashews.setup(f"{url}?max_connections={CALLERS}")
    for number in range(CALLERS):
        await cashews.set(f"cashews:{number}", VALUE)
    driver = await open_redis(f"{url}?timeout=10")
    await driver.set_many({f"driver:{number}": VALUE.encode() for number in range(CALLERS)})
    try:
        yield {
            "redis_py": lambda number: raw.get(f"peer:{number}"),
            "valkey_glide": lambda number: valkey.get(f"peer:{number}"),
            "cashews_redis": lambda number: cashews.get(f"cashews:{number}"),
            "driver": lambda number: driver.get(f"driver:{number}"),
        }
    finally:
        await driver.aclose()
        await cashews.close()
        await valkey.close()
        await raw.aclose()
        await pool.disconnect()


async def throughput(ask: Ask, calls: int) -> float:
    """Answers a second that 200 concurrent callers get."""

    async def caller(number: int) -> None:
        for _ in range(calls):
            await ask(number)

    start = time.perf_counter()
    await asyncio.gather(*map(caller, range(CALLERS)))
    return CALLERS * calls / (time.perf_counter() - start)


async def latency(ask: Ask, calls: int) -> float:
    """Microseconds from one question to its answer, one after the other."""
    start = time.perf_counter()
    for number in range(calls):
        await ask(number % CALLERS)
    return (time.perf_counter() - start) / calls * 1e6


async def raw_mget(url: str, rounds: int) -> Callable[[], Awaitable[float]]:
    """Measures values a second through redis-py's MGET of 100, one after the other."""
    keys = [f"peer:{number}" for number in range(MGET)]

    async def measure() -> float:
        client = Redis.from_url(url)
        await client.mget(keys)  # connecting is not what is measured
        start = time.perf_counter()
        for _ in range(rounds):
            await client.mget(keys)
        taken = time.perf_counter() - start
        await client.aclose()
        return rounds * MGET / taken

    return measure


async def in_turns(
    contestants: Mapping[str, Callable[[], Awaitable[float]]], rounds: int
) -> dict[str, float]:
    """The median of each contestant's figure, over *rounds* in which they take turns."""
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, measure in contestants.items():
            seen[name].append(await measure())
    return {name: statistics.median(figures) for name, figures in seen.items()}
