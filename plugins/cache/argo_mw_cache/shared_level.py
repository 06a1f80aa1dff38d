"""The second level: answers in the store that instances share.

An answer is stored with the versions that its tags had when its load began. Every reader compares
them with the current ones, so a write that lands late, over a later invalidation, is a miss for
every reader; it needs no lock.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import TypeAlias, TypeVar

from msgspec import Struct

from argo_mw.plugin import (
    AnyOperation,
    Call,
    Closed,
    Context,
    Kept,
    NotEncodable,
    Outcome,
    SharedUnavailable,
    TimeLimitExceeded,
    fail_at,
)
from argo_mw.store import Freshness, TagSnapshot
from argo_mw_cache.deferred import Deferred
from argo_mw_cache.lookups import Lookups
from argo_mw_cache.stored_answer import AnswerCodec, StoredAnswer, StoreProblem, store_key

T = TypeVar("T")
Read: TypeAlias = StoredAnswer | StoreProblem | None

_INVALIDATED = StoreProblem("invalidated")
_TRIAL = "argo:trial:"
_JUDGE_AGAIN = 60.0
"""Seconds between two probes of what the store refuses."""


class EncodedAnswer(Struct, frozen=True, eq=False):
    """An answer for the store.

    Attributes:
        hit: The answer as later callers get it; it has an expiry.
        data: Its bytes.
        value: What stands for its value where it is encoded.
    """

    hit: Outcome
    data: bytes
    value: object


class SharedLevel:
    """Reads and writes answers in the store; never raises.

    Args:
        context: Where the store and the tags' versions are.
        grace_of: Returns the seconds after its expiry for which an answer is kept in the store.
        timeout: Seconds to wait at most for the answer, and again for versions of its tags that
            are not mirrored.
        max_bytes: The size of one answer at most.
    """

    def __init__(
        self,
        context: Context,
        *,
        grace_of: Callable[[AnyOperation], float],
        timeout: float,
        max_bytes: int,
    ) -> None:
        self._context = context
        self._clock = context.clock
        self._grace_of = grace_of
        self._timeout = timeout
        self._max_bytes = max_bytes
        self._versions = context.tag_versions
        self._codec = AnswerCodec(context)
        self._deferred = Deferred(context)
        self._lookups = Lookups(context, timeout, answered=self._deferred.resume)
        self._judge_again_at = 0.0

    # A look is two steps, for the coroutine that makes it: one of their own would be 3 % of a hit.

    def ask(self, call: Call, key: str) -> Awaitable[bytes | None]:
        """Return what the store holds at *key*, where the answer to *call* lies, to be awaited.

        Raises:
            SharedUnavailable: The store is away, or did not answer in time.
        """
        # A key that was found before is likely there, and asking for a lease adds 14 us to a hit.
        return self._lookups.get(key, None if self._codec.has_read(key) else call)

    def read(self, data: bytes | None, key: str) -> Read | Coroutine[object, object, Read]:
        """Return the answer in *data*, which lay at *key*, unless it was invalidated since.

        Where that takes waiting, for a thread or for versions of tags, return what to await.
        """
        if data is None:
            return None
        found = self._codec.read_at_once(data, key)
        if isinstance(found, StoredAnswer) and found.freshness is Freshness.FRESH:
            return found
        return found if isinstance(found, StoreProblem) else self._judge_answer(found, data, key)

    async def _judge_answer(self, found: StoredAnswer | None, data: bytes, key: str) -> Read:
        read = found or await self._codec.read(data, key)
        if isinstance(read, StoreProblem):
            return read
        if read.freshness is Freshness.UNKNOWN:
            try:
                read.freshness = await self._in_time(self._versions.check(read.tag_snapshot))
            except TimeLimitExceeded:
                return StoreProblem("unreachable", "the versions of its tags took too long")
        return _INVALIDATED if read.freshness is Freshness.MISS else read

    def encode(
        self, call: Call, hit: Outcome, tag_snapshot: TagSnapshot, load_time: float
    ) -> EncodedAnswer | StoreProblem:
        """Return what to store of *hit*, the answer as later callers get it, or why that fails."""
        try:
            value = self._context.codecs.part(hit.value)
            written = hit if value is hit.value else hit.evolve(value=value)
            data = self._codec.write(written, tag_snapshot, load_time, store_key(call))
        except NotEncodable as error:
            return StoreProblem("local", str(error))
        if len(data) > self._max_bytes:
            return StoreProblem("local", f"{len(data)} bytes: max_value_bytes is less")
        return EncodedAnswer(hit, data, value)

    def to_be_put(
        self,
        call: Call,
        answer: EncodedAnswer,
        tag_snapshot: TagSnapshot,
        ended: Callable[[bool], None],
    ) -> Kept:
        """Return what another layer is told that is to store *answer* in place of this one.

        It calls *ended* with whether it has.
        """
        hit = answer.hit
        assert hit.expires_at is not None
        return Kept(
            hit.expires_at,
            tag_snapshot.versions,
            store_key(call),
            answer.data,
            self._life(call, hit.expires_at),
            ended,
            hit.value,
            answer.value,
        )

    def has_put(self) -> None:
        """Note that the store has taken an answer."""
        self._deferred.resume()

    async def put(
        self, call: Call, answer: EncodedAnswer, tag_snapshot: TagSnapshot
    ) -> StoreProblem | None:
        """Store *answer*; return why that failed, or ``None``."""
        key, hit, data = store_key(call), answer.hit, answer.data
        assert hit.expires_at is not None
        ttl = self._life(call, hit.expires_at)
        try:
            await self._in_time(self._context.shared.set(key, data, ttl=ttl))
        except (SharedUnavailable, TimeLimitExceeded) as error:
            grace = self._grace_of(call.operation)
            self._deferred.keep(key, data, tag_snapshot.versions, hit, grace)
            if isinstance(error, SharedUnavailable):
                self._judge_soon(key, data)
            why = str(error) or f"it took longer than {self._timeout:g} s"
            return StoreProblem("unreachable", why)
        self.has_put()
        return None

    def _life(self, call: Call, expires_at: float) -> float:
        """Return the seconds for which an answer lies in the store."""
        return expires_at - self._clock.time() + self._grace_of(call.operation)

    def _judge_soon(self, key: str, data: bytes) -> None:
        """Probe whether the store refuses only *data*, unless it is known to be away."""
        health, now = self._versions.health, self._clock.monotonic()
        if health.down or now < self._judge_again_at:
            return
        self._judge_again_at = now + _JUDGE_AGAIN
        with contextlib.suppress(Closed):
            self._context.tasks.spawn("cache:judge", self._judge(key, data))

    async def _judge(self, key: str, data: bytes) -> None:
        what = f"answers are not kept in the shared store, such as one of {len(data):,} bytes"
        # Under a key of its own: the answer's key may hold a newer answer by then.
        trial = partial(self._context.shared.set, f"{_TRIAL}{key}", data, ttl=1.0)
        await self._context.report_refusal("cache", what, trial)

    async def _in_time(self, code: Coroutine[object, object, T]) -> T:
        return await fail_at(code, self._clock.monotonic() + self._timeout, self._clock)
