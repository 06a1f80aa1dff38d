"""Loading: asks the rest of the chain, and keeps what comes back, in memory and in the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from contextvars import copy_context

from msgspec import Struct

from argo_mw.plugin import (
    HANDOVER,
    Call,
    Closed,
    Context,
    Handover,
    Next,
    NotFound,
    NotShareable,
    Outcome,
    Stream,
    copy_error,
)
from argo_mw.store import Freshness, Snapshot, TagSnapshot, snapshot
from argo_mw_cache.config import CacheConfig
from argo_mw_cache.entry import OWN_TAGS, CacheEntry, Times, hit_of, snapshot_of
from argo_mw_cache.memory_level import MemoryLevel
from argo_mw_cache.shared_level import EncodedAnswer, SharedLevel
from argo_mw_cache.stored_answer import StoredAnswer, StoreProblem

NAME = "cache"
_MAY_BE_FRESH = (Freshness.FRESH, Freshness.UNKNOWN)
"""Verdicts with which an answer is kept without waiting: each hit checks its tags again."""
_MAX_SHARING = 1_000
"""The most answers that are being stored in the background."""


class _Loaded(Struct, frozen=True, eq=False):
    """An answer that was just loaded.

    Attributes:
        call: The question.
        outcome: The answer; it has an expiry.
        tag_snapshot: The versions of its tags at the start of the load.
        load_time: Seconds that it took.
    """

    call: Call
    outcome: Outcome
    tag_snapshot: TagSnapshot
    load_time: float


class Loader:
    """Loads answers and keeps them for later callers.

    Args:
        config: How long and how much to keep.
        context: The application's context.
        memory: Where to keep answers in this process.
        shared: Where to keep them for other processes, or ``None``.
    """

    def __init__(
        self,
        config: CacheConfig,
        context: Context,
        memory: MemoryLevel,
        shared: SharedLevel | None,
    ) -> None:
        self._config = config
        self._context = context
        self._clock = context.clock
        self._versions = context.tag_versions
        self._memory = memory
        self._shared = shared
        self._sharing: set[asyncio.Future[None]] = set()

    async def load(self, call: Call, call_next: Next) -> Outcome:
        """Return the answer of *call_next* to *call*, and keep it.

        The versions of its tags are read before the load begins, so that an invalidation during
        the load wins.
        """
        handover = self._handover(call)
        tags = call.tags if self._versions.mirrors(OWN_TAGS) else call.tags | OWN_TAGS
        tag_snapshot = await self._versions.load(tags)
        started = self._clock.monotonic()
        try:
            outcome = await call_next(call)
        except NotFound as error:
            self._keep_negative(call, error, await self._versions.extend(tag_snapshot, OWN_TAGS))
            raise
        load_time = self._clock.monotonic() - started
        late = (outcome.tags | OWN_TAGS) - tags
        if late or outcome.versions:
            tag_snapshot = await self._versions.extend(tag_snapshot, late, outcome.versions)
        until = self._until(outcome)
        dated = outcome.evolve(expires_at=until, versions=tag_snapshot.versions)
        loaded = _Loaded(call, dated, tag_snapshot, load_time)
        if not call.store:
            self._skip(call, "its caller asked for that")
            return loaded.outcome
        if isinstance(outcome.value, Stream):
            self._keep_when_complete(loaded, outcome.value)
            return loaded.outcome
        freshness = self._versions.peek(tag_snapshot)
        if freshness is Freshness.UNKNOWN:
            freshness = await self._versions.check(tag_snapshot)
        if freshness is not Freshness.FRESH:
            self._skip(call, _why_not_fresh(tag_snapshot, "loaded"))
            return loaded.outcome
        kept = self._keep(loaded)
        if kept is None:
            return loaded.outcome
        if self._shared is not None:
            await self._hand_on(self._shared, loaded, handover)
        return kept

    def keep_stored(self, call: Call, stored: StoredAnswer) -> CacheEntry:
        """Keep *stored*, the answer to *call* that was read from the store, in memory."""
        entry = self._entry(
            call,
            stored.outcome,
            snapshot_of(stored.outcome.value),
            stored.tag_snapshot,
            stored.load_time,
        )
        self._remember(call.key, entry)
        return entry

    async def close(self) -> None:
        """Wait for answers that are on their way to the store."""
        while self._sharing:
            await asyncio.wait(self._sharing)

    def _until(self, outcome: Outcome) -> float:
        """Return the expiry of *outcome*: its own, else the configured one."""
        if outcome.expires_at is not None:
            return outcome.expires_at
        ttl = self._config.ttl * random.uniform(1.0 - self._config.jitter, 1.0)
        return self._clock.time() + ttl

    def _keep(self, loaded: _Loaded) -> Outcome | None:
        """Keep the answer in memory; return what its first caller gets, or ``None`` if not kept."""
        call, outcome = loaded.call, loaded.outcome
        assert outcome.expires_at is not None
        if outcome.expires_at <= self._clock.time():
            self._skip(call, "it was out of date before it could be kept")
            return None
        try:
            kept = snapshot_of(outcome.value)
        except NotShareable as error:
            self._skip(call, str(error))
            self._warn(call, str(error))
            return None
        if kept.size > self._config.max_value_bytes:
            what = f"{call.operation.name} of {kept.size} bytes is not kept"
            self._skip(call, f"{what}: max_value_bytes is less")
            return None
        entry = self._entry(call, hit_of(outcome), kept, loaded.tag_snapshot, loaded.load_time)
        self._remember(call.key, entry)
        self._context.announce(NAME, "store", call)
        return outcome if entry.shared_as_is else outcome.evolve(value=kept.copy())

    def _handover(self, call: Call) -> Handover | None:
        """Return the handover of the layer that publishes this load's answer, if there is one."""
        handover = call.extensions.get(HANDOVER)
        if not isinstance(handover, Handover) or self._shared is None:
            return None
        handover.takes_kept = not call.refresh and call.max_age is None
        return handover

    async def _hand_on(
        self, shared: SharedLevel, loaded: _Loaded, handover: Handover | None
    ) -> None:
        """Store the answer, in the background if other processes can get it elsewhere."""
        hit = hit_of(loaded.outcome)
        answer = shared.encode(loaded.call, hit, loaded.tag_snapshot, loaded.load_time)
        if isinstance(answer, StoreProblem):
            self._report(loaded.call, answer)
        elif not self._is_put_by_another(shared, loaded, answer, handover):
            await self._store(shared, loaded, answer)

    def _is_put_by_another(
        self,
        shared: SharedLevel,
        loaded: _Loaded,
        answer: EncodedAnswer,
        handover: Handover | None,
    ) -> bool:
        """Return whether the layer that publishes the load's result stores *answer* with it.

        Until then, every process finds the answer in that result.
        """
        if handover is None or not self._config.memory or len(self._sharing) >= _MAX_SHARING:
            return False
        putting: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def ended(stored: bool) -> None:
            if stored:
                shared.has_put()
            else:  # maybe for a reason that concerns the result alone
                self._in_background("cache:store", self._store(shared, loaded, answer))
            self._sharing.discard(putting)
            putting.set_result(None)

        kept = shared.to_be_put(loaded.call, answer, loaded.tag_snapshot, ended)
        if not handover.keep(kept):
            return False
        self._sharing.add(putting)
        return True

    async def _store(self, shared: SharedLevel, loaded: _Loaded, answer: EncodedAnswer) -> None:
        problem = await shared.put(loaded.call, answer, loaded.tag_snapshot)
        if problem is not None:
            self._report(loaded.call, problem)

    def _report(self, call: Call, problem: StoreProblem) -> None:
        self._context.announce(NAME, problem.action, call, problem.detail)
        if problem.action == "local":
            self._warn(call, problem.detail)

    def _in_background(self, name: str, storing: Coroutine[object, object, None]) -> None:
        with suppress(Closed):
            task = self._context.tasks.spawn(name, storing, context=copy_context())
            self._sharing.add(task)
            task.add_done_callback(self._sharing.discard)

    def _keep_when_complete(self, loaded: _Loaded, stream: Stream[object]) -> None:
        """Keep a streamed answer once it is complete; one that was aborted is not an answer."""

        def ended(_: Stream[object]) -> None:
            if not stream.complete:
                self._skip(loaded.call, "the stream ended before it was complete")
            elif self._versions.peek(loaded.tag_snapshot) not in _MAY_BE_FRESH:
                self._skip(loaded.call, _why_not_fresh(loaded.tag_snapshot, "streamed"))
            elif self._keep(loaded) is not None and self._shared is not None:
                storing = self._hand_on(self._shared, loaded, None)
                self._in_background("cache:stream", storing)

        stream.on_done(ended)

    def _keep_negative(self, call: Call, error: NotFound, tag_snapshot: TagSnapshot) -> None:
        """Keep that there is no answer."""
        ttl = self._config.negative_ttl
        if ttl <= 0 or not call.store:
            return
        nothing = snapshot(None)
        # Without its traceback, whose frames would live as long as the entry.
        kept = copy_error(error, traceback=False)
        entry = CacheEntry(
            outcome=Outcome(None),
            snapshot=nothing,
            shared_as_is=False,
            tag_snapshot=tag_snapshot,
            error=kept,
            size=nothing.size,
            times=self._times(call, ttl, 0.0),
        )
        self._remember(call.key, entry)

    def _entry(
        self, call: Call, hit: Outcome, kept: Snapshot, tag_snapshot: TagSnapshot, load_time: float
    ) -> CacheEntry:
        assert hit.expires_at is not None
        as_is = kept.copy() is hit.value
        return CacheEntry(
            outcome=hit if as_is else hit.evolve(value=None),
            snapshot=kept,
            shared_as_is=as_is,
            tag_snapshot=tag_snapshot,
            size=kept.size,
            times=self._times(call, hit.expires_at - self._clock.time(), load_time),
        )

    def _times(self, call: Call, ttl: float, load_time: float) -> Times:
        return Times.of(
            self._clock.monotonic() + ttl,
            load_time=load_time,
            early=self._config.early,
            grace=self._config.grace_of(call.operation),
        )

    def _remember(self, key: str, entry: CacheEntry) -> None:
        if self._config.memory:
            self._memory.store(key, entry, self._clock.monotonic())

    def _skip(self, call: Call, why: str) -> None:
        self._context.announce(NAME, "skipped", call, why)

    def _warn(self, call: Call, what: str) -> None:
        self._context.warn_once(f"cache of {call.operation.name}", what)


def _why_not_fresh(tag_snapshot: TagSnapshot, doing: str) -> str:
    unknown = ", ".join(tag_snapshot.unknown)
    if unknown:
        return f"{unknown} may have changed while it was {doing}: not known before"
    return f"what it depends on changed while it was {doing}"
