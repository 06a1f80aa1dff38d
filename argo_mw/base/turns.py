"""Turns: when what computes on the event loop for long lets others go on."""

from __future__ import annotations

from time import perf_counter, thread_time
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

    Time is the CPU time of the thread, so that nothing is due for what has waited anyway. To read
    it takes microseconds, so that the time that has passed is looked at first: nothing has computed
    for longer.
    """

    __slots__ = ("_since", "_soonest")

    def __init__(self) -> None:
        self._soonest = perf_counter() + _MOMENT
        self._since: float | None = None

    def due(self) -> bool:
        """Return whether the thread has computed for 5 ms since this was last true.

        The count begins when 5 ms have passed, so that it takes 10 ms at most the first time.
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
