"""Turns: letting other tasks run while a long computation occupies the event loop."""

from __future__ import annotations

from time import perf_counter, thread_time
from typing import Final

_MOMENT: Final = 0.005
"""Seconds of CPU time after which other tasks get a turn."""


class Turns:
    """Says when it is time to let other tasks of the event loop run.

    For loops that may never wait by themselves, since a peer decides how many steps there are::

        turns = Turns()
        async for piece in body:
            work_on(piece)
            if turns.due():
                await asyncio.sleep(0)

    Time is the thread's CPU time, so a loop that has waited anyway is not due. Reading it takes
    microseconds, so elapsed time, which is never less, is looked at first.
    """

    __slots__ = ("_since", "_soonest")

    def __init__(self) -> None:
        self._soonest = perf_counter() + _MOMENT
        self._since: float | None = None

    def due(self) -> bool:
        """Return whether the thread has computed for 5 ms since this was last true.

        Counting begins once 5 ms have passed, so the first time it may take 10 ms.
        """
        passed = perf_counter()
        if passed < self._soonest:
            return False
        now, since = thread_time(), self._since
        computed = _MOMENT if since is None else now - since
        if computed < _MOMENT:
            self._soonest = passed + _MOMENT - computed
            return False
        self._since, self._soonest = now, passed + _MOMENT
        return since is not None
