"""Shared within one process: for tests, single programs and caches that need no file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import BadParameter, Closed
from argo_mw.store.limits import (
    check_count,
    check_epoch,
    check_items,
    check_key,
    check_keys,
    check_ttl,
    check_value,
    check_witness,
)
from argo_mw.store.memory_store import NEVER, MemoryEntry, MemoryStore, MemorySubscription
from argo_mw.store.protocol import EPOCH_KEY, WITNESS_TTL, Count, Lease, Shared, Witness, Write
from argo_mw.store.steps import get_then_acquire


class MemoryShared:
    """Implements :class:`~argo_mw.plugin.Shared` in this process's memory.

    Args:
        store: The data; instances with the same store share it, also between threads and
            event loops. ``None`` makes a new one.
        clock: Decides what has expired.
        max_entries: How many values a new store keeps.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        *,
        clock: Clock | None = None,
        max_entries: int = 100_000,
    ) -> None:
        self.store = store if store is not None else MemoryStore(max_entries)
        self._clock = clock if clock is not None else SystemClock()
        self._subscriptions: list[MemorySubscription] = []
        self._closed = False

    async def get(self, key: str) -> bytes | None:
        """See :meth:`argo_mw.plugin.Shared.get`."""
        check_key(key)
        with self._open() as store:
            return _bytes(self._used(store, key))

    async def get_many(self, keys: Sequence[str]) -> Sequence[bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_many`."""
        check_keys(keys)
        with self._open() as store:
            return [_bytes(self._used(store, key)) for key in keys]

    async def set(self, key: str, value: bytes, *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set`."""
        await self.set_many({key: value}, ttl=ttl)

    async def set_many(self, items: Mapping[str, bytes], *, ttl: float | None = None) -> None:
        """See :meth:`argo_mw.plugin.Shared.set_many`."""
        check_items(items)
        check_ttl(ttl)
        with self._open() as store:
            for key, value in items.items():
                self._put(store, key, value, ttl)

    async def create_many(
        self, items: Mapping[str, bytes], *, ttl: float | None = None
    ) -> Sequence[bytes]:
        """See :meth:`argo_mw.plugin.Shared.create_many`."""
        check_items(items)
        check_ttl(ttl)
        return self.create_at_once(items, ttl)

    def create_at_once(self, items: Mapping[str, bytes], ttl: float | None) -> list[bytes]:
        """Do as :meth:`create_many` does, with what is known to be fit for a store."""
        with self._open() as store:
            now = self._clock.monotonic()
            return store.create(items, _expires(now, ttl), now)

    async def delete(self, keys: Sequence[str]) -> int:
        """See :meth:`argo_mw.plugin.Shared.delete`."""
        check_keys(keys)
        with self._open() as store:
            now = self._clock.monotonic()
            return sum(store.find(key, now) is not None and store.remove(key) for key in keys)

    async def compare_and_set(
        self, key: str, expected: bytes | None, value: bytes, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.compare_and_set`."""
        check_key(key)
        check_value(key, value)
        check_ttl(ttl)
        with self._open() as store:
            if _bytes(store.find(key, self._clock.monotonic())) != expected:
                return False
            self._put(store, key, value, ttl)
            return True

    async def add(
        self,
        key: str,
        amount: int = 1,
        *,
        limit: int | None = None,
        ttl: float | None = None,
        epoch: int | None = None,
        witness: Witness | None = None,
    ) -> Count:
        """See :meth:`argo_mw.plugin.Shared.add`."""
        check_key(key)
        check_count("amount", amount)
        check_count("limit", limit)
        check_ttl(ttl)
        with self._open() as store:
            now = self._clock.monotonic()
            if epoch is not None:
                check_epoch(epoch, _count(store.counters.get(EPOCH_KEY)))
            witnessed = 0
            if witness is not None:
                witnessed = _count(store.find(witness.key, now)) or 0
                check_witness(witness, witnessed)
            entry = store.find(key, now)
            count = 0 if entry is None else entry.value
            if not isinstance(count, int):
                msg = f"{key!r} holds a value, not a counter: add() cannot be used on it"
                raise BadParameter(msg)
            if amount > 0 and limit is not None and count + amount > limit:
                return Count(count, added=False, witnessed=witnessed)
            if witness is not None:
                witnessed += 1
                store.put(witness.key, MemoryEntry(witnessed, now + WITNESS_TTL), now)
            if entry is None:
                store.put(key, MemoryEntry(amount, _expires(now, ttl)), now)
            else:
                entry.value = count + amount
            return Count(count + amount, added=True, witnessed=witnessed)

    async def acquire(self, key: str, *, ttl: float) -> Lease | None:
        """See :meth:`argo_mw.plugin.Shared.acquire`."""
        check_key(key)
        check_ttl(ttl)
        with self._open() as store:
            return store.hold(key, ttl, self._clock.monotonic())

    async def acquire_and_get(
        self, key: str, wanted: str, *, ttl: float
    ) -> tuple[Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.acquire_and_get`."""
        check_key(wanted)
        return await self.acquire(key, ttl=ttl), await self.get(wanted)

    async def get_or_acquire(
        self, key: str, lease: str, wanted: str, *, ttl: float
    ) -> tuple[bytes | None, Lease | None, bytes | None]:
        """See :meth:`argo_mw.plugin.Shared.get_or_acquire`."""
        check_key(lease)
        check_key(wanted)
        check_ttl(ttl)
        with self._open():
            return await get_then_acquire(self, key, lease, wanted, ttl=ttl)

    async def renew(self, lease: Lease, *, ttl: float) -> bool:
        """See :meth:`argo_mw.plugin.Shared.renew`."""
        check_ttl(ttl)
        with self._open() as store:
            now = self._clock.monotonic()
            held = store.held(lease, now)
            if held is None:
                return False
            held.expires = now + ttl
            return True

    async def release(self, lease: Lease) -> bool:
        """See :meth:`argo_mw.plugin.Shared.release`."""
        with self._open() as store:
            if store.held(lease, self._clock.monotonic()) is None:
                return False
            del store.leases[lease.key]
            return True

    async def set_fenced(
        self, key: str, value: bytes, lease: Lease, *, ttl: float | None = None
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.set_fenced`."""
        check_key(key)
        check_value(key, value)
        check_ttl(ttl)
        with self._open() as store:
            now = self._clock.monotonic()
            entry = store.find(key, now)
            held = store.leases.get(lease.key)
            newest = max(
                0 if entry is None else entry.fence,
                held.lease.fence if held is not None and held.expires > now else 0,
            )
            if newest > lease.fence:
                return False
            self._put(store, key, value, ttl, lease.fence)
            return True

    async def settle(
        self,
        lease: Lease,
        key: str,
        value: bytes,
        *,
        ttl: float | None,
        channel: str,
        message: bytes,
        also: Write | None = None,
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.settle`."""
        check_key(channel)
        check_value(channel, message)
        with self._open() as store:
            stored = await self.set_fenced(key, value, lease, ttl=ttl)
            if also is not None:
                await self.set(also.key, also.value, ttl=also.ttl)
            held = store.held(lease, self._clock.monotonic())
            await self.release(lease)
            if held is None or held.wanted:
                await self.publish(channel, message)
            return stored

    async def publish(self, channel: str, message: bytes) -> None:
        """See :meth:`argo_mw.plugin.Shared.publish`."""
        check_key(channel)
        check_value(channel, message)
        with self._open() as store:
            for subscription in list(store.channels.get(channel, ())):
                subscription.deliver(message)

    async def subscribe(
        self,
        channel: str,
        on_message: Callable[[bytes], None],
        on_gap: Callable[[], None],
        *,
        on_lost: Callable[[str], None] | None = None,
    ) -> MemorySubscription:
        """See :meth:`argo_mw.plugin.Shared.subscribe`. In memory there are no gaps."""
        check_key(channel)
        with self._open() as store:
            listeners = store.channels.setdefault(channel, set())
            subscription = MemorySubscription(listeners, asyncio.get_running_loop(), on_message)
            listeners.add(subscription)
            self._subscriptions.append(subscription)
            return subscription

    async def scan(self, prefix: str) -> Sequence[str]:
        """See :meth:`argo_mw.plugin.Shared.scan`."""
        with self._open() as store:
            now = self._clock.monotonic()
            keys = [key for key in (*store.values, *store.counters) if key.startswith(prefix)]
            return [key for key in keys if store.find(key, now) is not None]

    async def aclose(self) -> None:
        """Stop listening; other handles keep the store. Idempotent."""
        self._closed = True
        for subscription in self._subscriptions:
            await subscription.aclose()
        self._subscriptions.clear()

    def _open(self) -> MemoryStore:
        """Return the store, to be locked by ``with``."""
        if self._closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        return self.store

    def _used(self, store: MemoryStore, key: str) -> MemoryEntry | None:
        entry = store.find(key, self._clock.monotonic())
        if entry is not None:
            store.touch(key)
        return entry

    def _put(
        self, store: MemoryStore, key: str, value: bytes, ttl: float | None, fence: int = 0
    ) -> None:
        now = self._clock.monotonic()
        store.put(key, MemoryEntry(value, _expires(now, ttl), fence), now)


def answers_at_once(shared: Shared) -> MemoryShared | None:
    """Return *shared* if it is this store and nothing else: what is derived from it may wait."""
    return shared if type(shared) is MemoryShared else None


def _bytes(entry: MemoryEntry | None) -> bytes | None:
    return None if entry is None else entry.as_bytes()


def _count(entry: MemoryEntry | None) -> int | None:
    return entry.value if entry is not None and isinstance(entry.value, int) else None


def _expires(now: float, ttl: float | None) -> float:
    return NEVER if ttl is None else now + ttl
