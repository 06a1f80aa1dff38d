"""What every driver does when callers leave: what was granted to them is given back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TypeVar

from argo_mw.store.protocol import Shared
from argo_mw.testing.shared.tools import SharedTests, StoreUnderTest, acquire

T = TypeVar("T")

MOMENTS = 40
"""Moments at which callers leave."""


class LeavingConformance(SharedTests):
    """Leases and reservations of callers that are cancelled at any moment."""

    async def test_a_caller_that_leaves_holds_no_lease(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        """Whenever it leaves: also while the lease that it was granted is on its way."""
        for moment in range(MOMENTS):
            key = f"lease:{moment}"
            lease = await left(shared.acquire(key, ttl=3_600), moment)
            if lease is not None:
                assert await shared.release(lease)
            await until_free(other, key, store.timeout)

    async def test_a_caller_that_leaves_reserves_nothing(
        self, shared: Shared, store: StoreUnderTest
    ) -> None:
        for moment in range(MOMENTS):
            key = f"count:{moment}"
            count = await left(shared.add(key, 2, limit=10, ttl=3_600), moment)
            await until_counted(shared, key, 0 if count is None else 2, store.timeout)

    async def test_what_was_granted_late_is_given_back_before_the_store_is_closed(
        self, store: StoreUnderTest, other: Shared
    ) -> None:
        for moment in range(MOMENTS):
            handle = await store.open()
            lease = await left(handle.acquire(f"lease:{moment}", ttl=3_600), moment)
            count = await left(handle.add(f"count:{moment}", limit=10, ttl=3_600), moment)
            if lease is not None:
                await handle.release(lease)
            await handle.aclose()
            assert await other.acquire(f"lease:{moment}", ttl=3_600) is not None
            assert (await other.add(f"count:{moment}", 0)).value == (0 if count is None else 1)

    async def test_giving_back_is_not_undone_by_leaving(
        self, shared: Shared, other: Shared, store: StoreUnderTest
    ) -> None:
        for moment in range(1, MOMENTS):  # a task that is cancelled at once asks nothing
            key = f"key:{moment}"
            lease = await acquire(shared, key, 3_600)
            await shared.add(key, 3, limit=3)
            await left(shared.release(lease), moment)
            await left(shared.add(key, -2), moment)
            await until_free(other, key, store.timeout)
            await until_counted(other, key, 1, store.timeout)


async def left(asked: Coroutine[object, object, T], moment: int) -> T | None:
    """Cancel the caller of *asked* at a *moment*, counted in turns of the loop or in time.

    Returns:
        The result, if the caller had it by then.
    """
    caller = asyncio.ensure_future(asked)
    if moment % 2:
        await asyncio.sleep(moment * 2e-5)
    else:
        for _ in range(moment // 2):
            await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait([caller])
    return None if caller.cancelled() else caller.result()


async def until_free(shared: Shared, key: str, timeout: float) -> None:
    """Return once the lease on *key* can be taken; it is taken then."""
    deadline = time.monotonic() + timeout
    while await shared.acquire(key, ttl=3_600) is None:
        assert time.monotonic() < deadline, "the lease was not given back"
        await asyncio.sleep(0.001)


async def until_counted(shared: Shared, key: str, count: int, timeout: float) -> None:
    """Return once the counter at *key* is at *count*."""
    deadline = time.monotonic() + timeout
    while (value := (await shared.add(key, 0)).value) != count:
        assert time.monotonic() < deadline, f"the counter is at {value}, not {count}"
        await asyncio.sleep(0.001)
