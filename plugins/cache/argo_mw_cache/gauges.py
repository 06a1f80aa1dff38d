"""Gauges of the memory level."""

from __future__ import annotations

from collections.abc import Callable

from argo_mw.plugin import Gauge
from argo_mw_cache.memory_level import MemoryLevel


def gauges(current: Callable[[], MemoryLevel | None]) -> list[Gauge]:
    """Return the gauges of the memory level in use.

    Args:
        current: Returns the memory level in use, or ``None`` before there is one.
    """

    def reader(figure: Callable[[MemoryLevel], int]) -> Callable[[], int | None]:
        def read() -> int | None:
            memory = current()
            return None if memory is None else figure(memory)

        return read

    return [
        Gauge("argo_mw.cache.entries", reader(len), "{entry}", "Answers in memory"),
        Gauge(
            "argo_mw.cache.entries.limit",
            reader(lambda memory: memory.max_entries),
            "{entry}",
            "Answers in memory at most",
        ),
        Gauge("argo_mw.cache.size", reader(lambda m: m.bytes), "By", "Size of these answers"),
        Gauge(
            "argo_mw.cache.size.limit",
            reader(lambda memory: memory.max_bytes),
            "By",
            "Size of answers in memory at most",
        ),
    ]
