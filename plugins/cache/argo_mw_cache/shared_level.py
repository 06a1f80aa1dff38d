"""The second level: answers in the store that instances share.

What is kept is the outcome and the stamps that its tags had when its load began. Whoever reads it
compares those with the stamps of now, so a write that lands late, over a later invalidation, is a
miss for every reader; it needs no lock.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TypeVar

from argo_mw.plugin import (
    Call,
    Context,
    NotEncodable,
    Outcome,
    SharedUnavailable,
    TimeLimitExceeded,
    fail_at,
)
from argo_mw.store import Freshness, TagSnapshot
from argo_mw_cache.deferred import Deferred
from argo_mw_cache.lookups import Lookups
from argo_mw_cache.record import PREFIX, Record, Records, Unusable

T = TypeVar("T")

_ABSENT = Unusable("absent")
_INVALIDATED = Unusable("invalidated")


class SharedLevel:
    """Reads and writes answers in Shared; never raises.

    It waits *patience* seconds at most for each thing that it asks, of which there are two at
    most: the answer, and stamps that are not mirrored.
    """

    def __init__(self, context: Context, *, grace: float, patience: float, max_bytes: int) -> None:
        self._context = context
        self._clock = context.clock
        self._grace = grace
        self._patience = patience
        self._max_bytes = max_bytes
        self._versions = context.tag_versions
        self._records = Records(context)
        self._lookups = Lookups(context, patience)
        self._deferred = Deferred(context, grace=grace)

    async def get(self, call: Call) -> Record | Unusable:
        """Return what the store holds for *call*, unless it was invalidated since."""
        key = key_of(call)
        try:
            data = await self._lookups.get(key)
        except SharedUnavailable as error:
            return Unusable("unreachable", str(error))
        self._deferred.resume()
        if data is None:
            return _ABSENT
        found = self._records.read(data, key)
        if isinstance(found, Unusable):
            return found
        if found.freshness is Freshness.UNKNOWN:
            try:
                found.freshness = await self._soon(self._versions.check(found.tag_snapshot))
            except TimeLimitExceeded:
                return Unusable("unreachable", "the versions of its tags took too long")
        return _INVALIDATED if found.freshness is Freshness.MISS else found

    async def put(
        self, call: Call, outcome: Outcome, tag_snapshot: TagSnapshot, load_time: float
    ) -> Unusable | None:
        """Keep *outcome*, as a hit gives it, for others; why it was not kept, or ``None``."""
        key = key_of(call)
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - self._clock.time() + self._grace
        try:
            data = self._records.write(outcome, tag_snapshot, load_time, key)
        except NotEncodable as error:
            return Unusable("local", str(error))
        if len(data) > self._max_bytes:
            return Unusable("local", f"{len(data)} bytes: max_value_bytes is less")
        try:
            await self._soon(self._context.shared.set(key, data, ttl=ttl))
        except (SharedUnavailable, TimeLimitExceeded) as error:
            self._deferred.keep(key, data, tag_snapshot.versions, outcome)
            why = str(error) or f"it took longer than {self._patience:g} s"
            return Unusable("unreachable", why)
        self._deferred.resume()
        return None

    async def _soon(self, code: Coroutine[object, object, T]) -> T:
        return await fail_at(code, self._clock.monotonic() + self._patience, self._clock)


def key_of(call: Call) -> str:
    """The key in the store: the call's own, which holds its tenant where that matters."""
    return f"{PREFIX}{call.key}"
