"""Shared within one process: for tests, single programs and caches that need no file."""

from __future__ import annotations

import asyncio
import heapq
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from attrs import define, field

from argo_mw.base.clock import Clock, SystemClock
from argo_mw.base.errors import BadParameter, Closed, SharedUnavailable
from argo_mw.base.log import Log
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
from argo_mw.store.protocol import EPOCH_KEY, WITNESS_TTL, Count, Lease, Witness

_NEVER: Final = float("inf")
_MAX_STALE_EXPIRIES: Final = 1_000

log = Log("argo_mw")


@define(eq=False)
class _MemoryEntry:
    """A value, or a counter when *value* is an integer."""

    value: bytes | int
    expires: float
    fence: int = 0


@define(eq=False)
class _HeldLease:
    """A lease, and whether it was refused to somebody meanwhile."""

    lease: Lease
    expires: float
    wanted: bool = False


@define(eq=False)
class MemorySubscription:
    """A listener in this process."""

    _listeners: set[MemorySubscription]
    _loop: asyncio.AbstractEventLoop
    _on_message: Callable[[bytes], None]

    def deliver(self, message: bytes) -> None:
        """Call the listener, on its own loop, soon."""
        # Waking a loop from its own thread costs 25 µs: a byte through a socket, and one more turn.
        if asyncio.get_running_loop() is self._loop:
            self._loop.call_soon(self._call_listener, message)
            return
        try:
            self._loop.call_soon_threadsafe(self._call_listener, message)
        except RuntimeError:
            self._listeners.discard(self)  # its loop was closed

    def _call_listener(self, message: bytes) -> None:
        if self in self._listeners:
            try:
                self._on_message(message)
            except Exception:
                log.exception("a listener of the shared store failed")

    async def aclose(self) -> None:
        """Stop listening. Idempotent."""
        self._listeners.discard(self)


@define(eq=False, slots=True, weakref_slot=True)
class MemoryStore:
    """The data behind one or several :class:`MemoryShared`; safe between threads.

    When there are too many values, the longest unused one is evicted. Counters and leases are
    never evicted, because quotas rest on them: when there are too many, new ones are refused.
    """

    max_entries: int = 100_000
    lock: threading.RLock = field(factory=threading.RLock, init=False)
    values: dict[str, _MemoryEntry] = field(factory=dict, init=False)
    counters: dict[str, _MemoryEntry] = field(factory=dict, init=False)
    leases: dict[str, _HeldLease] = field(factory=dict, init=False)
    channels: dict[str, set[MemorySubscription]] = field(factory=dict, init=False)
    _expiries: list[tuple[float, str]] = field(factory=list, init=False)
    _fence: int = field(default=0, init=False)

    def find(self, key: str, now: float) -> _MemoryEntry | None:
        """Return the entry under *key* that has not expired."""
        entry = self.values.get(key) or self.counters.get(key)
        if entry is not None and entry.expires <= now:
            self.remove(key)
            return None
        return entry

    def put(self, key: str, entry: _MemoryEntry, now: float) -> None:
        """Keep *entry* under *key*, in place of an earlier one; make room first."""
        self.remove(key)
        self._drop_expired(now)
        if isinstance(entry.value, int):
            self._refuse_when_full(self.counters)
            self.counters[key] = entry
        else:
            while len(self.values) >= self.max_entries:
                del self.values[next(iter(self.values))]
            self.values[key] = entry
        if entry.expires != _NEVER:
            heapq.heappush(self._expiries, (entry.expires, key))

    def touch(self, key: str) -> None:
        """Count *key* as just used."""
        entry = self.values.pop(key, None)
        if entry is not None:
            self.values[key] = entry

    def remove(self, key: str) -> bool:
        """Forget *key* and return whether it was there."""
        return bool(self.values.pop(key, None) or self.counters.pop(key, None))

    def hold(self, key: str, ttl: float, now: float) -> Lease | None:
        """Return a new lease on *key*, or ``None`` while one is held."""
        held = self.leases.get(key)
        if held is not None and held.expires > now:
            held.wanted = True
            return None
        if held is None and len(self.leases) >= self.max_entries:
            self.leases = {k: held for k, held in self.leases.items() if held.expires > now}
            self._refuse_when_full(self.leases)
        self._fence += 1
        lease = Lease(key, os.urandom(8).hex(), self._fence)
        self.leases[key] = _HeldLease(lease, now + ttl)
        return lease

    def held(self, lease: Lease, now: float) -> _HeldLease | None:
        """Return the record of *lease*, or ``None`` when it is no longer held."""
        held = self.leases.get(lease.key)
        return held if held and held.lease == lease and held.expires > now else None

    def _refuse_when_full(self, kept: Mapping[str, object]) -> None:
        if len(kept) >= self.max_entries:
            msg = f"the memory store is full: {self.max_entries} counters or leases are in use"
            raise SharedUnavailable(msg)

    def _drop_expired(self, now: float) -> None:
        expiries = self._expiries
        while expiries and expiries[0][0] <= now:
            _, key = heapq.heappop(expiries)
            self.find(key, now)
        # A key that is set again leaves its earlier expiry behind.
        if len(expiries) > 2 * (len(self.values) + len(self.counters)) + _MAX_STALE_EXPIRIES:
            self._expiries = [
                (entry.expires, key)
                for kept in (self.values, self.counters)
                for key, entry in kept.items()
                if entry.expires != _NEVER
            ]
            heapq.heapify(self._expiries)


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
        with self._open() as store:
            return [self._created(store, key, value, ttl) for key, value in items.items()]

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
                store.put(witness.key, _MemoryEntry(witnessed, now + WITNESS_TTL), now)
            if entry is None:
                store.put(key, _MemoryEntry(amount, _expires(now, ttl)), now)
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
    ) -> bool:
        """See :meth:`argo_mw.plugin.Shared.settle`."""
        check_key(channel)
        check_value(channel, message)
        with self._open() as store:
            stored = await self.set_fenced(key, value, lease, ttl=ttl)
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

    def _open(self) -> _Locked:
        if self._closed:
            msg = "the shared store was closed; open another one"
            raise Closed(msg)
        return _Locked(self.store)

    def _used(self, store: MemoryStore, key: str) -> _MemoryEntry | None:
        entry = store.find(key, self._clock.monotonic())
        if entry is not None:
            store.touch(key)
        return entry

    def _created(self, store: MemoryStore, key: str, value: bytes, ttl: float | None) -> bytes:
        present = _bytes(store.find(key, self._clock.monotonic()))
        if present is not None:
            return present
        self._put(store, key, value, ttl)
        return value

    def _put(
        self, store: MemoryStore, key: str, value: bytes, ttl: float | None, fence: int = 0
    ) -> None:
        now = self._clock.monotonic()
        store.put(key, _MemoryEntry(value, _expires(now, ttl), fence), now)


@define
class _Locked:
    """A store that is locked during a ``with`` block."""

    _store: MemoryStore

    def __enter__(self) -> MemoryStore:
        self._store.lock.acquire()
        return self._store

    def __exit__(self, *error: object) -> None:
        self._store.lock.release()


def named_store(name: str, max_entries: int = 100_000) -> MemoryStore:
    """Return the store called *name* in this process; make it when no handle has it open."""
    with _names:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = MemoryStore(max_entries)
        return store


def _bytes(entry: _MemoryEntry | None) -> bytes | None:
    if entry is None:
        return None
    return entry.value if isinstance(entry.value, bytes) else b"%d" % entry.value


def _count(entry: _MemoryEntry | None) -> int | None:
    return entry.value if entry is not None and isinstance(entry.value, int) else None


def _expires(now: float, ttl: float | None) -> float:
    return _NEVER if ttl is None else now + ttl


_names = threading.Lock()
_stores: WeakValueDictionary[str, MemoryStore] = WeakValueDictionary()
