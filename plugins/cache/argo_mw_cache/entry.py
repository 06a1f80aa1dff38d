"""An entry: an answer as it is kept."""

from __future__ import annotations

import math
import random

from argo_mw import NO_COST, NotFound, Outcome, Protected, Stamped, fresh
from attrs import define

_RARE = 20.0
"""Where early refreshes begin: e^-20 is the chance of one that this leaves out."""


@define(eq=False)
class Entry:
    """An answer, what is known about it, and how long it may be served.

    Attributes:
        outcome: What a hit gives; its value is lent by *protected* where callers could change
            it.
        protected: The value, for several callers.
        shared_as_is: Whether the value can be given to everyone as it is.
        stamped: Its tags' stamps at the start of the load.
        fresh_until: Monotonic seconds.
        early_from: Monotonic seconds from which an early refresh is possible at all.
        stale_until: Monotonic seconds until which it is served when nothing newer can be had.
        load_time: Seconds that getting it took.
        error: What to raise instead, when the answer is that there is none.
        size: About how many bytes it occupies.
    """

    outcome: Outcome
    protected: Protected
    shared_as_is: bool
    stamped: Stamped
    fresh_until: float
    early_from: float
    stale_until: float
    load_time: float
    error: NotFound | None = None
    size: int = 0

    def serve(self) -> Outcome:
        """The answer, for one caller.

        Raises:
            NotFound: The answer is that there is none.
        """
        if self.error is not None:
            raise fresh(self.error)
        if self.shared_as_is:
            return self.outcome
        return self.outcome.evolve(value=self.protected.lend())

    def wants_refresh(self, now: float, early: float) -> bool:
        """Whether this reader is the one to refresh the entry before it expires.

        XFetch: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
        Prevention", VLDB 2015, with the load time that was measured.
        """
        return now - self.load_time * early * math.log(1.0 - random.random()) >= self.fresh_until

    @staticmethod
    def early_start(fresh_until: float, load_time: float, early: float) -> float:
        """The time before which :meth:`wants_refresh` is practically never true."""
        return fresh_until - load_time * early * _RARE


def hit_of(outcome: Outcome) -> Outcome:
    """*outcome* as a later caller sees it: served by the cache, at no cost."""
    return outcome.evolve(cost=NO_COST, attempts=()).shaped_by("cache", "hit in memory")
