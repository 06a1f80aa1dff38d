"""The function that is asked, and what people could put around it instead."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiocache
from cashews import Cache

from tests.bench.miss_stage.taken import Ask

TTL = 120


async def answer(symbol: str) -> float:
    """Answer at once."""
    return 187.2


@contextlib.asynccontextmanager
async def peers(redis: str) -> AsyncIterator[dict[str, Ask]]:
    """Yield caches around the function, each used as its documentation shows.

    cashews with what comes nearest to the chain: one load at a time for a key, and a refresh
    before the answer expires.
    """
    memory, shared = Cache(), Cache()
    memory.setup("mem://?size=100000&check_interval=0")
    shared.setup(redis)
    try:
        yield {
            "cashews": _cashews(memory),
            "cashews_redis": _cashews(shared),
            "aiocache": aiocache.cached(ttl=TTL)(answer),
        }
    finally:
        await memory.close()
        await shared.close()


def _cashews(cache: Cache) -> Ask:
    locked = cache.locked(ttl=10, key="lock:{symbol}")(answer)
    early: Ask = cache.early(ttl=TTL, early_ttl=TTL // 2, key="early:{symbol}")(locked)
    return early
