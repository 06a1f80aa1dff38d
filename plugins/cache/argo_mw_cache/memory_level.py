"""The memory level: bounded by entries and bytes, least frequently used out first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from cachebox import LFUCache

from argo_mw_cache.entry import CacheEntry

_SWEPT_PER_STORE = 4


class MemoryLevel:
    """Entries by key.

    Least-frequently-used keeps 5 to 9 points more hits than least-recently-used on a skewed
    trace. Its weakness, old favourites that are never evicted, is met by expiry: every store
    sweeps a few entries and removes those that may not be served any more.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._entries: LFUCache[str, CacheEntry] = LFUCache(max_entries)
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._sweep: Iterator[str] = iter(())
        self.bytes = 0
        self.get: Callable[[str], CacheEntry | None] = self._entries.get
        self._get_uncounted: Callable[[str], CacheEntry | None] = self._entries.peek

    def __len__(self) -> int:
        return len(self._entries)

    def store(self, key: str, entry: CacheEntry, now: float) -> None:
        """Keep *entry* under *key*, evicting others where there is no room."""
        self.drop(key)
        self._sweep_some(now)
        while len(self._entries) >= self.max_entries or (
            self.bytes and self.bytes + entry.size > self.max_bytes
        ):
            _, evicted = self._entries.popitem()
            self.bytes -= evicted.size
        self._entries[key] = entry
        self.bytes += entry.size

    def drop(self, key: str) -> None:
        """Forget *key*."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.bytes = 0

    def _sweep_some(self, now: float) -> None:
        keys = tuple(islice(self._sweep, _SWEPT_PER_STORE))
        if len(keys) < _SWEPT_PER_STORE:
            self._sweep = iter(list(self._entries.keys()))
        for key in keys:
            entry = self._get_uncounted(key)
            if entry is not None and now >= entry.times.stale_until:
                self.drop(key)
