"""Gauges of the memory level."""

from __future__ import annotations

from collections.abc import Callable

from argo_mw.plugin import Gauge
from argo_mw_cache.layer import Cache


def gauges(current: Callable[[], Cache | None]) -> list[Gauge]:
    """Return the gauges of the cache in use.

    Args:
        current: Returns the cache in use, or ``None`` before there is one.
    """

    def total(size: Callable[[Cache], int]) -> Callable[[], int | None]:
        def read() -> int | None:
            cache = current()
            return None if cache is None else size(cache)

        return read

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
