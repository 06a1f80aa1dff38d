"""Turns: when what computes on the event loop for long lets others go on."""

from __future__ import annotations

from time import thread_time
from typing import Final

_MOMENT: Final = 0.005
"""Seconds of CPU after which others have their turn."""


class Turns:
    """Says when it is time to let other tasks of the event loop go on.

    For loops whose steps may never wait, since others decide how many there are and how large::

        turns = Turns()
        async for piece in body:
            work_on(piece)
            if turns.due():
                await asyncio.sleep(0)

    Time is the CPU time of the thread, so that nothing is due for what has waited anyway.
    """

    __slots__ = ("_since",)

    def __init__(self) -> None:
        self._since = thread_time()

    def due(self) -> bool:
        """Return whether the thread has computed for 5 ms since this was last true."""
        now = thread_time()
        if now - self._since < _MOMENT:
            return False
        self._since = now
        return True
