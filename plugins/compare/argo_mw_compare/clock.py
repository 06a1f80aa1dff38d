"""A clock at the replayed date, faster than real time, that skips idle times."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable

from attrs import define

_SETTLING = 20


@define(eq=False)
class _Timer:
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class WarpClock:
    """A ``Clock`` of replayed seconds, *speed* of them in a real second.

    Between the rounds of a workload only timers act: :meth:`skip` jumps to the next round, and runs
    the timers that fall due on the way in their order.

    Args:
        now: Seconds since the epoch at which the replay starts.
        speed: Replayed seconds per real second.
    """

    def __init__(self, now: float, speed: float) -> None:
        self.speed = speed
        self._wall = now
        self._began = time.monotonic()
        self._skipped = 0.0
        self._heap: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._armed: asyncio.TimerHandle | None = None
        self._armed_for = float("inf")

    def monotonic(self) -> float:
        """Return replayed seconds since the start."""
        return (time.monotonic() - self._began) * self.speed + self._skipped

    def time(self) -> float:
        """Return the replayed time, in seconds since the epoch."""
        return self._wall + self.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* of replayed time."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_at(self.monotonic() + seconds, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def call_at(self, when: float, callback: Callable[[], object]) -> _Timer:
        """Call *callback* once :meth:`monotonic` has reached *when*."""
        timer = _Timer(callback)
        heapq.heappush(self._heap, (when, next(self._order), timer))
        if when < self._armed_for:
            self._arm(when)
        return timer

    async def skip(self, to: float, moved: Callable[[], object]) -> None:
        """Jump to monotonic time *to*, timer by timer; call *moved* after every jump."""
        while True:
            due = self._next_due()
            target = min(to, due)
            if target > (now := self.monotonic()):
                self._skipped += target - now
                moved()
            self._run_due()
            for _ in range(_SETTLING):
                await asyncio.sleep(0)
            if due >= to:
                return

    def _next_due(self) -> float:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else float("inf")

    def _arm(self, when: float) -> None:
        if self._armed is not None:
            self._armed.cancel()
        loop = asyncio.get_running_loop()
        delay = max(0.0, when - self.monotonic()) / self.speed
        self._armed_for = when
        self._armed = loop.call_later(delay, self._run_due)

    def _run_due(self) -> None:
        self._armed_for = float("inf")
        now = self.monotonic()
        while self._next_due() <= now:
            heapq.heappop(self._heap)[2].callback()
        due = self._next_due()
        if due < float("inf"):
            self._arm(due)
