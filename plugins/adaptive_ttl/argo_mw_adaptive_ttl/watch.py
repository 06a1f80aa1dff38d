"""Watch: looks at kept answers again when time has come or a peer was fetched."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from argo_mw.plugin import Clock, Timer
from argo_mw_adaptive_ttl.memory import Memory
from argo_mw_adaptive_ttl.policy import Watching
from argo_mw_adaptive_ttl.symbol import Symbol

_AGAIN: Final = 60.0
"""Seconds between looks: bars are complete once a minute."""

_TURN: Final = 20.0
"""Seconds that a symbol waits for the fetch of a close peer."""

_CLOSE: Final = 0.3
"""The share of the common factor that a symbol's peers tell, if they are close."""

_AT_ONCE: Final = 32
"""How many peers are looked at for one fetch, so that its cost is bounded."""


class Watch:
    """Gives kept answers up early, with one timer for all of them.

    Args:
        policy: Says what is due.
        memory: What is known about symbols.
        clock: The time.
        give_up: Called with each symbol whose kept answers are to be given up.
    """

    def __init__(
        self, policy: Watching, memory: Memory, clock: Clock, give_up: Callable[[str], object]
    ) -> None:
        self._policy = policy
        self._memory = memory
        self._clock = clock
        self._give_up = give_up
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._rings: dict[str, float] = {}
        self._turns: dict[str, OrderedDict[str, None]] = {}
        self._closed = False
        self._timer: Timer | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._ends)

    def keep(self, symbol: Symbol, recheck: float, ends: float) -> None:
        """Look at *symbol* again at *recheck* and after, until *ends*, in epoch seconds."""
        if self._closed:
            return
        self._turns.setdefault(symbol.calendar.name, OrderedDict())[symbol.name] = None
        self._ends[symbol.name] = ends
        self._push(recheck, symbol.name)

    def drop(self, name: str) -> None:
        """Symbol *name* has been fetched anew, or is given up: there is nothing to look at."""
        self._ends.pop(name, None)
        self._rings.pop(name, None)

    def news(self, symbol: Symbol) -> None:
        """*symbol* was fetched: look at its peers, a bounded number of them in turn."""
        turns = self._turns.get(symbol.calendar.name)
        if not turns:
            return
        now = self._clock.time()
        for _ in range(min(len(turns), _AT_ONCE)):
            name, _ = turns.popitem(last=False)
            if name in self._ends and not self._look(name, now):
                turns[name] = None

    def close(self) -> None:
        """Look no more, whatever a call that is still under way asks for."""
        self._closed = True
        self._ends.clear()
        self._rings.clear()
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, name: str, now: float) -> bool:
        """Give *name* up if it is due; whether it needs no more looking at."""
        symbol = self._memory.get(name)
        if symbol is None or now >= self._ends[name]:
            self.drop(name)
            return True
        if not self._policy.due(symbol, now):
            return False
        self.drop(name)
        self._give_up(name)
        return True

    def _push(self, at: float, name: str) -> None:
        self._rings[name] = at
        heapq.heappush(self._heap, (at, name))
        if at < self._timer_at:
            self._arm(at)

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        delay = max(0.0, at - self._clock.time())
        self._timer = self._clock.call_at(self._clock.monotonic() + delay, self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        now = self._clock.time()
        ringing = []
        while self._heap and self._heap[0][0] <= now:
            at, name = heapq.heappop(self._heap)
            if self._rings.get(name) == at:
                del self._rings[name]
                ringing.append(name)
        told: set[str] = set()
        for name in ringing:
            self._look_in_turn(name, now, told)
        if self._heap:
            self._arm(self._heap[0][0])

    def _look_in_turn(self, name: str, now: float, told: set[str]) -> None:
        """Look at *name*, unless a close peer was given up just now: its fetch may tell enough."""
        symbol = self._memory.get(name)
        close = symbol is not None and symbol.company > _CLOSE
        group = symbol.calendar.name if symbol is not None else ""
        if close and group in told:
            self._push(now + _TURN, name)
        elif not self._look(name, now):
            self._push(now + _AGAIN, name)
        elif close:
            told.add(group)
