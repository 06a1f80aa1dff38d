"""Timers for deadlines: many are set, few ever fire.

The event loop keeps its timers in a heap, where one that is set and cancelled right away, as nearly
every deadline is, costs 2 µs. Here, timers that are due at about the same time share one timer of
the loop: 0.5 µs (measured in ``tests/bench/pipeline.py``).
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable

from msgspec import Struct

_NEVER = 1e12
"""Seconds beyond which a timer is never set: thirty thousand years."""
_SHARE = 8
"""Half the milliseconds by which a timer may fire late, for each second of its delay."""


class Timers:
    """The timers of one event loop.

    Attributes:
        loop: The loop.
    """

    __slots__ = ("_due", "_offset", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._offset = loop.time() - time.monotonic()
        self._due: dict[int, dict[Pending, None]] = {}

    def call_at(self, when: float, callback: Callable[[], object]) -> Pending:
        """Call *callback* at monotonic time *when*, in seconds, no earlier; in an empty context."""
        if when > _NEVER:
            return Pending(callback, {})
        late = int((when - time.monotonic()) * _SHARE)
        step = 1 << late.bit_length() if late > 0 else 1  # milliseconds
        due = (int(when * 1000) // step + 1) * step
        together = self._due.get(due)
        if together is None:
            together = self._due[due] = {}
            seconds = due / 1000 + self._offset
            self.loop.call_at(seconds, self._ring, due, context=contextvars.Context())
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


class Pending(Struct, eq=False):
    """A timer that has not fired."""

    callback: Callable[[], object]
    _together: dict[Pending, None]

    def cancel(self) -> None:
        """Drop the callback, if it has not been called yet."""
        self._together.pop(self, None)
