"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextvars import Context, copy_context

from attrs import define, field

from argo_mw.base.clock import Callback, Timer

_MAX_TURNS = 10_000
_TURNS_WITHOUT_READY = 50


@define(eq=False)
class _Pending:
    """A callback that is not due yet."""

    callback: Callback
    context: Context
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@define(eq=False)
class FakeClock:
    """A :class:`~argo_mw.Clock` that moves only when a test advances it.

    Example::

        clock = FakeClock()
        entry = Entry(clock, ttl=60)
        await clock.advance(61)
        assert entry.expired

    Args:
        wall: Seconds since the epoch at the start.
        start: The monotonic reading at the start, in seconds.
    """

    _wall: float = 1_750_000_000.0
    _monotonic: float = field(default=1_000.0, alias="start")
    _heap: list[tuple[float, int, _Pending]] = field(factory=list, init=False)
    _order: itertools.count[int] = field(factory=itertools.count, init=False)

    def monotonic(self) -> float:
        """Return seconds; they move in :meth:`advance` and :meth:`stall`."""
        return self._monotonic

    def time(self) -> float:
        """Return seconds since the epoch; :meth:`set_wall` sets them too."""
        return self._wall

    async def sleep(self, seconds: float) -> None:
        """Return once the clock has been advanced by *seconds*."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        timer = self._push(self._monotonic + seconds, lambda: _wake(woken))
        try:
            await woken
        finally:
            timer.cancel()

    def call_at(self, when: float, callback: Callback) -> Timer:
        """Call *callback* once the clock has been advanced to monotonic time *when*."""
        if when <= self._monotonic:
            return asyncio.get_running_loop().call_soon(callback)
        return self._push(when, callback)

    @property
    def pending(self) -> int:
        """Return how many sleepers and timers are not due yet: 0 when none was left behind."""
        return sum(not timer.cancelled for _, _, timer in self._heap)

    def set_wall(self, seconds: float) -> None:
        """Set the wall clock alone to *seconds* since the epoch, as NTP does."""
        self._wall = seconds

    def stall(self, seconds: float) -> None:
        """Let *seconds* pass in which the event loop runs nothing, as when a callback blocks it.

        Timers that fall due meanwhile fire late, at the next :meth:`advance`.
        """
        self._move_to(self._monotonic + seconds)

    async def advance(self, seconds: float) -> None:
        """Let *seconds* pass: run each timer that falls due, in order, and all that it starts.

        Raises:
            ValueError: *seconds* are below zero.
            Exception: A timer's callback raised it.
        """
        if seconds < 0:
            msg = f"a clock cannot be advanced by {seconds} s; use set_wall() to set the wall clock"
            raise ValueError(msg)
        await settle()
        end = self._monotonic + seconds
        while self._heap and self._heap[0][0] <= end:
            when, _, timer = heapq.heappop(self._heap)
            if timer.cancelled:
                continue
            self._move_to(when)
            timer.cancelled = True
            timer.context.run(timer.callback)
            await settle()
        self._move_to(end)
        await settle()

    def _push(self, when: float, callback: Callback) -> _Pending:
        timer = _Pending(callback, copy_context())
        heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    def _move_to(self, when: float) -> None:
        if when > self._monotonic:
            self._wall += when - self._monotonic
            self._monotonic = when


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)


async def settle() -> None:
    """Return once no callback of the running loop is ready any more.

    Callbacks that wait for a thread, a process or a socket are not ready.

    Raises:
        RuntimeError: Some task goes on for ever without waiting for anything.
    """
    # No public method says whether a loop is idle. A loop without asyncio's own list of ready
    # callbacks (uvloop) gets a fixed number of turns instead.
    ready = getattr(asyncio.get_running_loop(), "_ready", None)
    for _ in range(_TURNS_WITHOUT_READY if ready is None else _MAX_TURNS):
        await asyncio.sleep(0)
        if ready is not None and not ready:
            return
    if ready is not None:
        msg = f"the loop is still busy after {_MAX_TURNS} turns: some task never waits for anything"
        raise RuntimeError(msg)
