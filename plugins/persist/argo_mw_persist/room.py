"""Room: a bound on how many things are held, and a fair queue of those who wait for it."""

from __future__ import annotations

import asyncio
from collections import deque


class Room:
    """Counts what is held, up to a bound.

    Args:
        capacity: How many things at most.
    """

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.held = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for room now."""
        return len(self._waiting)

    def try_enter(self, *, beyond: int = 0) -> bool:
        """Hold one more if there is room and nobody waits; whether it is held.

        Args:
            beyond: How many more than the bound may be held for this one, which then passes by
                those who wait.
        """
        if self.held >= self.capacity + beyond or (self._waiting and not beyond):
            return False
        self.held += 1
        return True

    async def enter(self) -> None:
        """Hold one more as soon as there is room, first come, first served."""
        if self.try_enter():
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                # The place was given in the moment of cancellation: pass it on.
                self.leave(1)
            elif place in self._waiting:
                self._waiting.remove(place)
            raise

    def leave(self, count: int) -> None:
        """Hold *count* fewer, and let as many of those who wait come in."""
        self.held -= count
        while self._waiting and self.held < self.capacity:
            place = self._waiting.popleft()
            if not place.done():
                self.held += 1
                place.set_result(None)
