"""What a memory store holds: values, counters, leases and who listens to its channels."""

from __future__ import annotations

import asyncio
import heapq
import os
import threading
from collections.abc import Callable, Mapping
from typing import Final
from weakref import WeakValueDictionary

from attrs import define, field
from msgspec import Struct

from argo_mw.base.errors import SharedUnavailable
from argo_mw.base.log import Log
from argo_mw.store.protocol import Lease

NEVER: Final = float("inf")
"""The expiry of an entry that never expires."""

_MAX_STALE_EXPIRIES: Final = 1_000

log = Log("argo_mw")


class MemoryEntry(Struct, eq=False, gc=False):
    """A value, or a counter when *value* is an integer."""

    value: bytes | int
    expires: float
    fence: int = 0

    def as_bytes(self) -> bytes:
        """Return the value as a reader gets it."""
        return self.value if isinstance(self.value, bytes) else b"%d" % self.value


@define(eq=False)
class HeldLease:
    """A lease, and whether somebody else was refused it meanwhile."""

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
    values: dict[str, MemoryEntry] = field(factory=dict, init=False)
    counters: dict[str, MemoryEntry] = field(factory=dict, init=False)
    leases: dict[str, HeldLease] = field(factory=dict, init=False)
    channels: dict[str, set[MemorySubscription]] = field(factory=dict, init=False)
    _expiries: list[tuple[float, str]] = field(factory=list, init=False)
    _fence: int = field(default=0, init=False)

    def __enter__(self) -> MemoryStore:
        self.lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    def find(self, key: str, now: float) -> MemoryEntry | None:
        """Return the entry under *key* that has not expired."""
        entry = self.values.get(key) or self.counters.get(key)
        if entry is not None and entry.expires <= now:
            self.remove(key)
            return None
        return entry

    def put(self, key: str, entry: MemoryEntry, now: float) -> None:
        """Keep *entry* under *key*, in place of an earlier one; make room first."""
        self.remove(key)
        self._drop_expired(now)
        self._add(key, entry)

    def create(self, items: Mapping[str, bytes], expires: float, now: float) -> list[bytes]:
        """Keep those of *items* whose keys are free, and return what is under each key then."""
        self._drop_expired(now)
        present = []
        for key, value in items.items():
            entry = self.find(key, now)
            if entry is None:
                entry = MemoryEntry(value, expires)
                self._add(key, entry)
            present.append(entry.as_bytes())
        return present

    def _add(self, key: str, entry: MemoryEntry) -> None:
        """Keep *entry* under *key*, which is free; make room first."""
        if isinstance(entry.value, int):
            self._refuse_when_full(self.counters)
            self.counters[key] = entry
        else:
            while len(self.values) >= self.max_entries:
                del self.values[next(iter(self.values))]
            self.values[key] = entry
        if entry.expires != NEVER:
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
        self.leases[key] = HeldLease(lease, now + ttl)
        return lease

    def held(self, lease: Lease, now: float) -> HeldLease | None:
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
                if entry.expires != NEVER
            ]
            heapq.heapify(self._expiries)


def named_store(name: str, max_entries: int = 100_000) -> MemoryStore:
    """Return the store called *name* in this process; make it when no handle has it open."""
    with _names:
        store = _stores.get(name)
        if store is None:
            store = _stores[name] = MemoryStore(max_entries)
        return store


_names = threading.Lock()
_stores: WeakValueDictionary[str, MemoryStore] = WeakValueDictionary()
