"""What the memory level holds, for those who watch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from argo_mw import Gauge
from argo_mw_cache.layer import Cache


def gauges(caches: Callable[[], Iterable[Cache]]) -> list[Gauge]:
    """Gauges of what *caches* hold together; after a change of the configuration that may be two.

    Args:
        caches: Gives those in use.
    """

    def total(size: Callable[[Cache], int]) -> Callable[[], int]:
        return lambda: sum(size(cache) for cache in list(caches()))

    return [
        Gauge("argo.cache.entries", total(lambda c: len(c.memory)), "{entry}", "Answers in memory"),
        Gauge(
            "argo.cache.entries.limit",
            total(lambda c: c.memory.max_entries),
            "{entry}",
            "Answers in memory at most",
        ),
        Gauge("argo.cache.size", total(lambda c: c.memory.bytes), "By", "Size of these answers"),
        Gauge(
            "argo.cache.size.limit",
            total(lambda c: c.memory.max_bytes),
            "By",
            "Size of answers in memory at most",
        ),
    ]
