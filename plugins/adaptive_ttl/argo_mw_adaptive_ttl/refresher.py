"""The refresher: has the policy recheck kept prices, and expires those that are due.

The cache has its own rule for refreshing an answer shortly before it expires.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from argo_mw.plugin import Clock, Timer
from argo_mw_adaptive_ttl.policy import RefreshPolicy
from argo_mw_adaptive_ttl.symbol import Symbol
from argo_mw_adaptive_ttl.symbol_stats import SymbolStats

_RECHECK_INTERVAL: Final = 60.0
"""Seconds between rechecks: bars are complete once a minute."""

_PEER_DELAY: Final = 20.0
"""Seconds that a symbol waits for the fetch of a close peer."""

_CLOSE_PEERS: Final = 0.3
"""The share of the common factor that a symbol's peers reveal, from which on they are close."""

_MAX_RECHECKS: Final = 32
"""How many peers are rechecked for one fetch, so that its cost is bounded."""


class Refresher:
    """Expires kept answers early, with one timer for all of them.

    Args:
        policy: Decides which are due.
        stats: What is known about symbols.
        clock: The time.
        expire: Called with each symbol whose kept answers are to expire.
    """

    def __init__(
        self,
        policy: RefreshPolicy,
        stats: SymbolStats,
        clock: Clock,
        expire: Callable[[str], object],
    ) -> None:
        self._policy = policy
        self._stats = stats
        self._clock = clock
        self._expire = expire
        self._ends: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._rechecks: dict[str, float] = {}
        self._in_turn: dict[str, OrderedDict[str, None]] = {}
        self._closed = False
        self._timer: Timer | None = None
        self._timer_at = float("inf")

    def __len__(self) -> int:
        return len(self._ends)

    def schedule(self, symbol: Symbol, recheck: float, ends: float) -> None:
        """Recheck *symbol* at *recheck* and after, until *ends*, in epoch seconds."""
        if self._closed:
            return
        self._in_turn.setdefault(symbol.calendar.name, OrderedDict())[symbol.name] = None
        self._ends[symbol.name] = ends
        self._push(recheck, symbol.name)

    def cancel(self, name: str) -> None:
        """Recheck symbol *name* no more: it was fetched anew, or has expired."""
        self._ends.pop(name, None)
        self._rechecks.pop(name, None)

    def recheck_peers(self, symbol: Symbol) -> None:
        """Recheck the peers of *symbol*, which was fetched: a bounded number of them in turn."""
        in_turn = self._in_turn.get(symbol.calendar.name)
        if not in_turn:
            return
        now = self._clock.time()
        for _ in range(min(len(in_turn), _MAX_RECHECKS)):
            name, _ = in_turn.popitem(last=False)
            if name in self._ends and not self._recheck(name, now):
                in_turn[name] = None

    def take_over(self, previous: Refresher) -> None:
        """Recheck what *previous* would have rechecked, and close it."""
        self._ends.update(previous._ends)
        self._in_turn.update(previous._in_turn)
        for name, at in previous._rechecks.items():
            self._push(at, name)
        previous.close()

    def close(self) -> None:
        """Recheck nothing any more, not even for a call that is still under way."""
        self._closed = True
        self._ends = {}
        self._rechecks = {}
        self._in_turn = {}
        self._heap = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _recheck(self, name: str, now: float) -> bool:
        """Expire *name* if it is due; return whether it needs no further recheck."""
        symbol = self._stats.get(name)
        if symbol is None or now >= self._ends[name]:
            self.cancel(name)
            return True
        if not self._policy.is_due(symbol, now):
            return False
        self.cancel(name)
        self._expire(name)
        return True

    def _push(self, at: float, name: str) -> None:
        self._rechecks[name] = at
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
            if self._rechecks.get(name) == at:
                del self._rechecks[name]
                ringing.append(name)
        expired_groups: set[str] = set()
        for name in ringing:
            self._recheck_or_wait(name, now, expired_groups)
        if self._heap:
            self._arm(self._heap[0][0])

    def _recheck_or_wait(self, name: str, now: float, expired_groups: set[str]) -> None:
        """Recheck *name*, later if a close peer has just expired: its fetch may reveal enough."""
        symbol = self._stats.get(name)
        close = symbol is not None and symbol.peer_coverage > _CLOSE_PEERS
        group = symbol.calendar.name if symbol is not None else ""
        if close and group in expired_groups:
            self._push(now + _PEER_DELAY, name)
        elif not self._recheck(name, now):
            self._push(now + _RECHECK_INTERVAL, name)
        elif close:
            expired_groups.add(group)
