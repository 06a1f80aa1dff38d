"""The memory driver stays within its bounds, and event loops can share a store."""

from __future__ import annotations

import asyncio
import threading

import pytest

from argo_mw.base.errors import SharedUnavailable
from argo_mw.store.memory import MemoryShared
from argo_mw.store.memory_store import MemoryStore
from argo_mw.testing.clock import FakeClock
from argo_mw.testing.shared import Listener, eventually


async def test_the_longest_unused_value_is_evicted():
    shared = MemoryShared(max_entries=3)
    for key in "abc":
        await shared.set(key, b"")
    await shared.get("a")
    await shared.set("d", b"")
    assert sorted(await shared.scan("")) == ["a", "c", "d"]


async def test_counters_and_leases_are_refused_rather_than_evicted():
    clock = FakeClock()
    shared = MemoryShared(clock=clock, max_entries=2)
    for key in ("one", "two"):
        await shared.add(key, ttl=60)
        await shared.acquire(key, ttl=60)
    with pytest.raises(SharedUnavailable, match="full"):
        await shared.add("three")
    with pytest.raises(SharedUnavailable, match="full"):
        await shared.acquire("three", ttl=60)
    await clock.advance(61)
    assert (await shared.add("three")).added
    assert await shared.acquire("three", ttl=60)


async def test_expired_values_are_removed():
    clock, store = FakeClock(), MemoryStore()
    shared = MemoryShared(store, clock=clock)
    for n in range(1_000):
        await shared.set(f"key:{n}", b"", ttl=1)
        await clock.advance(0.5)
    assert len(store.values) <= 3
    for n in range(10_000):
        await shared.set("same", b"%d" % n, ttl=1_000)
    assert len(store._expiries) < 2_000


async def test_a_message_reaches_a_loop_in_another_thread():
    store, listener = MemoryStore(), Listener()
    shared = MemoryShared(store)
    await shared.subscribe("news", listener.on_message, listener.on_gap)

    async def publish():
        await MemoryShared(store).publish("news", b"hello")

    thread = threading.Thread(target=lambda: asyncio.run(publish()))
    thread.start()
    await eventually(lambda: listener.messages == [b"hello"])
    thread.join()
