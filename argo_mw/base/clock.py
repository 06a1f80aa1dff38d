"""Time, injected: monotonic for ages and deadlines, wall time for stamps that leave the process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

from argo_mw.base.timers import Timers

Callback: TypeAlias = Callable[[], object]
"""A function that a timer calls."""


class Clock(Protocol):
    """The source of time.

    Everything that waits or ages asks a clock, so that tests decide what time it is.
    """

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back; only differences mean anything."""

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""

    async def sleep(self, seconds: float) -> None:
        """Return after *seconds* have passed; zero or less yields to the loop once."""

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Call *callback* on the running loop once :meth:`monotonic` has reached *when*."""


class Timer(Protocol):
    """A pending callback."""

    def cancel(self) -> None:
        """Drop the callback, if it has not been called yet."""


class SystemClock:
    """The machine's own clocks.

    Timers never fire early, and at most two milliseconds or 1.6 % of their delay late.
    """

    __slots__ = ("_timers",)

    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)
    sleep = staticmethod(asyncio.sleep)

    def __init__(self) -> None:
        self._timers: Timers | None = None

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Call *callback* on the running loop at monotonic time *when*, in seconds."""
        loop = asyncio.get_running_loop()
        timers = self._timers
        if timers is None or timers.loop is not loop:
            timers = self._timers = Timers(loop)
        return timers.call_at(when, callback)
