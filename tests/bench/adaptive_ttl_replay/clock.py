"""The clock of a replay: it stands still until the harness moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools

from attrs import define

from argo_mw.base.clock import Callback


@define(eq=False)
class _Alarm:
    callback: Callback
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class ReplayClock:
    """A fake clock that is moved without yielding to the loop.

    :class:`argo_mw.testing.FakeClock` lets the loop settle after each step, which millions of
    reads cannot afford; here the harness yields only when a timer was due.
    """

    def __init__(self, now: float) -> None:
        self._now = now
        self._alarms: list[tuple[float, int, _Alarm]] = []
        self._order = itertools.count()

    def monotonic(self) -> float:
        """Seconds; the same as the wall clock."""
        return self._now

    def time(self) -> float:
        """Seconds since the epoch."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Return once the clock was moved by *seconds*."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        alarm = self.call_at(self._now + seconds, wake)
        try:
            await woken
        finally:
            alarm.cancel()

    def call_at(self, when: float, callback: Callback) -> _Alarm:
        """Call *callback* when the clock is moved to *when* or beyond."""
        alarm = _Alarm(callback)
        heapq.heappush(self._alarms, (when, next(self._order), alarm))
        return alarm

    def move_to(self, now: float) -> bool:
        """Let it be *now*; whether a timer rang, so that the loop has something to do."""
        rang = False
        while self._alarms and self._alarms[0][0] <= now:
            when, _, alarm = heapq.heappop(self._alarms)
            self._now = max(self._now, when)
            if not alarm.cancelled:
                alarm.cancelled = rang = True
                alarm.callback()
        self._now = max(self._now, now)
        return rang
