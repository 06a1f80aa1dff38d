"""Counts in the shared store, gathered for a few seconds before they are written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from argo_mw.plugin import Closed, Context, SharedUnavailable, Timer

_EVERY = 5.0
"""Seconds for which counts are gathered before they are written."""
_MAX_NAMES = 2_000


class SharedCounts:
    """Adds to counters of the shared store in the background.

    What is counted while the store is away is written when it is back; at most a few seconds of
    counts are lost with a process.

    Args:
        context: Where the store and the time come from.
        key_of: Returns the key of a name, when it is written.
        ttl: Seconds for which a counter is kept from its first count on.
    """

    def __init__(self, context: Context, key_of: Callable[[str], str], *, ttl: float) -> None:
        self._context = context
        self._key_of = key_of
        self._ttl = ttl
        self._waiting: Counter[str] = Counter()
        self._timer: Timer | None = None
        self._closed = False

    def count(self, name: str, amount: int = 1) -> None:
        """Count *amount* more under *name*."""
        full = len(self._waiting) >= _MAX_NAMES and name not in self._waiting
        if not amount or self._closed or full:
            return
        self._waiting[name] += amount
        if self._timer is None:
            when = self._context.clock.monotonic() + _EVERY
            self._timer = self._context.clock.call_at(when, self._ring)

    async def flush(self) -> None:
        """Write what is waiting, now; keep it if the store is away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, Counter()
        try:
            while waiting:
                name, amount = waiting.popitem()
                try:
                    await self._context.shared.add(self._key_of(name), amount, ttl=self._ttl)
                except SharedUnavailable:
                    waiting[name] += amount
                    return
        finally:
            self._waiting.update(waiting)

    async def close(self) -> None:
        """Write what is waiting, and count no more. Idempotent."""
        self._closed = True
        await self.flush()

    def _ring(self) -> None:
        self._timer = None
        with suppress(Closed):
            self._context.tasks.spawn("similarity-counts", self.flush())
