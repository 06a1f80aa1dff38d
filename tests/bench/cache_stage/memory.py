"""The memory level's hit ratio on a skewed trace, beside libraries of the same size."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable

import cachebox
import numpy as np
from theine import Cache as Theine

from argo_mw import Outcome
from argo_mw.store import TagSnapshot, snapshot
from argo_mw_cache.entry import CacheEntry, Times
from argo_mw_cache.memory_level import MemoryLevel

KEYS = 1_000_000
CAPACITY = KEYS // 100

Lookup = Callable[[Hashable], bool]


def zipf_trace(requests: int, seed: int = 11) -> list[int]:
    """Requests for a million keys, each as often as Zipf's law with exponent 1.0 has it."""
    weights = 1.0 / np.arange(1, KEYS + 1)
    shares = np.cumsum(weights / weights.sum())
    draws = np.random.default_rng(seed).random(requests)
    return [int(key) for key in np.searchsorted(shares, draws)]


def ratios(requests: int) -> dict[str, float]:
    """The share of hits of each, in percent."""
    trace = zipf_trace(requests)
    return {
        name: round(100 * sum(map(lookup, trace)) / requests, 2)
        for name, lookup in {
            "zipf_memory": _memory(),
            "zipf_functools_lru": _functools(),
            "zipf_cachebox_lfu": _mapping(cachebox.LFUCache(CAPACITY)),
            "zipf_cachebox_lru": _mapping(cachebox.LRUCache(CAPACITY)),
            "zipf_theine": _theine(),
        }.items()
    }


def _mapping(cache: object) -> Lookup:
    def lookup(key: Hashable) -> bool:
        if cache.get(key) is not None:  # type: ignore[attr-defined]
            return True
        cache[key] = True  # type: ignore[index]
        return False

    return lookup


def _functools() -> Lookup:
    cached = functools.lru_cache(CAPACITY)(lambda key: True)

    def lookup(key: Hashable) -> bool:
        misses = cached.cache_info().misses
        cached(key)
        return cached.cache_info().misses == misses

    return lookup


def _theine() -> Lookup:
    cache: Theine[Hashable, bool] = Theine(CAPACITY)

    def lookup(key: Hashable) -> bool:
        _, found = cache.get(key)
        if not found:
            cache.set(key, True)
        return found

    return lookup


def _memory() -> Lookup:
    memory = MemoryLevel(max_entries=CAPACITY, max_bytes=1 << 40)
    outcome = Outcome(True)
    kept = snapshot(True)
    tag_snapshot = TagSnapshot((), 0, 0)
    times = Times.of(1e12, load_time=0.0, early=0.0, grace=0.0)
    entry = CacheEntry(outcome, kept, True, tag_snapshot, times, size=1)

    def lookup(key: Hashable) -> bool:
        name = str(key)
        if memory.get(name) is not None:
            return True
        memory.store(name, entry, 0.0)
        return False

    return lookup
