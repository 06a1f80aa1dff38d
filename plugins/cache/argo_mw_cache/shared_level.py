"""The second level: answers in the store that instances share.

What is kept is the outcome and the stamps that its tags had when its load began. Whoever reads it
compares those with the stamps of now, so a write that lands late, over a later invalidation, is a
miss for every reader; it needs no lock.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from attrs import frozen

from argo_mw import (
    Call,
    Context,
    Expired,
    Freshness,
    NotEncodable,
    Outcome,
    SharedUnavailable,
    Stamped,
    within,
)
from argo_mw_cache.deferred import Deferred
from argo_mw_cache.record import PREFIX, Unusable, read_record, write_record

T = TypeVar("T")


@frozen
class Found:
    """An answer that was in the shared store.

    Attributes:
        outcome: The answer as it was loaded.
        stamped: Its tags' stamps at the start of its load.
        load_time: Seconds that loading it took.
        stale: Whether its tags were expired since.
    """

    outcome: Outcome
    stamped: Stamped
    load_time: float
    stale: bool


class SharedLevel:
    """Reads and writes answers in Shared; never raises, never waits longer than *patience*."""

    def __init__(self, context: Context, *, grace: float, patience: float, max_bytes: int) -> None:
        self._context = context
        self._clock = context.clock
        self._grace = grace
        self._patience = patience
        self._max_bytes = max_bytes
        self._deferred = Deferred(context, grace=grace)

    async def get(self, call: Call) -> Found | Unusable:
        """What the store holds for *call* that was not invalidated since."""
        key = key_of(call)
        try:
            data = await self._in_time(self._context.shared.get(key))
        except (SharedUnavailable, Expired) as error:
            return Unusable("unreachable", str(error))
        self._deferred.resume()
        if data is None:
            return Unusable("absent")
        record = read_record(self._context, data, key)
        if isinstance(record, Unusable):
            return record
        freshness = await self._context.stamps.check(record.stamped)
        if freshness is Freshness.MISS:
            return Unusable("invalidated")
        stale = freshness is not Freshness.FRESH
        return Found(record.outcome, record.stamped, record.load_time, stale=stale)

    async def put(
        self, call: Call, outcome: Outcome, stamped: Stamped, load_time: float
    ) -> Unusable | None:
        """Keep *outcome*, as a hit gives it, for others; why it was not kept, or ``None``."""
        key = key_of(call)
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - self._clock.time() + self._grace
        try:
            data = write_record(self._context, outcome, stamped, load_time, key)
        except NotEncodable as error:
            return Unusable("local", str(error))
        if len(data) > self._max_bytes:
            return Unusable("local", f"{len(data)} bytes: max_value_bytes is less")
        try:
            await self._in_time(self._context.shared.set(key, data, ttl=ttl))
        except (SharedUnavailable, Expired) as error:
            self._deferred.keep(key, data, stamped.marks, outcome)
            return Unusable("unreachable", str(error))
        self._deferred.resume()
        return None

    async def _in_time(self, code: Coroutine[object, object, T]) -> T:
        return await within(code, self._clock.monotonic() + self._patience, self._clock)


def key_of(call: Call) -> str:
    """The key in the store: the call's own, which holds its tenant where that matters."""
    return f"{PREFIX}{call.key}"
