"""Timers for deadlines, of which there are many and few ever ring.

The event loop keeps each timer in a heap, which makes one that is cancelled right away, as a
deadline nearly always is, cost 2 µs. Here, those that are due at about the same time wait in one
place, behind one timer of the loop's: 0.5 µs (measured in ``tests/bench/pipeline.py``).
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from math import ceil

_SHARE = 64
"""A timer rings late by at most this part of its delay, or by a millisecond."""


class Timers:
    """The timers of one event loop.

    Attributes:
        loop: The loop.
    """

    __slots__ = ("_due", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._due: dict[int, dict[Pending, None]] = {}

    def call_later(self, delay: float, callback: Callable[[], object]) -> Pending:
        """Call *callback* in *delay* seconds, no earlier; in an empty context."""
        late = int(delay * (1000 / _SHARE)) if delay > 0 else 0
        step = 1 << late.bit_length()  # milliseconds
        due = ceil((self.loop.time() + delay) * 1000 / step) * step
        together = self._due.get(due)
        if together is None:
            together = self._due[due] = {}
            self.loop.call_at(due / 1000, self._ring, due, context=contextvars.Context())
        pending = Pending(callback, together)
        together[pending] = None
        return pending

    def _ring(self, due: int) -> None:
        together = self._due.pop(due)
        while together:
            pending = next(iter(together))
            del together[pending]
            try:
                pending.callback()
            except Exception as error:
                self.loop.call_exception_handler(
                    {"message": f"a timer's callback failed: {error!r}", "exception": error}
                )


class Pending:
    """A timer that has not rung."""

    __slots__ = ("_together", "callback")

    def __init__(self, callback: Callable[[], object], together: dict[Pending, None]) -> None:
        self.callback = callback
        self._together = together

    def cancel(self) -> None:
        """Do not ring."""
        self._together.pop(self, None)
