"""A bound on how many things are held at once, with a fair queue."""

from __future__ import annotations

import asyncio
from collections import deque


class CapacityLimiter:
    """A count of what is held, up to a bound.

    Args:
        capacity: How many things at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._hasty: set[asyncio.Future[bool]] = set()

    @property
    def waiting(self) -> int:
        """How many callers wait to hold one more."""
        return len(self._waiting)

    def try_acquire(self, *, beyond: int = 0) -> bool:
        """Hold one more if the bound allows it and no caller waits; return whether it is held.

        Args:
            beyond: How far this one may exceed the bound; if it may, it overtakes waiting callers.
        """
        if self.held >= self.capacity + beyond or (self._waiting and not beyond):
            return False
        self.held += 1
        return True

    async def acquire(self, *, hasty: bool = False) -> bool:
        """Hold one more as soon as the bound allows it, first come, first served.

        Args:
            hasty: Whether :meth:`refuse` may end the wait.

        Returns:
            Whether it is held.
        """
        if self.try_acquire():
            return True
        place: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        if hasty:
            self._hasty.add(place)
        try:
            return await place
        except BaseException:
            if place.done() and not place.cancelled() and place.result():
                # A place was granted just as the caller was cancelled: pass it on.
                self.release(1)
            elif place in self._waiting:
                self._waiting.remove(place)
            raise
        finally:
            self._hasty.discard(place)

    def release(self, count: int) -> None:
        """Hold *count* fewer, and let as many waiting callers go on."""
        self.held -= count
        while self._waiting and self.held < self.capacity:
            place = self._waiting.popleft()
            if not place.done():
                self.held += 1
                place.set_result(True)

    def refuse(self) -> None:
        """End the waits of hasty callers, which then hold nothing."""
        for place in self._hasty:
            if not place.done():
                self._waiting.remove(place)
                place.set_result(False)
