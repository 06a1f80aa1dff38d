"""An entry: an answer kept in memory, and the rule by which a reader refreshes it early."""

from __future__ import annotations

import math
import random
from typing import Self

from attrs import frozen
from msgspec import Struct

from argo_mw.plugin import NO_COST, Outcome, Stream, copy_error
from argo_mw.store import Snapshot, TagSnapshot, snapshot
from argo_mw_cache.stored_answer import KEPT

OWN_TAGS = frozenset({"layer:cache"})
"""The tag of all kept answers: killing the cache's flag changes its version, and so drops them."""
_RARE = 20.0
"""How many times the eagerness before its expiry an entry is first considered for an early refresh:
before that, the chance of one is less than e^-20."""


class Times(Struct, frozen=True):
    """The monotonic times up to which an entry may be served, and for what.

    Attributes:
        fresh_until: Until then it is served to every caller.
        early_from: From then on a reader may refresh it early.
        stale_until: Until then it is served when no newer answer can be had.
        eagerness: The load time in seconds, times the configured factor.
    """

    fresh_until: float
    early_from: float
    stale_until: float
    eagerness: float

    @classmethod
    def of(cls, fresh_until: float, *, load_time: float, early: float, grace: float) -> Self:
        """Return the times of an entry that took *load_time* seconds to load."""
        eagerness = load_time * early
        return cls(fresh_until, fresh_until - eagerness * _RARE, fresh_until + grace, eagerness)

    def wants_refresh(self, now: float) -> bool:
        """Decide at random whether this reader refreshes the entry before it expires.

        XFetch: Vattani, Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede
        Prevention", VLDB 2015, with the load time that was measured.
        """
        return now - self.eagerness * math.log(1.0 - random.random()) >= self.fresh_until


class CacheEntry(Struct, frozen=True, eq=False):
    """An answer, what is known about it, and how long it may be served.

    Attributes:
        outcome: What a hit returns; without its value where callers could change that.
        snapshot: The value, to be copied for each caller.
        shared_as_is: Whether *outcome* itself can be given to every caller.
        tag_snapshot: The versions of its tags at the start of the load.
        times: When it may be served.
        error: What to raise instead, when the answer is that there is none.
        size: About how many bytes it occupies.
    """

    outcome: Outcome
    snapshot: Snapshot
    shared_as_is: bool
    tag_snapshot: TagSnapshot
    times: Times
    error: Exception | None = None
    size: int = 0

    def serve(self) -> Outcome:
        """Return the answer for one caller.

        Raises:
            NotFound: The answer is that there is none.
        """
        if self.error is not None:
            raise copy_error(self.error)
        if self.shared_as_is:
            return self.outcome
        return self.outcome.evolve(value=self.snapshot.copy())


def hit_of(outcome: Outcome) -> Outcome:
    """Return *outcome* as later callers see it: served by the cache, at no cost."""
    return outcome.evolve(
        via=(*outcome.via, "cache"),
        tags=outcome.tags | OWN_TAGS,
        cost=NO_COST,
        attempts=(),
        notes=(*outcome.notes, KEPT),
    )


@frozen(eq=False)
class Recording:
    """A stream that has ended: nothing changes it, and every reader begins at its start.

    Attributes:
        stream: The stream.
        size: About how many bytes its chunks occupy.
    """

    stream: Stream[object]
    size: int

    def copy(self) -> object:
        """Return a handle of the stream, for one caller."""
        return self.stream.share()


def snapshot_of(value: object) -> Snapshot:
    """Return a snapshot of *value*, which may also be a complete stream.

    Raises:
        NotShareable: It cannot be copied.
    """
    if isinstance(value, Stream):
        chunks = value.chunks
        return Recording(value, snapshot(tuple(chunks)).size)
    return snapshot(value)
