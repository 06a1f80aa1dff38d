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
    Undecodable,
    within,
)

T = TypeVar("T")

_PREFIX = "argo:cache:"
_FIELDS = 3


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


@frozen
class Unusable:
    """Why there is nothing to use in the shared store.

    Attributes:
        action: What to count it as.
        detail: More about it.
    """

    action: str
    detail: str = ""


class SharedLevel:
    """Reads and writes answers in Shared; never raises, never waits longer than *patience*."""

    def __init__(self, context: Context, *, grace: float, patience: float, max_bytes: int) -> None:
        self._context = context
        self._clock = context.clock
        self._grace = grace
        self._patience = patience
        self._max_bytes = max_bytes

    async def get(self, call: Call) -> Found | Unusable:
        """What the store holds for *call* that was not invalidated since."""
        key = key_of(call)
        try:
            data = await self._in_time(self._context.shared.get(key))
        except (SharedUnavailable, Expired) as error:
            return Unusable("unreachable", str(error))
        if data is None:
            return Unusable("absent")
        record = self._context.codecs.decode(data, key)
        if isinstance(record, Undecodable):
            return Unusable("undecodable", f"{record.reason.value} {record.detail}".strip())
        if not isinstance(record, tuple) or len(record) != _FIELDS:
            return Unusable("undecodable", "it is no answer")
        outcome, marks, load_time = record
        if not isinstance(outcome, Outcome) or not isinstance(load_time, float):
            return Unusable("undecodable", "it is no answer")
        if outcome.expires_at is None:
            return Unusable("undecodable", "it has no expiry")
        try:
            stamped = self._context.stamps.adopt(marks)
        except (TypeError, ValueError) as error:
            return Unusable("undecodable", str(error))
        freshness = await self._context.stamps.check(stamped)
        if freshness is Freshness.MISS:
            return Unusable("invalidated")
        return Found(outcome, stamped, load_time, stale=freshness is not Freshness.FRESH)

    async def put(
        self, call: Call, outcome: Outcome, stamped: Stamped, load_time: float
    ) -> Unusable | None:
        """Keep *outcome* for other instances; why it was not kept, or ``None``."""
        key = key_of(call)
        assert outcome.expires_at is not None
        ttl = outcome.expires_at - self._clock.time() + self._grace
        try:
            data = self._context.codecs.encode((outcome, stamped.marks, load_time), key)
        except NotEncodable as error:
            return Unusable("local", str(error))
        if len(data) > self._max_bytes:
            return Unusable("local", f"{len(data)} bytes: max_value_bytes is less")
        try:
            await self._in_time(self._context.shared.set(key, data, ttl=ttl))
        except (SharedUnavailable, Expired) as error:
            return Unusable("unreachable", str(error))
        return None

    async def _in_time(self, code: Coroutine[object, object, T]) -> T:
        return await within(code, self._clock.monotonic() + self._patience, self._clock)


def key_of(call: Call) -> str:
    """The key in the store: the call's own, which holds its tenant where that matters."""
    return f"{_PREFIX}{call.key}"
