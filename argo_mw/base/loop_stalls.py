"""Time limits that discount event-loop stalls.

While the loop is busy with one callback, no timer fires and no socket is read. A timer that then
fires late proves nothing about the other side: its answer may lie unread in the socket, and the
request may not even have been sent. So a limit whose timer fires late starts again instead of
counting as passed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from attrs import define

from argo_mw.base.clock import Clock, Timer

_LATE = 0.1
"""The share of a limit by which its timer must fire late for the loop to count as stalled."""


@define(eq=False)
class StallAwareLimit:
    """A moment by which something is due, which moves when the event loop was stalled.

    Attributes:
        started: Monotonic seconds at which the wait began.
        due: Monotonic seconds at which the limit passes.
        min_stall: Seconds by which a timer may always fire late, for limits so short that a
            tenth of them is no more than a timer's own imprecision.
    """

    started: float
    due: float
    min_stall: float = 0.0

    def restart_if_stalled(self, now: float) -> bool:
        """Return True and restart the limit if a stalled loop delayed its timer until *now*."""
        seconds = self.due - self.started
        if now - self.due <= max(_LATE * seconds, self.min_stall):
            return False
        self.due = now + seconds
        return True


@contextlib.asynccontextmanager
async def stall_aware_timeout(seconds: float, clock: Clock) -> AsyncIterator[None]:
    """Limit the block to *seconds* of *clock*, and grant as many again if the loop was stalled.

    Raises:
        TimeoutError: The block took longer; it was cancelled.
    """
    started = clock.monotonic()
    limit = StallAwareLimit(started, started + seconds)
    async with asyncio.timeout(None) as timeout:
        timer: Timer

        def expire() -> None:
            timeout.reschedule(0.0)

        def check() -> None:
            nonlocal timer
            if limit.restart_if_stalled(clock.monotonic()):
                timer = clock.call_at(limit.due, expire)
            else:
                expire()

        timer = clock.call_at(limit.due, check)
        try:
            yield
        finally:
            timer.cancel()
